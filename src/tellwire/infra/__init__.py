"""The infrastructure of a realtime API on AWS, as a construct for the CDK: `RealtimeApi`.

    from tellwire.infra import RealtimeApi

    realtime = RealtimeApi(self, "Realtime", layer="dist/layer.zip", user_pool=pool, user_pool_client=client)
    realtime.grant_broadcast(worker)

It needs `pip install 'tellwire[cdk]'` and, like all of the CDK, Node.
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.infra", "cdk"):
    from tellwire.infra.realtime_api import RealtimeApi

__all__ = ["RealtimeApi"]
