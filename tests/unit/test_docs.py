"""The documentation: its Python runs, and it names every error and option."""

import asyncio
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts.docs_site.collecting import sources
from tellwire.apigateway import assumptions
from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.cli.local import local
from tellwire.errors import ConfigError, GatewayRefused, GatewayUnreachable, InvalidMessage, MessageTooBig
from tellwire.testing import MemoryCarrier
from tellwire.wire import RESERVED_TYPES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1)
]

pytest_plugins = ["pytester"]


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 100


def test_there_are_snippets_to_run() -> None:
    assert len(SNIPPETS) >= 6


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a gateway writes its file there
    saved: list[Any] = []
    names: dict[str, Any] = {"user_id": "user-1", "upload_id": "moc-1", "rows": list(range(10)), "save": saved.append}
    names |= {"monkeypatch": monkeypatch, "__name__": "snippet"}
    with use_broadcaster(Broadcaster(MemoryCarrier())):
        if "await " in code or "async " in code:
            exec(f"async def snippet():\n{textwrap.indent(code, '    ')}", names)
            asyncio.run(names["snippet"]())
        else:
            exec(code, names)
    assert saved in ([], list(range(10)))


def test_snippets_that_are_tests_pass(pytester: pytest.Pytester) -> None:
    tests = [str(snippet.values[0]) for snippet in SNIPPETS if "def test_" in str(snippet.values[0])]
    assert tests
    pytester.makepyfile(**{f"test_snippet_{number}": code for number, code in enumerate(tests)})
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(passed=len(tests))


def test_the_producers_page_names_every_error() -> None:
    page = (ROOT / "docs" / "how-to" / "producers.md").read_text()
    for error in (InvalidMessage, MessageTooBig, ConfigError, GatewayUnreachable, GatewayRefused):
        assert error.__name__ in page


def test_the_protocol_names_every_word_of_its_own() -> None:
    page = (ROOT / "spec" / "protocol.md").read_text()
    for word in RESERVED_TYPES:
        assert word in page


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_page_on_local_apis_names_every_assumption() -> None:
    page = (ROOT / "docs" / "how-to" / "local.md").read_text()
    own = {
        name for name, value in vars(assumptions).items() if getattr(value, "__module__", "") == assumptions.__name__
    }
    names = {name for name in vars(assumptions) if name.isupper()} | own
    assert len(names) >= 14
    for name in names:
        assert f"| `{name}` |" in page


def test_the_page_on_local_apis_names_every_option() -> None:
    page = (ROOT / "docs" / "how-to" / "local.md").read_text()
    for option in local.params:
        assert any(name in page for name in (*option.opts, *option.secondary_opts)), option.name


INSTALLING = re.compile(r"(pip install|uv add|npm install|npm i) .*?(tellwire)")
UNTIL_RELEASE = re.compile(
    r"^> Until the first release, \[install it from a clone\]\((\S*install\.md)#until-the-first-release\)\.$",
    re.MULTILINE,
)


@pytest.mark.parametrize("page", [*sources(), "native/README.md"])
def test_a_page_that_installs_says_how_until_the_first_release(page: str) -> None:
    text = (ROOT / page).read_text()
    if page.startswith("docs/decisions") or page in ("docs/how-to/install.md", "CHANGELOG.md"):
        return
    assert INSTALLING.search(text) is None or UNTIL_RELEASE.search(text)


def test_the_page_on_installing_names_every_extra() -> None:
    page = (ROOT / "docs" / "how-to" / "install.md").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in extras:
        assert re.search(rf"tellwire\[(\w+,)*{extra}\]", page), extra
