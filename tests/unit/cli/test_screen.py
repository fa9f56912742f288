"""The outputs of `tellwire listen`."""

import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from tellwire.cli.screen import JsonLines, Screen, printable


def shown(*messages: dict[str, Any], width: int = 100) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    with Screen(console) as screen:
        for message in messages:
            screen.show(json.dumps(message).encode())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_progress_is_a_bar_with_its_file_and_words() -> None:
    text = shown(
        {"type": "upload_progress", "data": {"uploadId": "a", "fileName": "p.csv", "progress": 42, "message": "Row 42"}}
    )
    assert "p.csv" in text
    assert "42.0%" in text
    assert "Row 42" in text


PARTS = {
    "uploadId": "a",
    "fileName": "parts-list-with-a-very-long-name.csv",
    "progress": 57.5,
    "message": "Row 57 of 9",
}


@pytest.mark.parametrize("width", [8, 12, 20, 30, 40, 60, 100, 200])
def test_the_percent_is_the_last_to_go(width: int) -> None:
    text = shown({"type": "upload_progress", "data": PARTS}, width=width)
    assert "57.5%" in text
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r") for line in text.splitlines()]
    assert max(map(len, lines)) <= width


def test_a_long_name_leaves_room_for_the_bar_and_the_words() -> None:
    text = shown({"type": "upload_progress", "data": PARTS | {"message": "word " * 50}}, width=100)
    assert "parts-list-with-a-very" in text
    assert "━━━━" in text
    assert "word word" in text


def test_nothing_is_said_of_messages_that_were_seen_or_marked_elsewhere() -> None:
    seen = {"type": "seen", "data": {"cursor": "e:1"}, "key": "seen", "version": 1}
    marks = {"type": "marks", "data": {"epoch": "e", "read": [[1, 1]], "dismissed": []}, "key": "marks", "version": 2}
    text = shown(seen, marks, {"type": "notification", "data": {"title": "Hello", "message": "World"}})
    assert ("Hello" in text, "epoch" in text, "cursor" in text) == (True, False, False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_lacks_a_letter_gets_another(encoding: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with Screen(Console(file=file, force_terminal=True, width=100)) as screen:
        screen.show(json.dumps({"type": "notification", "data": {"title": "Tòt 部品", "message": "è 🧱"}}).encode())
        screen.show(json.dumps({"type": "upload_progress", "data": PARTS | {"fileName": "部品.csv" * 20}}).encode())
        screen.show(json.dumps({"type": "own", "data": "部品"}).encode())
        screen.show("部品".encode())
        screen.say("部品")
    file.flush()
    assert b"57.5%" in file.buffer.getvalue()


def test_notifications_errors_and_custom_messages_are_lines() -> None:
    text = shown(
        {"type": "notification", "data": {"title": "Done", "message": "all of it", "severity": "success"}},
        {"type": "error", "data": {"code": "BAD_ROWS", "message": "12 rows"}},
        {"type": "comment", "data": {"by": "me"}},
    )
    for words in ("Done", "all of it", "BAD_ROWS", "12 rows", "comment", '{"by":"me"}'):
        assert words in text


def test_a_message_cannot_command_the_terminal() -> None:
    text = shown(
        {"type": "notification", "data": {"title": "\x1b]0;owned\x07", "message": "[red]x[/red]\x1b[2J"}},
        {
            "type": "upload_progress",
            "data": {"uploadId": "a", "fileName": "[b]\x1b[2J", "progress": 1, "message": "\x1b[2J[link=x]"},
        },
    )
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text
    assert "[red]x[/red]" in text


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"[]", b'{"type":1}', b'{"type":"upload_progress","data":{}}'])
def test_what_is_no_message_is_shown_all_the_same(payload: bytes) -> None:
    with Screen(Console(file=io.StringIO())) as screen:
        screen.show(payload)


def test_json_lines_are_the_messages_byte_for_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with JsonLines() as lines:
        lines.show('{"type":"x","data":"ü"}'.encode())
        lines.say("connected\x1b")
    out, err = capfdbinary.readouterr()
    assert out == '{"type":"x","data":"ü"}\n'.encode()
    assert err == "tellwire: connected�\n".encode()


def test_printable_keeps_letters_of_every_language() -> None:
    assert printable("Stückliste 部品 🧱\x00\n") == "Stückliste 部品 🧱��"


def test_a_message_of_a_topic_has_its_topic_and_who_said_it() -> None:
    text = shown(
        {"type": "comment", "data": {"text": "Hi"}, "topic": "moc:1", "from": "ada"},
        {"type": "upload_progress", "data": {"uploadId": "a", "fileName": "p.csv", "progress": 1}, "topic": "moc:1"},
        {"type": "upload_progress", "data": {"uploadId": "a", "fileName": "q.csv", "progress": 2}},
    )
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert 'moc:1 ada  comment  {"text":"Hi"}' in plain
    assert "moc:1 p.csv" in plain
    assert "q.csv" in plain
