"""The page on tests with moto: its tests are those of examples/aws_pytest, which run here, and run again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from moto import mock_aws

from tellwire.errors import ConfigError
from tests.tools import SECONDS

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "aws_pytest"
PAGE = ROOT / "docs" / "how-to" / "moto.md"


@pytest.mark.long
def test_the_tests_of_the_example_pass_one_after_the_other_and_again() -> None:
    # With another module's name the same tests run twice in one process, as in a project with many.
    again = "test_worker.py::test_a_connection_that_is_gone_leaves_the_table"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    done = subprocess.run(
        [*command, "--keep-duplicates", "test_worker.py", again],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert "passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout


def test_inside_mock_aws_nothing_is_sent_to_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    from tellwire.sync import broadcast_to_user, create_notification_message

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CONNECTIONS_TABLE_NAME", "connections")
    monkeypatch.setenv("WEBSOCKET_API_ENDPOINT", "https://abc.execute-api.eu-west-1.amazonaws.com/prod")
    message = create_notification_message("Imported", "2 rows", "success")
    with mock_aws(), pytest.raises(ConfigError, match=r"inside moto's mock_aws.*ThreadedMotoServer"):
        broadcast_to_user("user-1", message)


def test_the_page_shows_the_tests_that_run() -> None:
    files = [(EXAMPLE / name).read_text() for name in ("test_worker.py", "worker.py", "template.yaml")]
    snippets = re.findall(r"```(?:py|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(snippets) >= 4
    for snippet in snippets:
        assert any(snippet in file for file in files), snippet
