"""The Django app: it checks the settings, and gives them to producers of this process and of those that it starts."""

import os
from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from tellwire.django.configuration import configuration, require_valid
from tellwire.errors import TellwireError

_OF_PRODUCERS: Final = ("TELLWIRE_URL", "TELLWIRE_API_KEY", "TELLWIRE_DISABLED")


class TellwireConfig(AppConfig):
    """tellwire as a Django app."""

    name = "tellwire.django"
    label = "tellwire"
    verbose_name = "tellwire"

    def ready(self) -> None:
        """Register the check, and set the variables of producers. A wrong setting is told by the check."""
        register(check_settings)
        try:
            variables = configuration().variables(os.environ)
        except TellwireError:
            return
        os.environ.update({name: variables[name] for name in _OF_PRODUCERS if name in variables})


def check_settings(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """Return an error if the setting `TELLWIRE` is missing or wrong."""
    try:
        require_valid(os.environ)
    except TellwireError as error:
        return [Error(str(error), hint="See the page on Django in tellwire's documentation.", id="tellwire.E001")]
    return []
