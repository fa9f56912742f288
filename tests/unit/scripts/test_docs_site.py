"""The site of the documentation: it has every page, its links hold, and it needs nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from scripts.docs_site.building import build
from scripts.docs_site.collecting import ROOT, collect, sources
from scripts.docs_site.links import page_of, repository_path, with_links
from scripts.docs_site.navigation import expanded


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with a page in docs/ and one beside it."""
    root = tmp_path / "repository"
    (root / "docs" / "how-to").mkdir(parents=True)
    (root / "examples" / "app").mkdir(parents=True)
    (root / "src").mkdir()
    (root / "README.md").write_text("# Start\n\n[How](docs/how-to/run.md#stop)\n")
    (root / "docs" / "how-to" / "run.md").write_text("# Run\n\n## Stop\n\n[Home](../../README.md)\n")
    (root / "docs" / "picture.png").write_bytes(b"")
    (root / "examples" / "app" / "README.md").write_text("# App\n")
    (root / "src" / "code.py").write_text("")
    (root / "mkdocs.yml").write_text("site_name: x\n\nnav:\n  - index.md\n  - how-to/*\n")
    return root


def collected(repository: Path, markdown: str) -> str:
    (repository / "docs" / "how-to" / "run.md").write_text(markdown)
    target = repository.parent / "collected"
    collect(target, repository)
    return (target / "docs" / "how-to" / "run.md").read_text()


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](../../README.md#start)", "[a](../index.md#start)"),
        ("[a](../../examples/app)", "[a](../examples/app/README.md)"),
        ("[a](https://github.com/tellwire/tellwire/tree/main/examples/app#readme)", "[a](../examples/app/README.md)"),
        ("[a](../../src/code.py)", "[a](https://github.com/tellwire/tellwire/blob/main/src/code.py)"),
        ("[a](../../src)", "[a](https://github.com/tellwire/tellwire/tree/main/src)"),
        ("![a](../picture.png)", "![a](../picture.png)"),
        ('<a href="../../examples/app/README.md">', '<a href="../examples/app/index.html">'),
        ("[a](../../nothing.md)", "[a](missing/nothing.md)"),
        ("[a](#stop)", "[a](#stop)"),
        ("[a](https://example.com/x.md)", "[a](https://example.com/x.md)"),
        ("`[a](../../README.md)`", "`[a](../../README.md)`"),
        ("```\n[a](../../README.md)\n```", "```\n[a](../../README.md)\n```"),
    ],
)
def test_a_link_leads_to_the_page_of_its_file(repository: Path, link: str, expected: str) -> None:
    assert collected(repository, f"before {link} after") == f"before {expected} after"


def test_links_after_code_are_turned_too() -> None:
    text = "```\n[a](b.md)\n```\n[a](b.md) `x` [a](b.md)"
    turned = with_links(text, "docs/page.md", lambda path, _: path)
    assert turned == "```\n[a](b.md)\n```\n[a](docs/b.md) `x` [a](docs/b.md)"


def test_links_to_elsewhere_have_no_file() -> None:
    for target in ("", "/absolute", "mailto:a@example.com", "https://example.com"):
        assert repository_path(target, "docs/page.md") is None


def test_the_navigation_has_the_pages_of_a_folder_that_are_named_nowhere() -> None:
    navigation = ["index.md", {"How-to": ["how-to/first.md", {"More": ["how-to/*"]}]}, {"Empty": ["empty/*"]}]
    pages = ["how-to/b.md", "how-to/first.md", "how-to/a.md", "other/c.md"]
    assert expanded(navigation, pages) == [
        "index.md",
        {"How-to": ["how-to/first.md", {"More": ["how-to/b.md", "how-to/a.md"]}]},
    ]


def test_links_and_anchors_that_lead_nowhere_fail_the_build(tmp_path: Path, repository: Path) -> None:
    settings, nav, _ = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")
    (repository / "mkdocs.yml").write_text(f"{settings}{nav}  - index.md\n  - how-to/*\n  - examples/*\n")
    assert build(tmp_path / "site", tmp_path / "collected", repository) == []
    (repository / "README.md").write_text("# Start\n\n[a](docs/nothing.md) [b](docs/how-to/run.md#nowhere)\n")
    warnings = "\n".join(build(tmp_path / "site", tmp_path / "collected", repository))
    assert "missing/docs/nothing.md" in warnings
    assert "#nowhere" in warnings


def test_the_site_is_built_without_a_warning_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert build(site, tmp_path / "collected") == []
    pages = {page.relative_to(site).as_posix(): page.read_text("utf-8") for page in site.rglob("*.html")}
    for source in sources():
        # A README is the index of its folder.
        name = page_of(source).removesuffix(".md").replace("README", "index")
        assert f"{name}.html" in pages, source
    for name, page in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\"\s>]+)", page)
        loaded += re.findall(r"<link\b[^>]*\brel=\"?(?:stylesheet|preconnect|icon)\b[^>]*\bhref=\"?([^\"\s>]+)", page)
        assert loaded
        assert [each for each in loaded if "//" in each] == [], name
