"""The notes of `tellwire listen` on its connection, and its exit codes."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from click.testing import CliRunner
from websockets.asyncio.server import ServerConnection

from tellwire.cli.followed import PresenceReporter
from tellwire.cli.listen import _listen, listen
from tellwire.client import ClientOptions, Member, PresenceState
from tests.unit.client.servers import Handler, answer, scripted, stays

TOKEN = "head.claims.signature"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tellwire.cli.listen._OPTIONS", ClientOptions(backoff_first_seconds=0.001, backoff_max_seconds=0.01)
    )


class Said:
    """An `Output` that records. It ends the command after a number of lines."""

    def __init__(self, lines: int = 100) -> None:
        self.lines: list[str] = []
        self.shown: list[bytes] = []
        self._left = lines
        self.ended = asyncio.Event()

    def show(self, payload: bytes) -> None:
        self.shown.append(payload)

    def say(self, text: str) -> None:
        self.lines.append(text)
        if len(self.lines) >= self._left:
            self.ended.set()

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        pass


async def listens(
    url: str, said: Said, *, renewable: bool = True, from_start: bool = False, topics: Sequence[str] = ()
) -> int | None:
    """Listen until the command ends, and return its exit code, or until enough lines are recorded."""
    websocket = url.replace("http", "ws") + "/"
    listening = asyncio.create_task(
        _listen(websocket, lambda: TOKEN, renewable=renewable, output=said, from_start=from_start, topics=topics)
    )
    enough = asyncio.create_task(said.ended.wait())
    async with asyncio.timeout(100):
        await asyncio.wait([listening, enough], return_when=asyncio.FIRST_COMPLETED)
    enough.cancel()
    if listening.done():
        return listening.result()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return None


def closes(code: int, reason: str) -> Handler:
    async def close(device: ServerConnection) -> None:
        await device.close(code, reason)

    return close


async def test_a_close_is_said_and_it_comes_back() -> None:
    said = Said(lines=4)
    async with scripted(closes(1012, "Service restart")) as server:
        assert await listens(server.url, said) is None
        listening, again = f"listening on ws://127.0.0.1:{server.port}/", "connection closed (1012 Service restart)"
    assert said.lines == [listening, f"{again}; trying again", listening, f"{again}; trying again"]


async def test_the_same_trouble_is_said_once() -> None:
    said = Said(lines=3)
    async with scripted() as server:
        busy = {"code": "RESTARTING", "message": "The server is restarting; come back"}
        server.answers = [answer(503, busy), answer(503, busy), answer(503, busy), answer(500)]
        assert await listens(server.url, said) is None
    assert said.lines[:2] == [
        "refused: The server is restarting; come back (503 RESTARTING); trying again",
        "refused: the server answered 500; is this a tellwire gateway?; trying again",
    ]
    assert said.lines[2].startswith("listening on")


async def test_nobody_there_is_said_with_the_address() -> None:
    said = Said(lines=1)
    async with scripted() as server:
        url = server.url
    assert await listens(url, said) is None
    assert said.lines == [f"no gateway at {url.replace('http', 'ws')}/: connection refused; trying again"]


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_what_is_no_gateway_is_given_up(status: int) -> None:
    said = Said()
    async with scripted(stays, answer(status)) as server:
        assert await listens(server.url, said) == 1
    assert said.lines == [f"refused: the server answered {status}; is this a tellwire gateway?"]


async def test_a_token_that_was_given_and_has_expired_is_given_up() -> None:
    said = Said()
    async with scripted(closes(4401, "Token expired")) as server:
        assert await listens(server.url, said, renewable=False) == 1
    assert said.lines[1:] == ["connection closed (4401 Token expired)"]


async def test_a_token_made_here_that_has_expired_is_made_anew() -> None:
    said = Said(lines=3)
    async with scripted(closes(4401, "Token expired")) as server:
        assert await listens(server.url, said) is None
    assert said.lines[1] == "connection closed (4401 Token expired); trying again"


async def test_a_last_word_of_the_server_is_given_up() -> None:
    said = Said()
    async with scripted(closes(4403, "")) as server:
        assert await listens(server.url, said) == 1
    assert said.lines[1:] == ["connection closed (4403)"]


async def test_messages_are_shown_as_they_came(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        for each in ('{"type":"x","data":1}', '{"message": "Forbidden"}', "hello", '{"type":"x","data":1}'):
            await device.send(each)
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said) == 1
    assert said.shown == [b'{"type":"x","data":1}', b'{"type":"x","data":1}']
    assert 'not a message: b\'{"message": "Forbidden"}\'' in caplog.text


def page(*, recovered: bool, state: Sequence[object] = ()) -> str:
    messages = [{"type": "x", "data": 1, "cursor": "e:1"}]
    data = {"cursor": "e:1", "recovered": recovered, "messages": messages, "state": state, "last": True}
    return json.dumps({"type": "welcome", "data": data})


async def test_what_was_missed_is_shown_without_a_word() -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(page(recovered=True))
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said) == 1
        assert said.lines == [f"listening on ws://127.0.0.1:{server.port}/", "connection closed (4403)"]
    assert said.shown == [b'{"type": "x", "data": 1, "cursor": "e:1"}']


async def test_what_may_be_missing_is_said_each_time() -> None:
    said = Said(lines=5)

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(page(recovered=False))
        await device.close(1012, "Service restart")

    async with scripted(speak) as server:
        assert await listens(server.url, said) is None
    missing = "some messages may be missing: the gateway no longer has them"
    assert [said.lines[1], said.lines[4]] == [missing, missing]


@pytest.mark.parametrize(
    ("from_start", "hello"), [(True, {"type": "hello", "cursors": {"user": "0"}}), (False, {"type": "hello"})]
)
async def test_it_begins_now_or_with_all_that_is_kept(from_start: bool, hello: object) -> None:
    said = Said()
    heard: list[object] = []

    async def speak(device: ServerConnection) -> None:
        heard.append(json.loads(await device.recv()))
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said, from_start=from_start) == 1
    assert heard == [hello]


def upload(upload_id: str, status: str, version: int) -> dict[str, object]:
    data = {"uploadId": upload_id, "fileName": "p.csv", "progress": 50, "message": "", "status": status}
    return {"type": "upload_progress", "data": data, "key": f"upload:{upload_id}", "version": version}


@pytest.mark.parametrize(("from_start", "before"), [(False, ["running"]), (True, ["complete", "running"])])
async def test_uploads_that_ended_before_are_shown_from_the_start_only(from_start: bool, before: list[str]) -> None:
    said = Said()
    visits = 0

    async def speak(device: ServerConnection) -> None:
        nonlocal visits
        visits += 1
        await device.recv()
        # The running one ends while the link is down: that is news.
        now = upload("b", "running", 2) if visits == 1 else upload("b", "failed", 3)
        await device.send(page(recovered=True, state=[upload("a", "complete", 1), now]))
        await device.close(1012 if visits == 1 else 4403)

    async with scripted(speak) as server:
        await listens(server.url, said, from_start=from_start)
    shown = [json.loads(each) for each in said.shown]
    assert [each["data"]["status"] for each in shown if each["type"] == "upload_progress"] == [*before, "failed"]


# --- topics -----------------------------------------------------------------------------------------------------------


def welcomed() -> str:
    return json.dumps(
        {"type": "welcome", "data": {"cursor": "e:0", "recovered": True, "messages": [], "state": [], "last": True}}
    )


def subscribed(topic: str, *, recovered: bool = True) -> str:
    messages = [{"type": "comment", "data": topic, "cursor": "t:1", "topic": topic, "id": f"{topic}1"}]
    data = {"topic": topic, "cursor": "t:1", "recovered": recovered, "messages": messages, "state": [], "last": True}
    return json.dumps({"type": "subscribed", "data": data})


def about(topic: str, code: str, words: str) -> str:
    return json.dumps({"type": "error", "data": {"code": code, "message": words, "topic": topic}})


async def test_the_messages_of_topics_are_shown_beside_the_users_own() -> None:
    said = Said()
    hellos: list[object] = []

    async def speak(device: ServerConnection) -> None:
        hellos.append(json.loads(await device.recv()))
        await device.send(page(recovered=True))
        await device.send(subscribed("moc:1"))
        await device.send(subscribed("moc:2", recovered=False))
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said, topics=["moc:1", "moc:2"]) == 1
    assert hellos == [{"type": "hello", "cursors": {"topic:moc:1": "", "topic:moc:2": ""}}]
    assert sorted(str(json.loads(each)["data"]) for each in said.shown) == ["1", "moc:1", "moc:2"]
    missing = "some messages of moc:2 may be missing: the gateway no longer has them"
    assert said.lines[1:] == ["following moc:1", "following moc:2", missing, "connection closed (4403)"]


async def test_a_topic_that_is_refused_ends_the_command_with_words_and_what_to_do() -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(welcomed())
        await device.send(about("moc:1", "TOPIC_FORBIDDEN", "You may not follow it."))
        await stays(device)

    async with scripted(speak) as server:
        assert await listens(server.url, said, topics=["moc:1"]) == 1
    assert said.lines[1].startswith("moc:1: refused: this user may not follow it (TOPIC_FORBIDDEN). Use a token whose")


async def test_a_refusal_that_is_not_known_here_is_said_in_the_servers_words() -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(welcomed())
        await device.send(about("moc:1", "TOPIC_CLOSED", "Closed for the night"))
        await stays(device)

    async with scripted(speak) as server:
        assert await listens(server.url, said, topics=["moc:1"]) == 1
    assert said.lines[1] == "moc:1: refused: Closed for the night (TOPIC_CLOSED)"


async def test_it_goes_on_with_the_topics_that_are_left_until_the_last_one_is_withdrawn() -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(welcomed())
        await device.send(about("moc:1", "TOO_MANY_SUBSCRIPTIONS", "Too many"))
        await device.send(subscribed("moc:2"))
        withdrawn = {"topic": "moc:2", "code": "TOPIC_FORBIDDEN", "message": "Withdrawn"}
        await device.send(json.dumps({"type": "unsubscribed", "data": withdrawn}))
        await stays(device)

    async with scripted(speak) as server:
        assert await listens(server.url, said, topics=["moc:1", "moc:2"]) == 1
    assert [json.loads(each)["data"] for each in said.shown] == ["moc:2"]
    assert sorted(line.split(" ")[0] for line in said.lines[1:]) == ["following", "moc:1:", "moc:2:"]


async def test_rights_that_cannot_be_asked_for_are_said_once_and_it_tries_again() -> None:
    said = Said(lines=3)

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(welcomed())
        for _ in range(2):
            await device.send(about("moc:1", "TOPIC_RIGHTS_UNAVAILABLE", "Nobody knows"))
            assert json.loads(await device.recv()) == {"type": "subscribe", "topic": "moc:1"}
        await device.send(subscribed("moc:1"))
        await stays(device)

    async with scripted(speak) as server:
        assert await listens(server.url, said, topics=["moc:1"]) is None
    assert said.lines[1:] == ["moc:1: Nobody knows (TOPIC_RIGHTS_UNAVAILABLE); trying again", "following moc:1"]


def test_the_members_of_a_topic_are_named_at_first_and_then_those_who_come_and_go() -> None:
    output = Said()
    report = PresenceReporter("moc:1", output).report

    def now(*users: str, count: int | None = None, is_live: bool = True) -> None:
        report(PresenceState(tuple(map(Member, users)), len(users) if count is None else count, is_live=is_live))

    now("ann", "ben")
    now("ann", "ben", is_live=False)
    now("ann", "cid")
    now("ann", "cid")
    now("ann", "cid", count=250)
    now(*(f"user-{number}" for number in range(30)))
    report(PresenceState(code="PRESENCE_OFF", message="no rule has presence"))
    assert output.lines == [
        "in moc:1: ann, ben",
        "in moc:1: cid came; 2 are there",
        "in moc:1: ben left; 2 are there",
        "in moc:1: 250 users",
        f"in moc:1: {', '.join(f'user-{number}' for number in range(20))} and 10 more",
        "moc:1: nobody is told who is there: no rule has presence (PRESENCE_OFF)",
    ]


def test_presence_without_a_topic_is_refused() -> None:
    done = CliRunner().invoke(listen, ["--user", "ann", "--presence"])
    assert done.exit_code == 2
    assert "--topic" in done.output
