"""The tasks of a group, or of a chord's header, as parts of one upload.

The upload, its run and the part travel as one argument of each signature, which `tracked` takes out again: so they are
the same for every attempt, and known wherever Celery names the arguments of a task.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct, convert, structs

from tellwire.errors import InvalidMessage
from tellwire.progress_state import new_run
from tellwire.text import require_part

ARGUMENT: Final = "tellwire_part"


class PartOfUpload(Struct, frozen=True):
    """The share of one task."""

    upload_id: str
    run: str
    part: str

    @classmethod
    def of(cls, given: object) -> "PartOfUpload | None":
        """Return the share in an argument of a task; None: it has an upload of its own."""
        return None if given is None else convert(given, cls)


def in_parts(signatures: Iterable[Any], *, upload_id: str | None = None, run: str | None = None) -> list[Any]:
    """Return signatures of tracked tasks that share one upload, for `group` or the header of a `chord`.

    The upload is complete when all tasks are, and fails with any of them. `upload_id` and `run` are new ones by
    default; give them if `queue_upload` has shown the upload before.

    Raises:
        InvalidMessage: more than 256 signatures, or one is a chain, a group or a chord.

    Example:
        chord(in_parts(import_rows.s("user-1", path, first) for first in range(0, 80_000, 10_000)))(finish.s())
    """
    given = list(signatures)
    upload_id, run = new_run() if upload_id is None else upload_id, new_run() if run is None else run
    shared = []
    for number, signature in enumerate(given, 1):
        if str(signature["task"]).startswith("celery."):
            raise InvalidMessage("signatures", signature["task"], "signatures of tracked tasks")
        part = f"{number}/{len(given)}"
        require_part("signatures", part)
        share = structs.asdict(PartOfUpload(upload_id, run, part))
        # Not as arguments of `clone`, which an immutable signature ignores.
        clone = signature.clone()
        clone["kwargs"] = {**clone["kwargs"], ARGUMENT: share}
        shared.append(clone)
    return shared
