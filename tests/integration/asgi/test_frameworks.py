"""The mount in Litestar and beside Django, with the real libraries."""

import asyncio

from litestar import Litestar, asgi, get
from litestar.testing import TestClient

from tellwire import Settings, tellwire_app
from tellwire.client import Client
from tests.conftest import API_KEY, SECRET, token_for
from tests.integration.asgi.servers import running
from tests.integration.asgi.test_mounted import KEY, PUBLISH, offered


def test_in_litestar_it_has_a_path_and_the_lifespan() -> None:
    live = tellwire_app(Settings(jwt_secret=SECRET, api_key=API_KEY, engine="memory", drain_seconds=1))

    @get("/mine", sync_to_thread=False)
    def mine() -> str:
        return "mine"

    mount = asgi("/live", is_mount=True, copy_scope=True)(live)
    host = Litestar([mine, mount], lifespan=[live.lifespan])
    with TestClient(host) as client:
        assert client.get("/mine").text == "mine"
        assert client.get("/live/healthz").json() == {"status": "ok"}
        with client.websocket_connect("/live", subprotocols=offered()) as socket:
            answer = client.post("/live/v1/publish", json=PUBLISH, headers=KEY)
            assert answer.json()["delivered"] == 1
            assert socket.receive_json()["data"] == {"text": "hello"}


async def test_beside_django_it_has_a_path_and_answers_the_lifespan() -> None:
    async with running("uvicorn", app="tests.integration.asgi.django_host:app") as host:
        async with Client(f"{host.url}/live", lambda why: token_for("ada"), start_from="oldest") as device:
            await host.call("GET", "/say")
            message = await asyncio.wait_for(anext(aiter(device)), 60)
            assert message.data == {"text": "django"}
        assert (await host.call("GET", "/live/readyz")).json() == {"status": "ready"}
        assert (await host.call("GET", "/elsewhere")).status_code == 404
        await host.stop()
    assert not host.has_logged("Traceback"), "\n".join(host.log)
