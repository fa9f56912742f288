"""Refusals of the page's server. Each names the thing, the given value, and the allowed ones or a way out.

TellwireError
├── FileRefused         400, 413, 415  a file's number, name, size or form is not allowed
├── NothingToStart      400            files that no worker can take
├── UploadIsRunning     409            its files stay as they are until it has ended
├── NoSuchUpload        404
└── ServerStops         503            nothing is started any more
"""

from tellwire import TellwireError
from tellwire.errors import shown


class FileRefused(TellwireError):
    """A file of an upload is not taken."""

    code = "FILE_REFUSED"
    http_status = 400


class FileTooBig(FileRefused):
    """A file has more bytes than allowed. Nothing of it is kept."""

    code = "FILE_TOO_BIG"
    http_status = 413

    def __init__(self, name: str, size_bytes: int, max_bytes: int) -> None:
        given, allowed = f"{size_bytes:,}", f"{max_bytes:,}"
        super().__init__(f"The file {shown(name)} is too big: got {given} bytes; allowed: at most {allowed} bytes")


class NotTheFileItself(FileRefused):
    """The body is compressed, or a form with the file in it."""

    code = "NOT_THE_FILE_ITSELF"
    http_status = 415

    def __init__(self, header: str, value: str) -> None:
        super().__init__(
            f"{header}: got {shown(value)}; allowed: the bytes of the file itself as the body, as they are"
        )


class NothingToStart(TellwireError):
    """The upload has no files, or too many for its worker."""

    code = "NOTHING_TO_START"
    http_status = 400

    def __init__(self, files: int, allowed: str) -> None:
        super().__init__(f"The upload has {files} files; allowed: {allowed}")


class StillArriving(TellwireError):
    """A file of the upload has not arrived as a whole."""

    code = "STILL_ARRIVING"
    http_status = 409

    def __init__(self, files: int) -> None:
        super().__init__(
            f"The upload has {files} files that have not arrived as a whole; send the rest, or DELETE them"
        )


class UploadIsRunning(TellwireError):
    """The upload was started already, and has not ended."""

    code = "UPLOAD_RUNNING"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("This upload runs already. Wait for its end, or cancel it.")


class NoSuchUpload(TellwireError):
    """The user has no upload with this id."""

    code = "UPLOAD_UNKNOWN"
    http_status = 404

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"There is no upload {shown(upload_id)}")


class ServerStops(TellwireError):
    """The server ends, and starts nothing any more."""

    code = "RESTARTING"
    http_status = 503
    retryable = True

    def __init__(self) -> None:
        super().__init__("The server restarts. Try again in a few seconds.")
