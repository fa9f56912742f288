"""Files whose saving loads the handlers again: the code of all runtimes, and no others."""

from pathlib import Path
from typing import Final

from watchfiles import Change, DefaultFilter

_ENDINGS: Final = frozenset(
    {".py", ".pyx", ".pyd", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".node", ".wasm"}
)
_NAMES: Final = frozenset({"bootstrap", "package.json"})


class CodeFilter(DefaultFilter):
    """Lets files of code through, outside of `node_modules`, `.venv` and the like."""

    def __call__(self, change: Change, path: str) -> bool:
        file = Path(path)
        return (file.suffix in _ENDINGS or file.name in _NAMES) and super().__call__(change, path)
