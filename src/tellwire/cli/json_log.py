"""A log as JSON, an object a line, for programs that collect logs."""

import logging
from typing import Any

import msgspec

from tellwire.model import timestamp


class JsonFormatter(logging.Formatter):
    """Formats a record as an object. `process` names one of several that share a log."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process:
            line["process"] = self._process
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
