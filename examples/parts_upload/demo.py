"""The complete demo: `python -m examples.parts_upload.demo [--once] [--file mine.csv]`.

It starts a real gateway, connects two devices of one user, runs the CSV and the image worker, and shows the messages of
the devices. The parts are kept in a database beside the samples. `--once` ends with a summary: exit code 0 if both
devices received everything, 1 if not. Otherwise gateway and devices keep running until Ctrl-C, and the gateway's
process serves a page for uploads. Wrong usage is 2.
"""

import argparse
import asyncio
import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from websockets.exceptions import InvalidHandshake

from examples.parts_upload.csv_worker import import_parts
from examples.parts_upload.devices import Device, connected
from examples.parts_upload.gateway_process import Gateway, GatewayDown, running_gateway
from examples.parts_upload.image_worker import make_thumbnails
from examples.parts_upload.make_samples import DATA, Samples, make_samples
from examples.parts_upload.screen import Screen, make_screen
from examples.parts_upload.web_app import PAGE
from tellwire import TellwireError, UploadCancelled, UploadFailed, broadcast_to_user, create_message, mint_token
from tellwire.auth import development_secret

USER: Final = "demo-user"
PARTS: Final = "moc-123-parts"
PICTURES: Final = "moc-123-images"
PACE_SECONDS: Final = 0.15
DATABASE: Final = DATA / "parts.sqlite3"

_LAST_MESSAGE: Final = "demo_finished"
_LAST_MESSAGE_SECONDS: Final = 15.0
_DAY_SECONDS: Final = 86_400


async def demo(samples: Samples, *, once: bool, pace_seconds: float, screen: Screen) -> int:
    """Run the demo and return its exit code.

    Raises:
        GatewayDown, TellwireError, OSError, InvalidHandshake, TimeoutError: the demo cannot be run.
    """
    token = mint_token(os.environ.get("TELLWIRE_JWT_SECRET") or development_secret(), USER, _DAY_SECONDS)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(running_gateway(pace_seconds or PACE_SECONDS))
        _publish_to(gateway)
        devices = [
            await stack.enter_async_context(connected(name, gateway.ws_url, token, screen.received))
            for name in ("phone", "laptop")
        ]
        with screen:
            screen.watch(devices)
            screen.say(f"Gateway: {gateway.http_url}. {_pacing(pace_seconds)}")
            if not once and (PAGE / "index.html").is_file():
                screen.say(f"Page:    {gateway.http_url}/  Sign in as {USER}: these two devices see what you upload.")
            problems = [*await upload_everything(samples, pace_seconds, DATABASE), *await missed(devices)]
            if not problems:
                screen.say(f"Parts:   {DATABASE}  (SQLite: the table parts, upload_id {PARTS})")
            if not once:
                _say_all(screen, devices, problems)
                await stay(gateway, screen)
        if once:
            _say_all(screen, devices, problems)
    return 1 if problems else 0


def _pacing(pace_seconds: float) -> str:
    return f"After each batch: a pause of {pace_seconds:g} s, so that you can watch." if pace_seconds else "No pauses."


def _say_all(screen: Screen, devices: Iterable[Device], problems: Iterable[str]) -> None:
    for line in (*map(summary_of, devices), *problems):
        screen.say(line)


def _publish_to(gateway: Gateway) -> None:
    os.environ["TELLWIRE_URL"] = gateway.http_url
    # It may be set for another gateway; this one needs none, and must not receive it.
    os.environ.pop("TELLWIRE_API_KEY", None)


async def upload_everything(samples: Samples, pace_seconds: float, database: Path) -> list[str]:
    """Run both workers at once and return the problems. The parts stay in the database."""
    pause = partial(asyncio.sleep, pace_seconds)
    with TemporaryDirectory(prefix="parts-upload-") as folder:
        outcomes = await asyncio.gather(
            import_parts(samples.parts_list, database, USER, PARTS, pause=pause),
            make_thumbnails(samples.images, Path(folder, "thumbnails"), USER, PICTURES, pause=pause),
            return_exceptions=True,
        )
    return [_failure(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]


def _failure(error: BaseException) -> str:
    if isinstance(error, UploadFailed):
        return f"upload failed: {error.message} ({error.upload_code})"
    if isinstance(error, UploadCancelled):
        return "an upload was cancelled on some device"
    raise error


async def missed(devices: Iterable[Device]) -> list[str]:
    """Wait until the devices have received the last message, and return the problems with the earlier ones.

    Messages keep their order, so each earlier message has arrived before the last one, or not at all.
    """
    await broadcast_to_user(USER, create_message(_LAST_MESSAGE, {}))
    problems = []
    for device in devices:
        try:
            async with asyncio.timeout(_LAST_MESSAGE_SECONDS):
                await device.arrival_of(_LAST_MESSAGE)
        except TimeoutError:
            problems.append(f"{device.name}: the last message did not arrive within {_LAST_MESSAGE_SECONDS:g} s")
        problems += device.missed((PARTS, PICTURES))
    return problems


def summary_of(device: Device) -> str:
    """Return a summary of a device's messages, in one line."""
    uploads = [
        f"{states[-1]['fileName']} {states[0]['progress']:g} → {states[-1]['progress']:g}"
        for states in device.uploads().values()
    ]
    counted = f"{device.name:<7} {len(device.messages)} messages"
    return ", ".join([counted, *uploads, f"median delivery {device.median_delay_ms:.1f} ms"])


async def stay(gateway: Gateway, screen: Screen) -> None:
    """Keep everything running until Ctrl-C, which is the normal end.

    Raises:
        GatewayDown: the gateway ended.
    """
    tellwire = shutil.which("tellwire") or Path(sys.executable).with_name("tellwire")
    screen.say("Gateway and devices keep running. Try, in another terminal (Ctrl-C here ends it):")
    screen.say(f'  {tellwire} send --user {USER} --url {gateway.http_url} notification "Hello" "from here"')
    screen.say(f"  {tellwire} listen --user {USER} --url {gateway.http_url}")
    try:
        await gateway.process.wait()
    except asyncio.CancelledError:
        return
    raise GatewayDown("the gateway has ended")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="Two devices of one user watch an upload.")
    parser.add_argument("--once", action="store_true", help="end with a summary instead of waiting for Ctrl-C")
    parser.add_argument("--file", type=file_of_user, metavar="CSV", help="upload this parts list instead of the sample")
    parser.add_argument(
        "--pace",
        type=_seconds,
        metavar="SECONDS",
        help=f"pause between two batches (default: {PACE_SECONDS} for the sample, so that you can watch; "
        "0 for your own file)",
    )
    options = parser.parse_args(arguments)
    if options.file is not None and (problem := unusable(options.file)):
        parser.exit(2, f"demo: --file: {problem}\n")
    if options.pace is None:
        options.pace = PACE_SECONDS if options.file is None else 0.0
    return options


def file_of_user(text: str) -> Path:
    """Return the path of a file that a user names. Some shells leave the ~ of `FILE=~/mine.csv` as it is."""
    return Path.home() / text[2:] if text.startswith("~/") else Path(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) <= _DAY_SECONDS:
            return seconds
    raise argparse.ArgumentTypeError(f"got {text!r}; allowed: seconds, 0 or more")


def unusable(file: Path) -> str | None:
    """Return the reason why a file cannot be read; None: it can."""
    try:
        # Any kind of name, and any kind of reason why there is no such file.
        mode = file.stat().st_mode
    except FileNotFoundError:
        return f"there is no file {str(file)!r}"
    except (OSError, ValueError) as error:
        return f"{str(file)!r} cannot be used: {getattr(error, 'strerror', None) or error}"
    if not stat.S_ISREG(mode):
        return f"{str(file)!r} is not a file"
    return None if os.access(file, os.R_OK) else f"{str(file)!r} may not be read"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _options(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    # SIGTERM must end the gateway, too: asyncio turns SIGINT into an orderly end.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        samples = make_samples()
        if options.file is not None:
            samples = samples._replace(parts_list=options.file)
        return asyncio.run(demo(samples, once=options.once, pace_seconds=options.pace, screen=make_screen()))
    except KeyboardInterrupt:
        return 130
    except (GatewayDown, TellwireError, OSError, InvalidHandshake) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
