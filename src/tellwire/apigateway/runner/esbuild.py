"""TypeScript handlers: bundled by the project's own esbuild before they run, as `sam build` does.

A function is built if the file of its handler is not there as JavaScript: code that is built already is taken as it is.
The options are those of SAM (`Metadata: BuildMethod: esbuild`); without them esbuild bundles the handler's file.

Source: SAM developer guide, "Building Node.js Lambda functions with esbuild".
"""

import asyncio
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.handlers import HandlerFailed

TIME_LIMIT_SECONDS: Final = 120.0

_JAVASCRIPT: Final = ("", ".js", ".mjs", ".cjs")
_TYPESCRIPT: Final = (".ts", ".mts", ".cts", ".tsx")
_JOINED: Final = frozenset({"MainFields", "Conditions", "ResolveExtensions"})
_OWN: Final = frozenset({"EntryPoints", "UseNpmCi"})


def handler_file(function: Function) -> str:
    """Return the path of the handler's module in its code, without an ending."""
    directory, separator, name = function.handler.rpartition("/")
    return f"{directory}{separator}{name.partition('.')[0]}"


def entry_points(function: Function) -> list[str]:
    """Return the files that must be built before a function of Node can run; none if it is JavaScript already."""
    module = handler_file(function)
    if any((function.code_dir / f"{module}{ending}").exists() for ending in _JAVASCRIPT):
        return []
    named = (function.build or {}).get("EntryPoints")
    found = [str(each) for each in named] if isinstance(named, list) else []
    found = found or [f"{module}{ending}" for ending in _TYPESCRIPT]
    return [each for each in found if (function.code_dir / each).is_file()]


def find_esbuild(function: Function) -> str | None:
    """Return the esbuild of the project, above the function's code or the working directory, or that on the PATH."""
    starts = (function.code_dir.resolve(), Path.cwd())
    places = [above / "node_modules" for start in starts for above in (start, *start.parents)]
    names = (place / below for place in places for below in (".bin/esbuild", "esbuild/bin/esbuild"))
    return next((str(name) for name in names if name.is_file()), None) or shutil.which("esbuild")


async def build(function: Function, entries: Iterable[str], directory: Path) -> None:
    """Bundle a function into a directory.

    Raises:
        HandlerFailed: esbuild has refused the code; its reasons are on the terminal.
    """
    program = find_esbuild(function)
    if program is None:
        raise HandlerFailed("Runtime.ImportModuleError", "there is no esbuild to build it with")
    process = await asyncio.create_subprocess_exec(
        program,
        *entries,
        *_options(function, directory),
        cwd=function.code_dir,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Ctrl-C in the terminal must reach us only.
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(TIME_LIMIT_SECONDS):
            told, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        for line in told.decode("utf-8", "replace").splitlines():
            print(f"{function.name} INIT | {line}", file=sys.stderr)  # noqa: T201 - standard error is the log
        raise HandlerFailed("Runtime.UserCodeSyntaxError", "esbuild cannot build it")


def _options(function: Function, directory: Path) -> list[str]:
    given = dict(function.build or {})
    defaults: dict[str, Any] = {"Format": "cjs", "Target": "es2020", "Sourcemap": True}
    if not given:
        # Where Lambda's runtime has it, the bundle needs none.
        defaults["External"] = ["@aws-sdk/*"]
    options = [each for name, value in (defaults | given).items() if name not in _OWN for each in _option(name, value)]
    place = f"--outdir={directory}"
    if "EntryPoints" not in given:
        place = f"--outfile={directory / handler_file(function)}.js"
    return ["--bundle", "--platform=node", "--log-level=warning", place, *options]


def _option(name: str, value: Any) -> Iterator[str]:
    """Write an option of SAM's as esbuild's: `OutExtension: [.js=.mjs]` is `--out-extension:.js=.mjs`."""
    flag = "--" + re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    match value:
        case True | "true":
            yield flag
        case False | "false" | None:
            if name == "Sourcemap":
                return
            yield f"{flag}=false"
        case list() if name in _JOINED:
            yield f"{flag}={','.join(map(str, value))}"
        case list():
            yield from (f"{flag}:{each}" for each in value)
        case Mapping():
            yield from (f"{flag}:{key}={each}" for key, each in value.items())
        case _:
            yield f"{flag}={value}"
