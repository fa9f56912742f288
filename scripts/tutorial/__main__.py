"""Type the tutorial in a new folder, with the wheel in dist/ (`make packages`), and print how long it took."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import free_port
from scripts.tutorial.page import steps
from scripts.tutorial.typing import Reader

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "first-upload.md"
PORTS = ("8787", "5000")

if __name__ == "__main__":
    packages = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"
    if not list(packages.glob("tellwire-*.whl")):
        sys.exit(f"tutorial: there is no wheel in {packages}: run `make packages`")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tutorial-") as folder:
        reader = Reader(Path(folder), packages, lambda line: print(f"{time.monotonic() - began:6.1f} s  {line}"))
        asyncio.run(reader.go_through(steps(PAGE.read_text("utf-8"), {port: free_port() for port in PORTS})))
    print(f"The tutorial works as it is written. It took {time.monotonic() - began:.0f} seconds.")
