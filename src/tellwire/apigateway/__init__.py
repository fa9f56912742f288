"""A local API Gateway: WebSocket APIs served by Lambda handlers on this machine, as AWS would serve them.

    definition ◀── template/ (SAM, CloudFormation, CDK), command-line options, test fixtures
        │
    local ─▶ application (clients) ─▶ events, routing, authorizer, integration ─▶ runner/ (handlers)
        └──▶ management (functions post to clients)

`choices` holds what AWS does not say.
"""

from tellwire.apigateway.definition import Api, Authorizer, Function, IdentitySource, Route
from tellwire.apigateway.local import LocalApi

__all__ = ["Api", "Authorizer", "Function", "IdentitySource", "LocalApi", "Route"]
