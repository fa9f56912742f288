"""Build the site into site/, or into the folder that is named."""

import sys
from pathlib import Path

from scripts.docs_site.building import build
from scripts.docs_site.collecting import ROOT

if __name__ == "__main__":
    target = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else ROOT / "site"
    warnings = build(target, ROOT / "build" / "docs")
    print("\n".join(warnings) or target / "index.html", file=sys.stderr if warnings else sys.stdout)
    sys.exit(1 if warnings else 0)
