"""The errors: their tree, their answers, and that they cross a process boundary whole."""

import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from tellwire import errors
from tellwire.client import ClosedForGood, CloseReason
from tellwire.errors import (
    AwsRefused,
    AwsUnreachable,
    CannotRunHere,
    ConfigError,
    ConnectionUnknown,
    GatewayRefused,
    GatewayUnreachable,
    HistoryMissing,
    HistoryUnavailable,
    IdentityUnavailable,
    InvalidMessage,
    KeysUnavailable,
    MessageRefused,
    MessageTooBig,
    NotAllowed,
    NotSignedIn,
    PresenceOff,
    PublishError,
    RequestRunning,
    RequestsLimited,
    RowErrorsUnknown,
    TellwireError,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenOfAnotherUser,
    TokenRefused,
    TooManyEscalations,
    TooManySubscriptions,
    TopicForbidden,
    TopicNotSubscribed,
    TopicRightsUnavailable,
    UploadCancelled,
    UploadFailed,
    UploadOver,
    UploadRunning,
    UploadUnknown,
    UploadWillRetry,
    UserShutOut,
)

EXAMPLES: list[TellwireError] = [
    TellwireError("broken"),
    InvalidMessage("data.progress", 120, "a number from 0 to 100"),
    MessageRefused("This MOC is closed"),
    MessageTooBig(140_000, 131_072),
    ConfigError("TELLWIRE_URL: not set"),
    PublishError("no way"),
    GatewayUnreachable("http://gateway", "it is away", not_sent=True),
    GatewayRefused(413, "BODY_TOO_BIG", "too big"),
    AwsUnreachable("DynamoDB Query", "no answer"),
    AwsRefused("DynamoDB Query", 400, "AccessDeniedException", "no"),
    HistoryUnavailable("no disk"),
    TooManyEscalations(100),
    TokenRefused("no"),
    TokenMissing(),
    TokenInvalid("no kid"),
    TokenExpired(),
    TokenOfAnotherUser(),
    UserShutOut(1_764_000_000.0, "spam"),
    KeysUnavailable(),
    ConnectionUnknown(),
    RequestsLimited("20 messages a second"),
    TopicForbidden("moc:1:comments"),
    TopicNotSubscribed("moc:1:comments"),
    PresenceOff("moc:1:comments"),
    TopicRightsUnavailable("moc:1:comments"),
    TooManySubscriptions(100),
    RequestRunning(),
    HistoryMissing(),
    UploadFailed("NO_HEADER", "The first line must name the columns."),
    UploadWillRetry("The shop does not answer", 300),
    UploadCancelled(),
    UploadUnknown("u1"),
    UploadOver("complete"),
    UploadRunning("stalled"),
    RowErrorsUnknown("u1"),
    NotSignedIn(),
    NotAllowed("not this week"),
    IdentityUnavailable(),
    CannotRunHere("not on this loop"),
    ClosedForGood(CloseReason("final", "the token is another user's", 4403, "TOKEN_OF_ANOTHER_USER")),
]


def classes(root: type[TellwireError] = TellwireError) -> list[type[TellwireError]]:
    """Return a class and all public ones below it."""
    below = [each for child in root.__subclasses__() for each in classes(child)]
    return [each for each in (root, *below) if each.__module__ in ("tellwire.errors", "tellwire.client.close_codes")]


def tree(docstring: str) -> dict[str, str]:
    """Return the parent of each class in the drawing of a docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in docstring.splitlines():
        if found := re.match(r"^ {4}([│ ]*)(?:[├└]── )?([A-Z]\w+)(?:  .*)?$", line):
            depth = len(found[1]) // 4 + ("──" in line)
            path = [*path[:depth], found[2]]
            parents[found[2]] = path[depth - 1] if depth else ""
    return parents


def test_the_tree_in_the_docstring_is_the_class_tree() -> None:
    drawn = tree(errors.__doc__ or "")
    assert drawn.pop("TellwireError") == ""
    real = {each.__name__: each.__mro__[1].__name__ for each in classes() if each is not TellwireError}
    assert drawn == real


def test_there_is_an_example_of_each_class() -> None:
    assert {type(each) for each in EXAMPLES} == set(classes())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_with_every_field(error: TellwireError) -> None:
    error.add_note("on row 17")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_a_value_that_cannot_be_pickled_is_replaced_by_its_repr() -> None:
    again = pickle.loads(pickle.dumps(InvalidMessage("rows", lambda: None, "a list")))
    assert "<function" in again.given
    assert (again.field, again.allowed) == ("rows", "a list")


def test_a_value_that_can_be_pickled_and_not_read_again_is_replaced_too() -> None:
    again = pickle.loads(pickle.dumps(InvalidMessage("rows", OneWay("a", "b"), "a list")))
    assert again.given == "OneWay('a and b')"


def test_a_value_that_cannot_be_shown_is_shown_by_its_class() -> None:
    assert "got a Unshowable that cannot be shown" in str(InvalidMessage("rows", Unshowable(), "a list"))


class OneWay(Exception):
    """An exception as people write them: pickled as its class and its text."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Unshowable:
    """An object that has no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_process_pool_can_raise_them() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(_fail, 3).exception(60)
        assert isinstance(error, UploadFailed)
        assert (error.upload_code, error.message) == ("NO_HEADER", "File 3 has no header.")
        assert pool.submit(int, "5").result(60) == 5  # the pool goes on


def test_a_pool_of_multiprocessing_can_raise_them() -> None:
    # Its result thread dies of an exception that cannot be read, and `map` never returns.
    with get_context("spawn").Pool(1) as pool:
        with pytest.raises(UploadFailed, match="File 1 has no header"):
            pool.map_async(_fail, [1, 2]).get(60)
        assert pool.map_async(int, ["5"]).get(60) == [5]


def _fail(number: int) -> Any:
    raise UploadFailed("NO_HEADER", f"File {number} has no header.")


def test_each_class_has_a_code_of_its_own() -> None:
    codes = [each.code for each in classes() if each is not UploadFailed]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[A-Z][A-Z_]*", code) for code in codes)


def test_all_failures_of_a_publish_are_publish_errors() -> None:
    kinds: set[type[TellwireError]] = {
        GatewayUnreachable,
        GatewayRefused,
        AwsUnreachable,
        AwsRefused,
        HistoryUnavailable,
        TooManyEscalations,
    }
    assert set(classes(PublishError)) == {PublishError, *kinds}
    assert {each for each in kinds if each.retryable} == {GatewayUnreachable, AwsUnreachable, HistoryUnavailable}
