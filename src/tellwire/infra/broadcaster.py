"""The function for producers in other languages, with a URL for signed requests."""

from collections.abc import Callable
from dataclasses import dataclass

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_


@dataclass(frozen=True, slots=True)
class Broadcaster:
    """The function `tellwire.aws.handlers.broadcast`, and its URL."""

    function: lambda_.Function
    url: lambda_.FunctionUrl

    def grant(self, grantee: iam.IGrantable) -> None:
        """Allow a role, or a function, to publish: by the URL, and by Invoke. AWS wants both rights for a URL."""
        self.url.grant_invoke_url(grantee)
        self.function.grant_invoke(grantee)


def make_broadcaster(make: Callable[..., lambda_.Function], handler: str, **options: object) -> Broadcaster:
    """Return the function that `make` makes with these options, with its URL.

    Only IAM opens it: whoever may call it can write to every user.
    """
    function = make("Broadcaster", handler=handler, **options)
    return Broadcaster(function, function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM))
