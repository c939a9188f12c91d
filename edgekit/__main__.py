"""``python -m edgekit``: the same as the ``edgekit`` command."""

from edgekit.cli.app import entry

if __name__ == "__main__":
    entry()
