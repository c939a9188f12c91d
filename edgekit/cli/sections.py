"""A command whose ``--help`` has its options under titles: for verbs with more of them than one list can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class SectionedCommand(click.Command):
    """A command with ``sections``: for each title the options' long names, in their order; the rest comes last."""

    def __init__(self, *args: Any, sections: Mapping[str, tuple[str, ...]], **values: Any) -> None:
        super().__init__(*args, **values)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        left = {
            max(param.opts, key=len): record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx))
        }
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([left.pop(name) for name in names])
        with formatter.section("Other options"):
            formatter.write_dl(list(left.values()))
