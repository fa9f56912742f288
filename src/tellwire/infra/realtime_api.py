"""The construct `RealtimeApi`: a WebSocket API with its handlers, tables, logs and alarms.

    client ─▶ WebSocket API ─▶ $connect, $disconnect, $default ─▶ connections table; $default ─▶ history table
    your function ─▶ history table, connections table, @connections ─▶ client
    schedule, every minute ─▶ sweeper ─▶ the same
    a program in another language ─▶ broadcaster ─▶ the same

The second line needs `grant_broadcast`, the last one `http_publishing`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Final

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk.aws_apigatewayv2_integrations import WebSocketLambdaIntegration
from constructs import Construct

from tellwire.engines.aws.environment import HISTORY_TABLE_NAME, MANAGEMENT_ENDPOINT, TABLE_NAME
from tellwire.errors import ConfigError
from tellwire.infra import access_log, permissions
from tellwire.infra.alarms import Alarms
from tellwire.infra.broadcaster import Broadcaster, make_broadcaster
from tellwire.infra.functions import make_function, make_package
from tellwire.infra.schedule import run_every_minute
from tellwire.infra.table import make_history_table, make_table
from tellwire.infra.tokens import token_environment
from tellwire.infra.topics import topics_environment
from tellwire.limits import AWS_SWEEP_MEMORY_MB, AWS_SWEEP_TIMEOUT_SECONDS

REQUESTS_PER_SECOND: Final = 1000
"""Throttle of each route. The account's APIs share 10,000 in a region: one faulty client must not use it up."""

REQUEST_BURST: Final = 1000
"""Burst of each route: an office that reconnects after a deployment. AWS allows 500 new connections a second."""

DEFAULT_THROTTLE: Final = apigatewayv2.ThrottleSettings(rate_limit=REQUESTS_PER_SECOND, burst_limit=REQUEST_BURST)

ROUTE_SELECTION_EXPRESSION: Final = "$request.body.type"
"""The field `type`, which every message of a tellwire client has."""

_HANDLERS: Final = "tellwire.aws.handlers"


class RealtimeApi(Construct):
    """A WebSocket API on AWS that pushes messages to users.

        realtime = RealtimeApi(self, "Realtime", layer="dist/layer.zip", user_pool=pool, user_pool_client=client)
        realtime.grant_broadcast(csv_worker)

    Its stack has the outputs `WebSocketUrl` and `ManagementEndpoint`, so a stack has one such API.

    Args:
        layer: a Lambda layer with `tellwire[aws]` in it, or the path of its zip, for this `runtime` and `architecture`.
        code: the functions' code with `tellwire[aws]` in it, instead of a layer.
        user_pool, user_pool_client: the Cognito user pool of the tokens, and the app client they are made for.
        jwks_url: the key set of the tokens, instead of a user pool; set `TELLWIRE_JWT_ISSUER` and
            `TELLWIRE_JWT_AUDIENCE` in `environment`, too.
        topics: the rules of topics, as in `TELLWIRE_TOPICS`, also for functions that broadcast. None: every topic keeps
            a history as a user's stream does, and tokens say who may subscribe.
        environment: more variables for `$connect` and `$default`; `TELLWIRE_JWT_SECRET` is the third source of keys.
        message_code: code for `$default` that contains your module, with `@default.on_message` in it.
        message_handler: the handler in that code, such as `app.default`.
        history: keep publications for a day, so that devices that reconnect receive them. False: there is no history
            table and no sweeper, and devices that are not connected miss publications.
        http_publishing: add a function through which programs in other languages publish, over HTTP with signed
            requests, or by invoking it. They need `grant_http_publishing`, and the output `BroadcastUrl`.
        stage_name: the path of both URLs.
        runtime: the Python of all functions.
        architecture: the processor architecture of all functions.
        throttle: requests per second of each route, and their burst; 1,000 each by default.
        reserved_concurrency: messages of clients that are handled at once; more are throttled, and other functions of
            the account keep their share. None reserves nothing: an account with few concurrent executions cannot.
        log_retention: retention of the logs of functions and of accesses.
        removal_policy: the fate of the tables when the stack is deleted. By default they are deleted: rows are useless
            without the sockets they describe, and publications are at most a day old.
        point_in_time_recovery: recovery of the connections table. Off by default, as there is nothing to recover:
            clients that reconnect write new rows.
        alarm_topic: the SNS topic that alarms are sent to.
        set_account_log_role: set the role with which API Gateway writes access logs. An account has it once in a
            region. If it was never set, deploying fails with "CloudWatch Logs role ARN must be set in account
            settings": then pass True, in one stack.

    Raises:
        ConfigError: not exactly one of `layer` and `code`, or not exactly one source of keys for tokens, or a rule of
            `topics` is not valid.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the CDK's name for it
        *,
        layer: lambda_.ILayerVersion | PathLike[str] | str | None = None,
        code: lambda_.Code | None = None,
        user_pool: cognito.IUserPool | None = None,
        user_pool_client: cognito.IUserPoolClient | None = None,
        jwks_url: str | None = None,
        topics: Sequence[Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        message_code: lambda_.Code | None = None,
        message_handler: str = f"{_HANDLERS}.default",
        history: bool = True,
        http_publishing: bool = False,
        stage_name: str = "prod",
        runtime: lambda_.Runtime = lambda_.Runtime.PYTHON_3_13,
        architecture: lambda_.Architecture = lambda_.Architecture.ARM_64,
        throttle: apigatewayv2.ThrottleSettings | None = None,
        reserved_concurrency: int | None = None,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
        removal_policy: RemovalPolicy = RemovalPolicy.DESTROY,
        point_in_time_recovery: bool = False,
        alarm_topic: sns.ITopic | None = None,
        set_account_log_role: bool = False,
    ) -> None:
        super().__init__(scope, id)
        package = make_package(self, layer=layer, code=code, runtime=runtime, architecture=architecture)
        tokens = token_environment(
            user_pool=user_pool, user_pool_client=user_pool_client, jwks_url=jwks_url, environment=environment or {}
        )
        table = make_table(self, removal_policy=removal_policy, point_in_time_recovery=point_in_time_recovery)
        history_table = make_history_table(self, removal_policy=removal_policy) if history else None
        api = apigatewayv2.WebSocketApi(
            self,
            "Api",
            api_name=f"{Stack.of(self).stack_name}-{id}",
            route_selection_expression=ROUTE_SELECTION_EXPRESSION,
        )
        stage = apigatewayv2.WebSocketStage(
            self,
            "Stage",
            web_socket_api=api,
            stage_name=stage_name,
            auto_deploy=True,
            throttle=throttle or DEFAULT_THROTTLE,
        )
        where = {TABLE_NAME: table.table_name}
        # Events of $default have the API's address, too, but a wrong one behind a custom domain name.
        self._publishing = {
            **where,
            **({} if history_table is None else {HISTORY_TABLE_NAME: history_table.table_name}),
            **topics_environment(topics),
            MANAGEMENT_ENDPOINT: stage.callback_url,
        }
        make = partial(make_function, self, package=package, log_retention=log_retention)

        self._layer = package.layer
        self.connections_table = table
        self.history_table = history_table
        self.api = api
        self.stage = stage
        self.connect_function = make(
            "ConnectHandler",
            handler=f"{_HANDLERS}.connect",
            environment=where | topics_environment(topics) | tokens,
            statements=permissions.of_connect(table),
        )
        self.disconnect_function = make(
            "DisconnectHandler",
            handler=f"{_HANDLERS}.disconnect",
            environment=where,
            statements=permissions.of_disconnect(table),
        )
        self.default_function = make(
            "DefaultHandler",
            handler=message_handler,
            code=message_code,
            environment=self._publishing | tokens,
            statements=permissions.of_default(table, history_table, api, stage_name),
            reserved_concurrency=reserved_concurrency,
        )
        self.sweep_function: lambda_.Function | None = None
        if history_table is not None:
            self.sweep_function = make(
                "Sweeper",
                handler=f"{_HANDLERS}.sweep",
                environment=self._publishing,
                statements=permissions.of_sweep(table, history_table, api, stage_name),
                timeout_seconds=AWS_SWEEP_TIMEOUT_SECONDS,
                memory_mb=AWS_SWEEP_MEMORY_MB,
            )
            run_every_minute(self, self.sweep_function)
        self.broadcaster: Broadcaster | None = None
        if http_publishing:
            self.broadcaster = make_broadcaster(
                make,
                f"{_HANDLERS}.broadcast",
                environment=self._publishing,
                statements=permissions.of_broadcast(
                    table, history_table, api, stage_name, to_connections=True, to_all=True
                ),
            )
            CfnOutput(Stack.of(self), "BroadcastUrl", value=self.broadcaster.url.url)
        for route_key, function in self._routes().items():
            api.add_route(route_key, integration=WebSocketLambdaIntegration(function.node.id, function))
        access_log.log_accesses(self, stage, log_retention)
        if set_account_log_role:
            access_log.set_account_role(self, stage)
        Alarms(
            self,
            "Alarms",
            functions=self._functions(),
            stage=stage,
            table=table,
            history_table=history_table,
            broadcaster=self.broadcaster,
            topic=alarm_topic,
        )
        CfnOutput(Stack.of(self), "WebSocketUrl", value=self.url)
        CfnOutput(Stack.of(self), "ManagementEndpoint", value=self.management_endpoint)

    @property
    def layer(self) -> lambda_.ILayerVersion:
        """The layer with `tellwire[aws]` in it: functions that broadcast need it too.

        Raises:
            ConfigError: there is no layer, because `code` was given.
        """
        if self._layer is None:
            raise ConfigError("RealtimeApi.layer: got code in place of one; allowed with layer=")
        return self._layer

    @property
    def url(self) -> str:
        """The URL that clients connect to: `wss://{api}.execute-api.{region}.amazonaws.com/{stage}`."""
        return self.stage.url

    @property
    def management_endpoint(self) -> str:
        """The URL that workers post to: `https://{api}.execute-api.{region}.amazonaws.com/{stage}`."""
        return self.stage.callback_url

    def grant_broadcast(
        self, function: lambda_.Function, *, to_connections: bool = False, to_all: bool = False
    ) -> None:
        """Allow a function of yours to publish to users and topics: give it the rights, and the variables it needs.

        `to_connections` adds the right that `broadcast_to_connection(s)` needs, `to_all` that of `broadcast_to_all`.
        """
        for name, value in self._publishing.items():
            function.add_environment(name, value)
        for statement in permissions.of_broadcast(
            self.connections_table,
            self.history_table,
            self.api,
            self.stage.stage_name,
            to_connections=to_connections,
            to_all=to_all,
        ):
            function.add_to_role_policy(statement)

    def grant_http_publishing(self, grantee: iam.IGrantable) -> None:
        """Allow a role, or a function in any language, to publish through the broadcaster.

        Raises:
            ConfigError: there is none, because `http_publishing` was not set.
        """
        if self.broadcaster is None:
            raise ConfigError(
                "RealtimeApi.grant_http_publishing: got no broadcaster; allowed with http_publishing=True"
            )
        self.broadcaster.grant(grantee)

    def _functions(self) -> dict[str, lambda_.Function]:
        functions = self._routes()
        if self.sweep_function is not None:
            functions["the sweeper"] = self.sweep_function
        if self.broadcaster is not None:
            functions["the broadcaster"] = self.broadcaster.function
        return functions

    def _routes(self) -> dict[str, lambda_.Function]:
        return {
            "$connect": self.connect_function,
            "$disconnect": self.disconnect_function,
            "$default": self.default_function,
        }
