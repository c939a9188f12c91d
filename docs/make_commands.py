"""Write ``reference/commands.md``: every verb's own help. A test keeps it true.

python docs/make_commands.py
"""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.app import COMMANDS, edgekit

TARGET = Path(__file__).parent / "reference" / "commands.md"
_WIDTH = 100


def commands_page() -> str:
    """Return the page."""
    pieces = ["# Commands", "", "Made by `python docs/make_commands.py` from the commands' own help.", ""]
    context = _context(edgekit, "edgekit", None)
    pieces += ["```", edgekit.get_help(context), "```", ""]
    for verb in COMMANDS:
        command = edgekit.get_command(context, verb)
        if command is None:
            raise LookupError(verb)
        pieces += [f"## edgekit {verb}", "", "```", command.get_help(_context(command, verb, context)), "```", ""]
    return "\n".join(pieces)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return command.make_context(
        name, [], parent, resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
    )


if __name__ == "__main__":
    TARGET.write_text(commands_page(), encoding="utf-8")
