"""The demo's evaluation and display of received messages."""

import io
from typing import Any

import pytest
from rich.console import Console

from examples.parts_upload.devices import Device
from examples.parts_upload.screen import line_of, panel_of

NOON = 1_795_348_800.0


def state(progress: float, upload_id: str = "moc-1", **data: Any) -> dict[str, Any]:
    shown = {"uploadId": upload_id, "fileName": "parts.csv", "progress": progress, "message": "Row 4,200", **data}
    return {"type": "upload_progress", "data": shown, "timestamp": "2026-11-22T12:00:00.000Z"}


def notification(title: str, words: str = "") -> dict[str, Any]:
    data = {"title": title, "message": words, "severity": "success"}
    return {"type": "notification", "data": data, "timestamp": "2026-11-22T12:00:00.000Z"}


def device(*messages: dict[str, Any]) -> Device:
    device = Device("phone")
    for message in messages:
        device.receive(message, NOON)
    return device


@pytest.mark.parametrize(
    ("progress", "wrong"),
    [
        ([0, 50, 50, 100], None),
        ([], "phone: moc-1 was not seen at all"),
        ([0, 50, 99], "phone: moc-1 went from 0 to 99, not from 0 to 100"),
        ([1, 100], "phone: moc-1 went from 1 to 100, not from 0 to 100"),
        ([0, 50, 40, 100], "phone: moc-1 went backwards"),
    ],
)
def test_an_upload_is_seen_if_it_goes_up_from_0_to_100(progress: list[float], wrong: str | None) -> None:
    seen = device(*(state(each) for each in progress), state(0, "moc-2"))
    assert seen.missed(["moc-1"]) == ([wrong] if wrong else [])


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_an_upload_that_ended_early_is_seen_if_that_is(status: str) -> None:
    phone = device(state(0), state(35), state(35, status=status))
    assert phone.missed(["moc-1"]) == []
    assert phone.has_failed("moc-1") == (status == "failed")
    assert not phone.has_failed("moc-2")


def test_the_delay_is_from_the_timestamp_to_the_arrival() -> None:
    device = Device("phone")
    for seconds in (0.001, 0.002, 0.5):
        device.receive(state(0), NOON + seconds)
    assert device.median_delay_ms == pytest.approx(2, abs=0.01)
    assert Device("laptop").median_delay_ms == 0


def test_a_message_is_a_line() -> None:
    error = {"type": "error", "data": {"code": "BAD_ROWS", "message": "12 rows"}}
    assert line_of(state(42)) == "parts.csv         42.0%  Row 4,200"
    assert line_of(notification("Done", "All of it")) == "Done: All of it"
    assert line_of(error) == "BAD_ROWS: 12 rows"
    assert line_of({"type": "demo_finished", "data": {}}) == ""


def drawn(device: Device) -> str:
    console = Console(file=io.StringIO(), width=60)
    console.print(panel_of(device))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_panel_has_a_bar_for_each_upload_and_the_news_beneath() -> None:
    lines = drawn(
        device(state(0), state(42), state(100, "moc-2", fileName="images"), notification("Done"))
    ).splitlines()
    order = [next(n for n, line in enumerate(lines) if words in line) for words in ("phone", "parts.csv", " 42.0%")]
    order += [next(n for n, line in enumerate(lines) if words in line) for words in ("images", "100.0%", "Done")]
    assert order == sorted(order)
    assert not any(" 0.0%" in line for line in lines)


def test_a_panel_stays_small_however_much_comes() -> None:
    shown = drawn(device(*(notification(f"number {n}.") for n in range(100))))
    assert "number 99." in shown
    assert "number 94." not in shown


def test_what_a_message_says_is_shown_and_not_obeyed() -> None:
    shown = drawn(device(state(1, fileName="\x1b[2J[red]x.csv"), notification("[bold]\x1b]0;title\x07")))
    assert "\x1b" not in shown
    assert "[red]x.csv" in shown
