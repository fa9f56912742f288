"""The command line: `tellwire serve`, `local`, `clock`, `token`, `listen`, `send`, `config`."""

import sys


def main() -> None:
    """Run the `tellwire` command."""
    try:
        from tellwire.cli.app import run

        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tellwire"):
            raise
        sys.stderr.write(f"tellwire: the command line needs {error.name}: pip install 'tellwire[gateway]'\n")
        code = 2
    sys.exit(code)
