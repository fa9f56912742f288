"""The refusals of the HTTP API: their codes and bodies, on the gateway and on AWS. Pure."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tellwire.errors import TellwireError
from tellwire.limits import UNAVAILABLE_RETRY_SECONDS


class Problem(Struct, frozen=True):
    """The body of a refusal. `code` is for programs, `message` for people."""

    code: str
    message: str


class LineProblem(Problem, frozen=True):
    """The answer to a line that was refused. `status` is that of a publish of its own."""

    status: int


class RequestRefused(Exception):
    """A request that is refused before anything of its content counts. `headers` go with the answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers

    @property
    def problem(self) -> Problem:
        """The body of the answer."""
        return Problem(code_of(self.status), str(self))


INTERNAL_ERROR: Final = Problem("INTERNAL_ERROR", "Something went wrong; the server's log has more")

_CODES: Final = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_BIG",
    415: "CONTENT_ENCODING_UNKNOWN",
}


def code_of(status: int) -> str:
    """Return the code of a refusal that has no error of its own."""
    return _CODES.get(status, "BAD_REQUEST")


def headers_of(error: TellwireError) -> dict[str, str]:
    """Return the headers of the answer for an error."""
    return {"retry-after": str(UNAVAILABLE_RETRY_SECONDS)} if error.http_status == 503 else {}
