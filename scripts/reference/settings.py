"""The table of settings. A default of None is put into words by the page."""

from collections.abc import Mapping
from typing import Any

import msgspec

from scripts.reference.tables import MISSING, kept_cells, table
from tellwire.config import Settings, environment_name


def parts(page: str) -> Mapping[str, str]:
    """Return the table of all settings, with the words of the page."""
    kept = kept_cells(page)
    rows = []
    for each in msgspec.structs.fields(Settings):
        name = f"`{each.name}`"
        _, _, default, words = kept.get(name, ["", "", "", MISSING])
        rows.append((name, f"`{environment_name(each.name)}`", _shown(each.default) or default, words))
    return {"settings": table(("setting", "environment", "default", ""), rows)}


def _shown(default: Any) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:.15g}`" if isinstance(default, float) else f"`{default}`"
