"""A local API Gateway: WebSocket APIs served by Lambda handlers on this machine, as AWS would serve them.

    definition ◀── template/ (SAM, CloudFormation, CDK), command-line options, test fixtures
        │
    local ─▶ application (clients) ─▶ events, routing, authorizer, integration ─▶ runner/ (handlers)
        └──▶ management (functions post to clients)

`choices` holds what AWS does not say. Nothing is imported here: worker processes pass through on their way to `runner`,
and need no server.
"""
