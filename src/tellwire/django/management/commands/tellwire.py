"""`manage.py tellwire …`: tellwire's own commands, with the settings of the project.

manage.py tellwire serve                          the gateway, with the project's secret and API key
manage.py tellwire send --user 1 notification …   a message by hand
manage.py tellwire token --user 1                 a token
"""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tellwire.django.configuration import configuration
from tellwire.errors import TellwireError
from tellwire.extras import needs_extra


class Command(BaseCommand):
    """tellwire's command line. Its arguments are its own, so Django does not read them."""

    help = "Run a command of tellwire with the settings of this project: serve, send, token, listen, config, drain."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command line after `manage.py tellwire`, and exit with its code."""
        try:
            code = self.handle(*argv[2:])
        except CommandError as error:
            self.stderr.write(f"tellwire: {error}")
            code = 2
        sys.exit(code)

    def handle(self, *arguments: str, **_: Any) -> int:  # type: ignore[override]
        """Run a command line and return its exit code."""
        with needs_extra("manage.py tellwire", "gateway"):
            from tellwire.cli.app import run

        try:
            os.environ.update(configuration().variables(os.environ))
        except TellwireError as error:
            raise CommandError(str(error)) from error
        return run(arguments)
