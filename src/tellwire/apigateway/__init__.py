"""A local API Gateway: WebSocket APIs served by Lambda handlers on this machine, as AWS would serve them.

    definition ◀── template/ (SAM, CloudFormation, CDK), command-line options, test fixtures
        │
    local ─▶ application (clients) ─▶ events, routing, authorizer, integration ─▶ runner/ (handlers)
        └──▶ management (functions post to clients)

`assumptions` holds the behaviour that AWS does not document. Nothing is imported here: worker processes import `runner`
through this package, and need no server.
"""
