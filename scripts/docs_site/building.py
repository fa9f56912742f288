"""The site, built by mkdocs. Whatever it warns of fails the build: a link or an anchor that leads nowhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.docs_site.collecting import ROOT, collect

_SECONDS = 600


def build(target: Path, collected: Path, root: Path = ROOT) -> list[str]:
    """Collect the pages, build the site into `target`, and return the warnings."""
    shutil.rmtree(collected, ignore_errors=True)
    configuration = collect(collected, root)
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(configuration), "-d", str(target)]
    # Its makers advertise their next generator at each start; docs/decisions/0023-site-generator.md is about that.
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS)
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("INFO")]
    return lines or ([done.stderr or f"mkdocs ended with {done.returncode}"] if done.returncode else [])
