"""Pages with written parts: each stands between two comments, `<!-- table: name -->` and `<!-- end -->`. Pure."""

import re
from collections.abc import Mapping


def with_parts(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with these parts written anew.

    Raises:
        LookupError: the page has no place for one of them.
    """
    for name, part in parts.items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if place.search(page) is None:
            raise LookupError(f"the page has no place for the table {name}")
        page = place.sub(lambda found, part=part: f"{found[1]}{part}\n{found[2]}", page)  # type: ignore[misc]
    return page
