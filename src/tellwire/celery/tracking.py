"""The upload of a task: found in the task's arguments, wherever Celery names them.

A worker's process has the arguments of the task that it runs; its parent has them, too, and tells of tasks whose
process was killed.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tellwire.celery.parts import ARGUMENT, PartOfUpload
from tellwire.errors import ConfigError, shown
from tellwire.limits import UPLOAD_LEASE_SECONDS
from tellwire.progress_state import new_run
from tellwire.sync import track_upload

Chosen: TypeAlias = str | Callable[[Mapping[str, Any]], Any]
"""The name of an argument of the task, or a function of all of them by name."""

UPLOAD: Final = "upload"
TRACKING: Final = "_tellwire_tracking"
"""The attribute of a tracked function with its `Tracking`."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """The way from the arguments of one function to its upload.

    Raises:
        ConfigError: a name is no parameter of the function.
    """

    signature: inspect.Signature
    name: str
    user: Chosen
    upload_id: Chosen | None = None
    file_name: Chosen | None = None
    total_rows: Chosen | None = None
    lease_seconds: float | None = UPLOAD_LEASE_SECONDS

    def __post_init__(self) -> None:
        for option in ("user", "upload_id", "file_name", "total_rows"):
            given = getattr(self, option)
            if isinstance(given, str) and not self._knows(given):
                names = ", ".join(self.signature.parameters) or "none"
                allowed = f"a parameter of {self.name} ({names}), or a function of its arguments"
                raise ConfigError(f"tracked({option}=…): got {shown(given)}; allowed: {allowed}")

    def _knows(self, name: str) -> bool:
        return name in self.signature.parameters or any(
            each.kind is each.VAR_KEYWORD for each in self.signature.parameters.values()
        )

    def of_call(self, task_id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> track_upload:
        """Return the upload of one call. Attempts at the same task are one run of it."""
        share = PartOfUpload.of(kwargs.get(ARGUMENT))
        given = {name: value for name, value in kwargs.items() if name != ARGUMENT}
        arguments = _by_name(self.signature.bind(*args, **given))
        own_id = new_run() if task_id is None else task_id
        upload_id = own_id if self.upload_id is None else chosen(self.upload_id, arguments)
        return track_upload(
            str(chosen(self.user, arguments)),
            str(upload_id) if share is None else share.upload_id,
            str(self.name if self.file_name is None else chosen(self.file_name, arguments)),
            None if self.total_rows is None else chosen(self.total_rows, arguments),
            lease_seconds=self.lease_seconds,
            run=own_id if share is None else share.run,
            part=None if share is None else share.part,
        )


def chosen(choice: Chosen, arguments: Mapping[str, Any]) -> Any:
    """Return the value that a choice names."""
    return choice(arguments) if callable(choice) else arguments[choice]


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    bound.apply_defaults()
    named = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(name)
    return named
