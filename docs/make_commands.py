"""Write ``reference/commands.md``: every verb's own help. A test keeps it true.

python docs/make_commands.py
"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.app import COMMANDS, edgekit

TARGET = Path(__file__).parent / "reference" / "commands.md"


def commands_page() -> str:
    """Return the page."""
    pieces = ["# Commands", "", "Made by `python docs/make_commands.py` from the commands' own help.", ""]
    with click.Context(edgekit, info_name="edgekit", terminal_width=100, max_content_width=100) as context:
        pieces += ["```", edgekit.get_help(context), "```", ""]
        for verb in COMMANDS:
            command = edgekit.get_command(context, verb)
            if command is None:
                raise LookupError(verb)
            with click.Context(command, context, verb, terminal_width=100, max_content_width=100) as inner:
                pieces += [f"## edgekit {verb}", "", "```", command.get_help(inner), "```", ""]
    return "\n".join(pieces)


if __name__ == "__main__":
    TARGET.write_text(commands_page(), encoding="utf-8")
