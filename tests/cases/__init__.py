"""The cases that failed once on real sockets, files, browsers and public projects: a row for each, in *.toml.

`make test-cases` runs their tests (scripts/cases.py); `python -m scripts.cases --table` prints them.
"""
