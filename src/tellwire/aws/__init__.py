"""tellwire on AWS: API Gateway's WebSocket API, DynamoDB and Lambda.

`handlers` are the API's functions. Workers use the functions of all producers (`tellwire.broadcast_to_user`,
`tellwire.sync`), and keep to Lambda's time limit inside `with deadline(context):`.

    handlers ─▶ connections (the table) ─▶ dynamodb ─┐
             └▶ management (@connections) ───────────┴▶ client ─▶ sigv4, credentials
"""

from tellwire.aws_api.deadline import deadline

__all__ = ["deadline"]
