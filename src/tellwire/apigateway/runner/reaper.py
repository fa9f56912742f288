"""The reaper: a small shell that ends the processes of functions if this process is killed.

It reads from a pipe which process groups there are. When the pipe ends, so has this process, in whichever way.
"""

import asyncio
import contextlib
import subprocess
from typing import Final

_SCRIPT: Final = """
alive=
while read -r sign pid; do
  rest=
  for each in $alive; do [ "$each" = "$pid" ] || rest="$rest $each"; done
  [ "$sign" = + ] && rest="$rest $pid"
  alive=$rest
done
for pid in $alive; do kill -KILL -- "-$pid"; done
"""


class Reaper:
    """Ends process groups that are watched when this process does not exist any more. POSIX only."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the shell, unless it runs."""
        if self._shell is None:
            self._shell = subprocess.Popen(  # noqa: S603 - the text above
                ["/bin/sh", "-c", _SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                # A Ctrl-C in the terminal must not end it before us.
                start_new_session=True,
            )

    def watch(self, process_group: int) -> None:
        """End this process group if we are gone."""
        self._tell(f"+ {process_group}\n")

    def forget(self, process_group: int) -> None:
        """Leave alone a process group that has ended: the system may give its number to others."""
        self._tell(f"- {process_group}\n")

    def _tell(self, line: str) -> None:
        if self._shell is not None and self._shell.stdin is not None:
            with contextlib.suppress(OSError):
                self._shell.stdin.write(line.encode())
                self._shell.stdin.flush()

    async def close(self) -> None:
        """End the shell, and with it all groups that are still watched."""
        if self._shell is not None:
            shell, self._shell = self._shell, None
            await asyncio.to_thread(shell.communicate)
