"""`python -m tellwire`: the `tellwire` command."""

from tellwire.cli import main

if __name__ == "__main__":
    main()
