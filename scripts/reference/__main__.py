"""Write the tables of docs/reference anew; with --check say which differ from the code."""

import sys

from scripts.reference.pages import stale, write

if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        problems = stale()
        print("\n".join(problems), file=sys.stderr)
        sys.exit(1 if problems else 0)
    for path in write():
        print(path)
