"""The navigation: `folder/*` stands for each page of that folder that has no place of its own. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any


def expanded(navigation: list[Any], pages: Iterable[str]) -> list[Any]:
    """Return the navigation with all pages. A section that has none is left out."""
    named = set(_named(navigation))
    rest = [page for page in pages if page not in named]
    return list(_inserted(navigation, rest))


def _named(items: list[Any]) -> Iterator[str]:
    for item in items:
        if isinstance(item, dict):
            for below in item.values():
                yield from _named(below if isinstance(below, list) else [below])
        else:
            yield item


def _inserted(items: list[Any], rest: list[str]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, dict):
            for title, below in item.items():
                inside = list(_inserted(below, rest)) if isinstance(below, list) else below
                if inside:
                    yield {title: inside}
        elif item.endswith("/*"):
            yield from (page for page in rest if page.startswith(item[:-1]))
        else:
            yield item
