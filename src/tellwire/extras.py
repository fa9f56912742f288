"""The optional packages: a part of tellwire that needs one names it, and how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(part: str, extra: str) -> Iterator[None]:
    """Name the extra of a part of tellwire if an import in this block lacks a package of it.

    Raises:
        ModuleNotFoundError: a package is not installed; the text names it, and how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tellwire") or isinstance(error, ExtraMissing):
            raise
        package = (error.name or "").partition(".")[0]
        raise ExtraMissing(f"{part} needs {package}: pip install 'tellwire[{extra}]'", name=package) from error


class ExtraMissing(ModuleNotFoundError):
    """A package that is not installed, with the words for it."""
