"""API keys at a real gateway: several, their scopes, and guesses."""

import logging

import pytest
from msgspec import structs

from tellwire.limits import API_KEY_GUESSES, API_KEY_GUESSES_PER_SECOND
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.integration.gateway.test_http_api import HELLO, call

WORKER = "4f9a02c7e1b85d36"
OPS = "8c21f05a9b7e3d64"
BODY = {"target": {"user": "user-1"}, "message": HELLO}


async def test_each_key_opens_what_it_is_for(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(api_key=f"worker:publish:{WORKER} ops:admin:{OPS}")
    for key, path, method, body, expected in (
        (WORKER, "/v1/publish", "POST", BODY, 200),
        (WORKER, "/v1/publish/batch", "POST", b"", 200),
        (WORKER, "/v1/stats", "GET", None, 403),
        (WORKER, "/v1/users/user-1/connections", "GET", None, 403),
        (WORKER, "/v1/connections/x", "DELETE", None, 403),
        (OPS, "/v1/stats", "GET", None, 200),
        (OPS, "/v1/publish", "POST", BODY, 403),
        (f"worker:publish:{WORKER}", "/v1/publish", "POST", BODY, 401),
    ):
        status, answer, _ = await call(gateway, method, path, body, key)
        assert status == expected, (key, path, answer)
        if status == 403:
            assert answer["code"] == "API_KEY_NOT_FOR_THIS"
            assert key not in answer["message"]


async def test_guesses_are_slowed_for_their_address(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    gateway: Gateway = await start_gateway(clock, trusted_proxies=("127.0.0.1",))

    async def get(key: str, address: str) -> int:
        status, _, headers = await call(gateway, "GET", "/v1/stats", None, key, **{"X-Forwarded-For": address})
        assert ("retry-after" in headers) == (status == 429)
        return status

    with caplog.at_level(logging.WARNING, "tellwire.gateway"):
        guesses = [await get(f"guess-{number}", "192.0.2.1") for number in range(API_KEY_GUESSES + 5)]
    assert guesses == [401] * API_KEY_GUESSES + [429] * 5
    assert [record.getMessage() for record in caplog.records] == ["a wrong API key from 192.0.2.1"]
    assert await get(API_KEY, "192.0.2.1") == 429  # nobody can learn which one is right
    assert await get(API_KEY, "192.0.2.2") == 200
    clock.step(-86_400)  # the wall clock does not matter
    await clock.advance(1 / API_KEY_GUESSES_PER_SECOND)
    assert await get(API_KEY, "192.0.2.1") == 200


async def test_one_wrong_key_again_and_again_is_no_guess(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    gateway: Gateway = await start_gateway(clock, api_key=f"old:publish+admin:{OPS} new:publish+admin:{WORKER}")
    assert (await call(gateway, "GET", "/v1/stats", None, OPS))[0] == 200
    await gateway.node.reload(structs.replace(gateway.node.settings, api_key=f"new:publish+admin:{WORKER}"))
    # A program that nobody told of the new key, and one with a typing error.
    with caplog.at_level(logging.WARNING, "tellwire.gateway"):
        for key in (OPS, "8c21f05a9b7e3d46"):
            for _ in range(3 * API_KEY_GUESSES):
                assert (await call(gateway, "GET", "/v1/stats", None, key))[0] == 401
        assert len(caplog.records) == 2
        await clock.advance(60)
        await call(gateway, "GET", "/v1/stats", None, OPS)
        assert len(caplog.records) == 3
    assert (await call(gateway, "GET", "/v1/stats", None, WORKER))[0] == 200


async def test_who_has_brought_the_right_key_is_not_locked_out_by_a_neighbour(gateway: Gateway) -> None:
    assert (await call(gateway, "GET", "/v1/stats"))[0] == 200
    for number in range(API_KEY_GUESSES + 1):
        status, _, _ = await call(gateway, "GET", "/v1/stats", None, f"guess-{number}")
    assert status == 429
    assert (await call(gateway, "GET", "/v1/stats"))[0] == 200
