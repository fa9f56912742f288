"""The steps of the tutorial, as they are read from its page."""

import os
from pathlib import Path

import pytest

from scripts.tutorial.page import Pressed, Seen, Typed, Written, pattern, steps
from scripts.tutorial.terminal import Terminal, TerminalError

PAGE = """
```sh title="Terminal 1"
mkdir x
serve --port 8787
```
It shows:
```text title="Terminal 1"
on 8787
```
Write this:
```py title="app.py"
PORT = 8787
```
```sh title="Terminal 2"
python app.py
```
```text title="Terminal 1"
done
```
Open <http://127.0.0.1:8787/> and press **Go**:
```text title="Browser"
Gone
```
```sh
not typed
```
"""


def test_the_steps_of_a_page_are_in_its_order_with_other_ports() -> None:
    assert steps(PAGE, {"8787": 1234}) == [
        Typed("Terminal 1", ["mkdir x", "serve --port 1234"], runs_on=True),
        Seen("Terminal 1", ["on 1234"]),
        Written("app.py", "PORT = 1234\n"),
        Typed("Terminal 2", ["python app.py"], runs_on=False),
        Seen("Terminal 1", ["done"]),
        Pressed("http://127.0.0.1:1234/", "Go"),
        Seen("Browser", ["Gone"]),
    ]


def test_a_line_is_found_whatever_stands_between_its_words() -> None:
    assert pattern("parts.csv ━━━━ 100 % … rows").search("x parts.csv ##--- 100 %\tComplete: 300 rows")
    assert not pattern("a b").search("a\nb")
    assert not pattern("a.b").search("axb")


@pytest.fixture
async def terminal(tmp_path: Path) -> Terminal:
    made = Terminal("Terminal 1", 60)
    await made.start(tmp_path, os.environ)
    return made


async def test_commands_are_typed_one_after_the_other(terminal: Terminal, tmp_path: Path) -> None:
    await terminal.type(["mkdir here", "cd here", "touch file", "echo a  b"], runs_on=False)
    await terminal.shows("a … b")
    assert (tmp_path / "here" / "file").exists()
    await terminal.close()


async def test_a_command_that_fails_ends_it_with_what_the_terminal_shows(terminal: Terminal) -> None:
    with pytest.raises(TerminalError, match=r"(?s)false: ended with 1\n.*no such luck"):
        await terminal.type(["echo no such luck", "false"], runs_on=False)
    await terminal.close()


async def test_a_command_that_runs_on_ends_with_its_terminal(terminal: Terminal, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await terminal.type(["sh -c 'echo shell $$ runs; read x < gate'"], runs_on=True)
    await terminal.shows("shell … runs")
    await terminal.close()
    # Whoever reads from the gate is gone, so it cannot be opened for writing.
    with pytest.raises(OSError, match="No such device"):
        os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
