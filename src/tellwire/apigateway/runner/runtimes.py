"""Runtimes: which command runs a function, and with which environment.

    python3.12        this Python, with `worker`
    nodejs22.x        the node on the PATH, with `node/bootstrap.cjs`
    provided.al2023   the executable `bootstrap` of the function's code (Go, Rust, a shell script)

All of them speak Lambda's Runtime API (`runtime_api`). The version that a template names is AWS's: here it is the one
that is installed.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.esbuild import entry_points, find_esbuild
from tellwire.errors import ConfigError

MIN_NODE: Final = 18

RUNTIMES: Final = "python3.*, nodejs*.x, provided.al2023, provided.al2"

LAST_NODE_WITH_CALLBACKS: Final = 22
"""Last Node.js on Lambda whose handlers may call back (Lambda developer guide, "Define Lambda function handler in
Node.js")."""

LAST_NODE_WITH_SDK_2: Final = 16
"""Last Node.js on Lambda that brings the AWS SDK for JavaScript of version 2 (the same guide, "Runtime-included SDK
versions")."""

NODE_DIRECTORY: Final = Path(__file__).parent / "node"

NODE_PRELOAD: Final = Path(__file__).parents[1] / "services" / "hosts.cjs"
"""As `services.hosts.NODE_PRELOAD`; the services are above this."""

HEAP_SHARE: Final = 0.9
"""Share of a function's memory that JavaScript's heap may take; the rest is for everything around it."""

_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"""Variables that a worker inherits from our environment. Others would work here and be missing on Lambda."""

_NODE_RUNTIME: Final = re.compile(r"nodejs(\d+)\.(?:x|\d+)")
_NODE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """A command that starts a runtime."""

    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]


def runtime_problem(function: Function) -> str | None:
    """Return the reason for which a function cannot run on this machine, without its name; None if it can."""
    runtime = function.runtime
    if runtime.startswith("python"):
        return None
    if _NODE_RUNTIME.fullmatch(runtime):
        return _node_problem(runtime) or _build_problem(function)
    if runtime.startswith("provided"):
        return _bootstrap_problem(function)
    return f"got the runtime {runtime!r}; allowed: {RUNTIMES}"


def local_runtime(runtime: str) -> str | None:
    """Return the name that the version on this machine has as a runtime; None where a version says nothing."""
    if runtime.startswith("python3"):
        return f"python{sys.version_info.major}.{sys.version_info.minor}"
    version = node_version() if _NODE_RUNTIME.fullmatch(runtime) else None
    return f"nodejs{version[0]}.x" if version is not None else None


def command_of(function: Function, variables: Mapping[str, str], built: Path | None = None) -> Command:
    """Return the command that runs a function with these variables, from the directory in which it was built, if any.

    Raises:
        ConfigError: it cannot run on this machine.
    """
    problem = runtime_problem(function)
    if problem is not None:
        raise ConfigError(f"function {function.name}: {problem}")
    if not function.code_dir.is_dir():
        raise ConfigError(f"function {function.name}: its code is gone from {function.code_dir}")
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment = inherited | _own_variables(function) | dict(variables)
    if function.runtime.startswith("python"):
        return _python(function, environment)
    if function.runtime.startswith("nodejs"):
        return _node(function, environment, built)
    return _custom(function, environment)


def layer_directories(content: Path, runtime: str) -> list[Path]:
    """Return the directories of a layer that a runtime searches.

    Source: Lambda developer guide, "Layer paths for each Lambda runtime".
    """
    if (node := _NODE_RUNTIME.fullmatch(runtime)) is not None:
        below = [f"nodejs/node{node[1]}/node_modules", "nodejs/node_modules"]
    elif runtime.startswith("python"):
        below = ["python", f"python/lib/{runtime}/site-packages"]
    else:
        below = ["."]
    return [directory for each in below if (directory := content / each).is_dir()]


def _own_variables(function: Function) -> dict[str, str]:
    return {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "LAMBDA_TASK_ROOT": str(function.code_dir),
        "_HANDLER": function.handler,
    }


# --- Python -----------------------------------------------------------------------------------------------------------


def _python(function: Function, environment: Mapping[str, str]) -> Command:
    paths = (function.code_dir, *function.layers)
    return Command(
        # Without the working directory on the import path until our own modules are imported: a function may have
        # a file named logging.py.
        (sys.executable, "-P", "-u", "-m", "tellwire.apigateway.runner.worker"),
        function.code_dir,
        {**environment, "TELLWIRE_IMPORT_PATHS": json.dumps([str(path) for path in paths])},
    )


# --- Node -------------------------------------------------------------------------------------------------------------


def node_version() -> tuple[int, int] | None:
    """Return the version of the node on the PATH; None without one."""
    program = shutil.which("node")
    return _version_of(program) if program is not None else None


@functools.cache
def _version_of(program: str) -> tuple[int, int] | None:
    try:
        told = subprocess.run(  # noqa: S603 - the node on the PATH
            [program, "--version"], capture_output=True, text=True, timeout=_NODE_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.", told)
    return (int(found[1]), int(found[2])) if found is not None else None


def _node_problem(runtime: str) -> str | None:
    version = node_version()
    if version is None:
        return f"got the runtime {runtime!r}, and this machine has no node; install Node.js {MIN_NODE} or later"
    if version[0] < MIN_NODE:
        return f"got the runtime {runtime!r}, and this machine has Node.js {version[0]}; allowed: {MIN_NODE} or later"
    return None


def _build_problem(function: Function) -> str | None:
    entries = entry_points(function)
    if not entries or find_esbuild(function) is not None:
        return None
    return (
        f"{entries[0]} must be built, and the project has no esbuild; "
        "allowed: npm install --save-dev esbuild, or build it first, as with `sam build`"
    )


def _node(function: Function, environment: Mapping[str, str], built: Path | None) -> Command:
    # Where a layer's packages are, as on Lambda; and where the packages may be that Lambda brings.
    layers = [str(path) for path in function.layers]
    path = os.pathsep.join(filter(None, (environment.get("NODE_PATH", ""), *layers)))
    own = {"NODE_PATH": path} if path else {}
    if built is not None:
        own["LAMBDA_TASK_ROOT"] = str(built)
    release = int(_NODE_RUNTIME.fullmatch(function.runtime)[1])  # type: ignore[index]
    about = {
        "runtime": function.runtime,
        "hasCallbacks": release <= LAST_NODE_WITH_CALLBACKS,
        "hasSdk2": release <= LAST_NODE_WITH_SDK_2,
        "sdkPaths": [str(each) for each in _module_directories(function)],
    }
    heap_mb = int(function.memory_mb * HEAP_SHARE)
    return Command(
        (
            str(shutil.which("node")),
            f"--max-old-space-size={heap_mb}",
            "--enable-source-maps",
            # Leads host names of AWS here; see `services.hosts`.
            f"--require={NODE_PRELOAD}",
            str(NODE_DIRECTORY / "bootstrap.cjs"),
        ),
        built or function.code_dir,
        {**environment, **own, "TELLWIRE_NODE": json.dumps(about)},
    )


def _module_directories(function: Function) -> list[Path]:
    """Return the node_modules from the function's code upwards, and from the working directory upwards."""
    starts = (function.code_dir.resolve(), Path.cwd())
    directories = [above / "node_modules" for start in starts for above in (start, *start.parents)]
    return [each for each in dict.fromkeys(directories) if each.is_dir()]


# --- custom runtimes --------------------------------------------------------------------------------------------------


def _bootstrap(function: Function) -> Path | None:
    places = (function.code_dir, *function.layers)
    return next((file for place in places if (file := place / "bootstrap").is_file()), None)


def _bootstrap_problem(function: Function) -> str | None:
    bootstrap = _bootstrap(function)
    if bootstrap is None:
        return f"its code has no file 'bootstrap', which the runtime {function.runtime!r} runs; build it first"
    if not os.access(bootstrap, os.X_OK):
        return "its bootstrap is not executable; allowed: chmod +x"
    return None


def _custom(function: Function, environment: Mapping[str, str]) -> Command:
    def joined(name: str, below: str) -> str:
        return os.pathsep.join(
            filter(None, (*(str(layer / below) for layer in function.layers), environment.get(name)))
        )

    paths = {"PATH": joined("PATH", "bin"), "LD_LIBRARY_PATH": joined("LD_LIBRARY_PATH", "lib")}
    return Command(
        (str(_bootstrap(function)),),
        function.code_dir,
        {**environment, **{name: value for name, value in paths.items() if value}},
    )
