"""A CDK app: users, a realtime API with its own message type, and a function that notifies users.

cdk synth -c layer=dist/layer.zip
"""

from pathlib import Path
from typing import Any

from aws_cdk import App, Duration, Stack
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from tellwire.infra import RealtimeApi

HERE = Path(__file__).parent


class Parts(Stack):
    """The one stack."""

    def __init__(self, scope: Construct, name: str, **options: Any) -> None:
        super().__init__(scope, name, **options)
        pool = cognito.UserPool(self, "Users", sign_in_aliases=cognito.SignInAliases(email=True))
        realtime = RealtimeApi(
            self,
            "Realtime",
            layer=self.node.try_get_context("layer"),
            user_pool=pool,
            user_pool_client=pool.add_client("Web"),
            message_code=lambda_.Code.from_asset(str(HERE / "messages")),
            message_handler="moc_messages.default",
        )
        notify = lambda_.Function(
            self,
            "Notify",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_asset(str(HERE / "worker")),
            handler="notify_worker.handler",
            layers=[realtime.layer],
            # Lambda's defaults are 3 seconds and 128 MB: too little to import anything and call AWS.
            timeout=Duration.seconds(30),
            memory_size=256,
        )
        realtime.grant_broadcast(notify)


if __name__ == "__main__":
    app = App()
    Parts(app, "Parts")
    app.synth()
