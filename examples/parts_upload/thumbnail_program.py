"""A program that makes thumbnails, with a bound on its memory.

`python -m examples.parts_upload.thumbnail_program BYTES`. In: on each line of standard input `[path, thumbnail]` as
JSON. Out: a line for each, `{}`, `{"cause": "DAMAGED"}`, or `{"errno": 28, "text": "No space left on device"}` if the
thumbnail cannot be written. It ends with its input.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

from PIL import PngImagePlugin

from examples.parts_upload.thumbnail import MAX_FILE_BYTES, BadImage, make_thumbnail


def main() -> None:
    """Answer each line."""
    _bound_memory(int(sys.argv[1]))
    # A picture may hold a long text, or a big profile: of all that, the memory of this process is the bound.
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_FILE_BYTES
    for line in sys.stdin:
        path, thumbnail = json.loads(line)
        print(json.dumps(_answer(Path(path), Path(thumbnail))), flush=True)


def _answer(path: Path, thumbnail: Path) -> dict[str, object]:
    try:
        make_thumbnail(path, thumbnail)
    except BadImage as bad:
        return {"cause": bad.cause}
    except OSError as error:
        return {"errno": error.errno, "text": error.strerror}
    return {}


def _bound_memory(max_bytes: int) -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on all systems, and not all of them take this limit

        resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))


if __name__ == "__main__":
    main()
