"""Operators' functions on AWS: users are shut out, let in again, and deleted."""

import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire import create_message
from tellwire.aws import delete_user, let_in_user, shut_out_user
from tellwire.errors import InvalidMessage, RequestRunning
from tellwire.position import START
from tellwire.publication import user_stream
from tests.aws_stack import Stack, read, running_stack
from tests.publications import for_user


@pytest.fixture
def stack(moto_dynamodb: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    with running_stack(moto_dynamodb, has_history=True) as stack:
        for name, value in stack.environ.items():
            monkeypatch.setenv(name, value)
        yield stack


async def test_a_user_is_shut_out_and_let_in_again(stack: Stack) -> None:
    async with stack.device() as device:
        assert await shut_out_user("user-1", time.time() + 60, "Too many uploads") == 1
        assert (await read(device))["data"]["code"] == "USER_SHUT_OUT"
        with pytest.raises(ConnectionClosed):
            await device.recv()
    with pytest.raises(InvalidStatus):
        async with stack.device():
            pass
    assert await stack.user_ids() == []  # not even for a moment
    assert await let_in_user("user-1") == 1
    async with stack.device():
        assert await stack.user_ids() == ["user-1"]


async def test_a_shut_out_gets_no_messages_and_is_no_connection(stack: Stack) -> None:
    await shut_out_user("user-1", time.time() + 60, token_id="t-1")
    async with stack.device():
        delivery = await stack.keeping_carrier().deliver(for_user("user-1", create_message("note", 1)))
        assert (delivery.delivered, delivery.gone, delivery.failed) == (1, 0, 0)
        assert len(await stack.carrier().connections("user-1")) == 1


async def test_a_wrong_time_is_refused(stack: Stack) -> None:
    with pytest.raises(InvalidMessage, match="until"):
        await shut_out_user("user-1", float("nan"))


async def test_everything_that_is_kept_of_a_user_is_deleted(stack: Stack) -> None:
    carrier, history = stack.keeping_carrier(), stack.deployment.history
    assert history is not None
    for user_id in ("user-1", "user-2"):
        await carrier.deliver(for_user(user_id, create_message("note", 1)))
        await history.requests.begin(user_id, "r1")
    await delete_user("user-1")
    assert await history.requests.begin("user-1", "r1") is None
    with pytest.raises(RequestRunning):
        await history.requests.begin("user-2", "r1")
    assert [len((await history.read(user_stream(each), START)).messages) for each in ("user-1", "user-2")] == [0, 1]
