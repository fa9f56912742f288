"""The table of the HTTP API, from its OpenAPI document. The words of a new row are the summary of its operation."""

from collections.abc import Iterator, Mapping
from typing import Any

from scripts.reference.tables import MISSING, kept_cells, table
from tellwire.gateway.http_api import describe

_METHODS = ("get", "post", "put", "delete")
_KEYS = {"apiKey": "API key", "userToken": "the user's token"}


def parts(page: str) -> Mapping[str, str]:
    """Return the table of all endpoints, with the words of the page."""
    kept = kept_cells(page)
    rows = []
    for request, operation in _operations(describe()["paths"]):
        words = kept[request][-1] if request in kept else operation.get("summary", MISSING)
        keys = " or ".join(_KEYS[name] for each in operation.get("security", ()) for name in each)
        statuses = ", ".join(sorted(operation["responses"]))
        rows.append((request, keys, statuses, words))
    return {"http-api": table(("request", "`Authorization`", "statuses", ""), rows)}


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each operation once: those under /v1 have a second address, with the id in the path."""
    for path, operations in paths.items():
        if path.startswith("/v1/") and "{" in path:
            continue
        for method in _METHODS:
            if method in operations:
                names = [each["name"] for each in operations[method].get("parameters", ()) if each["in"] == "query"]
                query = "?" + "&".join(f"{name}=…" for name in names) if names else ""
                yield f"`{method.upper()} {path}{query}`", operations[method]
