"""Write `spec/` from the code: the JSON Schema of the messages, the golden messages, and the OpenAPI document.

    python -m scripts.export_spec           write
    python -m scripts.export_spec --check   fail if what is there is not what the code says

The golden messages are read by the tests of every language: each file is one message, byte for byte as it travels.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from tellwire.gateway.http_api import describe
from tellwire.messages import (
    CustomMessage,
    Error,
    ErrorMessage,
    Message,
    Notification,
    NotificationMessage,
    UploadProgress,
    UploadProgressMessage,
    encode_message,
)

SPEC = Path(__file__).parent.parent / "spec"
_AT = "2026-11-23T09:18:54.123Z"
_ID = "5f1d7c0a9b3e4c2d8f6a1b0c"

GOLDEN: dict[str, Message] = {
    "upload_progress": UploadProgressMessage(
        UploadProgress(
            upload_id="moc-1",
            file_name="parts-list.csv",
            progress=42.5,
            message="Row 4,250 of 10,000",
            current_row=4250,
            total_rows=10_000,
            status="running",
        ),
        _AT,
        _ID,
    ),
    "upload_progress_minimal": UploadProgressMessage(
        UploadProgress(upload_id="moc-1", file_name="parts-list.csv", progress=0, message="Starting CSV parsing..."),
        _AT,
        _ID,
    ),
    "upload_progress_complete": UploadProgressMessage(
        UploadProgress(
            upload_id="moc-1",
            file_name="parts-list.csv",
            progress=100,
            message="Complete: 10,000 rows",
            current_row=10_000,
            total_rows=10_000,
            status="complete",
        ),
        _AT,
        _ID,
    ),
    "upload_progress_failed": UploadProgressMessage(
        UploadProgress(
            upload_id="moc-1",
            file_name="Stückliste „neu“.csv",
            progress=12,
            message="Failed after 1,200 rows",
            current_row=1200,
            status="failed",
        ),
        _AT,
        _ID,
    ),
    "notification": NotificationMessage(
        Notification(
            title="Upload Complete",
            message="Your file has been uploaded successfully",
            severity="success",
            action_url="/mocs/moc-1",
            action_label="View MOC",
        ),
        _AT,
        _ID,
    ),
    "notification_minimal": NotificationMessage(
        Notification(title="Upload Failed", message="Unable to process your file. 🧱", severity="error"), _AT, _ID
    ),
    "error": ErrorMessage(
        Error(code="BAD_ROWS", message="12 rows could not be read", details={"rows": [3, 99], "more": True}), _AT, _ID
    ),
    "error_minimal": ErrorMessage(Error(code="UPLOAD_FAILED", message="parts.csv could not be processed"), _AT, _ID),
    "custom": CustomMessage("comment_added", {"mocId": "moc-1", "text": "Nice!", "likes": None}, _AT, _ID),
}


def documents() -> dict[Path, bytes]:
    """Return every generated file of `spec/` with its content."""
    generated = {SPEC / "messages" / f"{name}.json": encode_message(message) for name, message in GOLDEN.items()}
    generated[SPEC / "messages.schema.json"] = _pretty(_schema())
    generated[SPEC / "openapi.json"] = _pretty(describe())
    return generated


def _schema() -> dict[str, Any]:
    kinds = (UploadProgressMessage, NotificationMessage, ErrorMessage, CustomMessage)
    references, schemas = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for kind in kinds:
        # A publisher may leave out `timestamp` and `id`; a message on its way to a device always has them.
        schemas[kind.__name__]["required"] = list(schemas[kind.__name__]["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tellwire message",
        "anyOf": list(references),
        "$defs": schemas,
    }


def _pretty(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check compare them."""
    stale = [path for path, content in documents().items() if not path.exists() or path.read_bytes() != content]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(SPEC.parent)} is not what the code says: run `make spec`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(documents()[path])
        print(path.relative_to(SPEC.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
