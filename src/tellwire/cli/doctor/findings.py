"""A finding of `tellwire doctor`, and the exit code of all. Pure."""

from collections.abc import Iterable

from msgspec import Struct

OK, WARNING, ERROR = "ok", "warning", "error"


class Finding(Struct, frozen=True):
    """Something that was looked at: `level` is ok, warning or error, `remedy` the change that helps."""

    check: str
    level: str
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return a finding that will cause trouble."""
    return Finding(check, WARNING, found, remedy)


def error(check: str, found: str, remedy: str) -> Finding:
    """Return a finding with which the gateway does not work."""
    return Finding(check, ERROR, found, remedy)


def exit_code(findings: Iterable[Finding], *, is_strict: bool) -> int:
    """Return 1 if there is an error, or with `is_strict` a warning; else 0."""
    bad = {ERROR, WARNING} if is_strict else {ERROR}
    return int(any(each.level in bad for each in findings))
