"""Publications of the calibration's stages."""

from collections.abc import Sequence

from bench.traffic import publish_request
from tellwire.messages import create_upload_progress_message, encode_message

BATCH = 20
_STATE = create_upload_progress_message("upload-1", "parts.csv", 50, "Reading row 5,000", 5_000, 10_000)
STATE_BYTES = len(encode_message(_STATE))


def states(users: Sequence[str]) -> list[bytes]:
    """Return requests that publish an update of an upload to each user."""
    return [publish_request({"user": user}, _STATE) for user in users]
