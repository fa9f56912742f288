"""The outputs of `tellwire listen`."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from tellwire.cli.screen import JsonLines, Screen, printable


def shown(*messages: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
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
