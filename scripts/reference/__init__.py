"""The tables of docs/reference, written from the code: `python -m scripts.reference`, or with --check compared.

    settings        `tellwire.config.Settings`, and their variables
    errors          the error classes
    messages        `spec/wire.schema.json` and the golden messages
    http_api        `spec/openapi.json`
    commands        the options of the command line, from click
    client_options  `ClientOptions` of TypeScript, beside Python's
    python_names    the docstrings of public names

Names, defaults, codes and types are the code's. The words in the last column of a table are its author's where the code
has none: they are kept, by the first cell of their row, and a row without words fails the check.
"""
