"""The pages of the site, collected from the repository into one folder."""

import os
import shutil
from pathlib import Path
from typing import Final

import yaml

from scripts.docs_site.links import REPOSITORY, page_of, with_links
from scripts.docs_site.navigation import expanded

ROOT: Final = Path(__file__).parents[2]
BESIDE_DOCS: Final = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "spec/*.md",
    "bench/README.md",
    "clients/*/README.md",
    "examples/*/README.md",
)
"""The pages outside docs/, as patterns."""

_NAVIGATION: Final = "\nnav:\n"


class _AnyTag(yaml.SafeLoader):
    """A loader that takes the generator's own tags for nothing."""


_AnyTag.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def sources(root: Path = ROOT) -> list[str]:
    """Return the Markdown files of the repository that are pages of the site."""
    return sorted(
        str(path.relative_to(root)) for pattern in ("docs/**/*.md", *BESIDE_DOCS) for path in root.glob(pattern)
    )


def collect(target: Path, root: Path = ROOT) -> Path:
    """Write the pages and the generator's configuration into an empty folder, and return the configuration."""
    shutil.copytree(root / "docs", target / "docs")
    for source in sources(root):
        page = target / "docs" / page_of(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(source, root), "utf-8")
    text = (root / "mkdocs.yml").read_text("utf-8")
    settings = yaml.load(text, _AnyTag)
    pages = [page_of(source) for source in sources(root)]
    navigation = yaml.safe_dump({"nav": expanded(settings["nav"], pages)}, sort_keys=False)
    configuration = target / "mkdocs.yml"
    configuration.write_text(text.partition(_NAVIGATION)[0] + "\n" + navigation, "utf-8")
    return configuration


def _page(source: str, root: Path) -> str:
    pages = set(sources(root))
    folder = os.path.dirname(page_of(source)) or "."  # noqa: PTH120 - a name

    def turn(path: str, in_html: bool) -> str:
        file = f"{path}/README.md" if f"{path}/README.md" in pages else path
        name = os.path.relpath(page_of(file), folder)
        if file in pages:
            return _html(name) if in_html else name
        if file.startswith("docs/") and (root / file).is_file():
            return name
        if (root / path).exists():
            return f"{REPOSITORY}/{'tree' if (root / path).is_dir() else 'blob'}/main/{path}"
        return f"missing/{path}"  # so that the generator says it

    return with_links((root / source).read_text("utf-8"), source, turn)


def _html(page: str) -> str:
    """Return the name of the file that the generator makes of a page."""
    return page.removesuffix("README.md") + "index.html" if page.endswith("README.md") else f"{page[:-3]}.html"
