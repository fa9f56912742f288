"""tellwire on AWS: API Gateway's WebSocket API, DynamoDB and Lambda.

`handlers` are the API's functions. Workers use the functions of all producers (`tellwire.broadcast_to_user`,
`tellwire.sync`), and keep to Lambda's time limit inside `with deadline(context):`.

    handlers ─▶ connections (the table) ─▶ dynamodb ─┐
             └▶ management (@connections) ───────────┴▶ client ─▶ sigv4, credentials
"""

from tellwire.aws.resuming import resume_broadcast
from tellwire.aws.users import delete_user, let_in_user, shut_out_user
from tellwire.aws_api.deadline import deadline

__all__ = ["deadline", "delete_user", "let_in_user", "resume_broadcast", "shut_out_user"]
