"""Records of a log as JSON."""

import json
import logging

from tellwire.cli.json_log import JsonFormatter


def record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    made = logging.LogRecord("tellwire.gateway", logging.WARNING, "x.py", 1, message, values, info)
    made.created = 1_800_000_000.25
    return made


def test_a_record_is_one_line_with_its_time_level_and_message() -> None:
    line = JsonFormatter("worker 2").format(record("user %s\nconnected", "ann \u2028"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "warning",
        "logger": "tellwire.gateway",
        "message": "user ann \u2028\nconnected",
        "process": "worker 2",
    }


def test_an_error_has_its_traceback() -> None:
    found = json.loads(JsonFormatter().format(record("failed", error=ValueError("because"))))
    assert (found["error"], "process" in found) == ("ValueError: because", False)
