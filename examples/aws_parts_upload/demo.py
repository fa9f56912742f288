"""The application of template.yaml on this machine: `make demo-aws [ONCE=1] [FILE=mine.csv]`.

A phone and a laptop connect through `$connect`; a parts list is uploaded to S3; the CSV worker is invoked with S3's
event, and its messages reach both through the connections table and `@connections`. The demo shows the received
messages. Then a tablet connects, after all of that, and receives the same from the history table.

With `--once` it ends by itself: exit code 0 if all devices received everything, 1 if not. Otherwise everything keeps
running until Ctrl-C. Wrong usage is 2.
"""

import argparse
import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from contextlib import AsyncExitStack
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from local_stack import CREDENTIALS, CSV_WORKER, LocalStack, WorkerFailed, running_stack
from websockets.exceptions import InvalidHandshake

from examples.parts_upload.demo import file_of_user, summary_of, unusable
from examples.parts_upload.devices import Device, Message, connected
from examples.parts_upload.make_samples import make_samples
from examples.parts_upload.publishing import display_name
from examples.parts_upload.screen import Screen, line_of, make_screen
from tellwire import TellwireError, create_message
from tellwire.auth import development_secret, mint_token
from tellwire.broadcast import Broadcaster
from tellwire.client import Client

USER: Final = "demo-user"
UPLOAD: Final = "moc-123"

# The worker does not pause, so only a long list takes long enough to watch.
SAMPLE_ROWS: Final = 300_000

_LAST_MESSAGE: Final = "demo_finished"
_LAST_MESSAGE_SECONDS: Final = 15.0
_CLI_SECONDS: Final = 60.0
_DAY_SECONDS: Final = 86_400


async def demo(parts_list: Path, file_name: str, *, once: bool, screen: Screen) -> int:
    """Run the demo and return its exit code. The user knows the parts list by `file_name`.

    Raises:
        TellwireError, OSError, InvalidHandshake, TimeoutError, BotoCoreError, ClientError: the demo cannot be run.
    """
    secret = os.environ.get("TELLWIRE_JWT_SECRET") or development_secret()
    screen.say("Starting the stack of template.yaml…")
    async with AsyncExitStack() as resources:
        stack = await resources.enter_async_context(running_stack(secret))
        token = mint_token(secret, USER, _DAY_SECONDS)
        devices = [
            await resources.enter_async_context(connected(name, stack.api.websocket_url, token, screen.received))
            for name in ("phone", "laptop")
        ]
        with screen:
            screen.watch(devices)
            for line in _addresses(stack):
                screen.say(line)
            problems = [*await upload(stack, parts_list, file_name, screen), *await missed(stack, devices)]
        print(*map(summary_of, devices), sep="\n")
        problems += await missed_by_late_device(stack, token, devices[0])
        for line in problems:
            print(line)
        if not problems:
            await show_connection(stack)
        if not once:
            await stay(stack)
    return 1 if problems else 0


def _addresses(stack: LocalStack) -> list[str]:
    return [
        f"  websocket     {stack.api.websocket_url}",
        f"  @connections  {stack.api.management_url}/@connections/<connectionId>",
        f"  dynamodb, s3  {stack.aws_url}",
    ]


async def upload(stack: LocalStack, parts_list: Path, file_name: str, screen: Screen) -> list[str]:
    """Put the file into S3, invoke the worker as S3 would, and return the problems."""
    key = f"uploads/{USER}/{UPLOAD}/{file_name}"
    event = await asyncio.to_thread(stack.put, parts_list, key)
    screen.say(f"{key} is in S3. Its event invokes the worker.")
    try:
        outcome = (await stack.invoke(CSV_WORKER, event))[key]
    except WorkerFailed as failed:
        return [f"the worker failed: {failed}"]
    screen.say(f"The worker returned: {outcome}")
    return []


async def missed(stack: LocalStack, devices: Sequence[Device]) -> list[str]:
    """Wait until the devices have received the last message, and return the problems with the earlier ones.

    The worker's messages were posted before the last message, so each has arrived before it, or not at all.
    """
    await Broadcaster(stack.carrier()).broadcast_to_user(USER, create_message(_LAST_MESSAGE, {}))
    problems = []
    for device in devices:
        try:
            async with asyncio.timeout(_LAST_MESSAGE_SECONDS):
                await device.arrival_of(_LAST_MESSAGE)
        except TimeoutError:
            problems.append(f"{device.name}: the last message did not arrive within {_LAST_MESSAGE_SECONDS:g} s")
        problems += device.missed((UPLOAD,))
    if any(device.has_failed(UPLOAD) for device in devices):
        problems.append("the upload failed, as the devices say")
    return problems


async def missed_by_late_device(stack: LocalStack, token: str, other: Device) -> list[str]:
    """Connect a device that was away, print its messages, and return the problems.

    Nothing is published now: `$default` reads the messages from the history table. They must be those that the other
    device received live.
    """
    tablet = Device("tablet")
    live = positions_of(other.messages)
    if not all(live):
        return ["the history has no messages for devices that are away"]
    print("A tablet that was away connects, and receives from the history:")
    async with Client(stack.api.websocket_url, lambda _: token, start_from="oldest") as client:
        try:
            async with asyncio.timeout(_LAST_MESSAGE_SECONDS):
                while positions_of(tablet.messages) != live:
                    message = json.loads((await anext(client)).payload)
                    tablet.receive(message, time.time())
                    for line in line_of(message).splitlines():
                        print(f"{tablet.name:<7} {line}")
        except TimeoutError:
            return [f"tablet: received {positions_of(tablet.messages)}, not {live}"]
    return []


def positions_of(messages: Sequence[Message]) -> tuple[list[str], dict[str, int]]:
    """Return the cursors of the messages in the log, and the newest version of each state."""
    cursors = [message["cursor"] for message in messages if "cursor" in message]
    return cursors, {message["key"]: message["version"] for message in messages if "key" in message}


async def show_connection(stack: LocalStack) -> None:
    """Show the first connection with the AWS CLI, if it is installed."""
    connections = await stack.carrier().connections(USER)
    if not connections:
        return
    aws = shutil.which("aws", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    command = (
        *(aws or "aws", "apigatewaymanagementapi", "get-connection"),
        *("--endpoint-url", stack.api.management_url, f"--connection-id={connections[0].connection_id}"),
    )
    settings = {**CREDENTIALS, "AWS_DEFAULT_REGION": stack.api.api.region}
    print("\n" + " ".join(f"{name}={value}" for name, value in settings.items()), "\\\n " + shlex.join(command))
    if aws is None:
        return
    environment = {**os.environ, **settings, "AWS_PAGER": "", "NO_PROXY": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE)
    try:
        async with asyncio.timeout(_CLI_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    print(output.decode().rstrip())


async def stay(stack: LocalStack) -> None:
    """Keep everything running until Ctrl-C, which is the normal end."""
    tellwire, url = Path(sys.executable).with_name("tellwire"), stack.api.websocket_url
    print("\nEverything keeps running. Try, in another terminal (Ctrl-C here ends it):")
    print(f"  {tellwire} listen --user {USER} --url {url}")
    print(f'  {sys.executable} -m websockets "{url}?token=$({tellwire} token --user {USER})"')
    print('  > {"type": "ping"}')
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description="The example's template on this machine.")
    parser.add_argument("--once", action="store_true", help="end with a summary instead of staying for more")
    parser.add_argument("--file", type=file_of_user, metavar="CSV", help="upload this parts list instead of the sample")
    options = parser.parse_args(arguments)
    if options.file is not None and (problem := unusable(options.file)):
        parser.exit(2, f"demo: --file: {problem}\n")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _options(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    # SIGTERM must end the functions, too: asyncio turns SIGINT into an orderly end.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        parts_list = options.file or make_samples(rows=SAMPLE_ROWS).parts_list
        file_name = display_name(parts_list) if options.file else "parts-list.csv"
        return asyncio.run(demo(parts_list, file_name, once=options.once, screen=make_screen()))
    except KeyboardInterrupt:
        return 130
    except (TellwireError, OSError, InvalidHandshake, BotoCoreError, ClientError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
