"""The command's entry: finds the verb, imports its file only, and turns every error into words and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import click

from device_runtime import __version__
from device_runtime.contract.decode import dumps, suggestion
from device_runtime.contract.reported import ReportedError, report_of
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.signals import interrupt_on, leave

_BUG_EXIT_CODE = 70

COMMANDS = {
    "new": "Make a project folder with a sample model and images.",
    "convert": "Quantise a trained model to TFLite and prove the result.",
    "recipes": "List what a model can be converted to.",
    "predict": "Run a model on pictures.",
    "evaluate": "Measure a model's accuracy on a labelled data set.",
    "inspect": "Show what is in a model or a bundle.",
    "compare": "Put two models side by side.",
    "explain": "Tell what of a model runs where, and where its accuracy went.",
    "boards": "List the kinds of boards that bundles can be made for.",
    "bundle": "Pack a model and all it needs into one file.",
    "verify": "Check every byte of a bundle, or of what is installed on a board.",
    "deploy": "Install a bundle on boards, or leave them as they were.",
    "flash": "Write an SD card that boots into the application.",
    "status": "Tell what runs on a board, and how it is doing.",
    "logs": "Print what a board's application wrote.",
    "releases": "List the releases on a board.",
    "rollback": "Return a board to its previous release.",
    "trust": "Let a board take nothing but signed bundles.",
    "remove": "Take everything of edgekit off a board.",
    "demo": "Run a model on a camera, a video or pictures, and draw what it finds.",
    "bench": "Measure latency, stage by stage.",
    "monitor": "Show how a running application is doing, live.",
    "tunnel": "Open a board's page on this machine, over SSH.",
    "doctor": "Check this machine, and say what mends it.",
}
"""The verbs and what each is for, in the order in which a newcomer meets them; each is a file beside this one."""


class LazyGroup(click.Group):
    """Knows the verbs by name; a verb's file is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of ``COMMANDS``."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's file and return its ``command``."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"edgekit.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"edgekit.cli.{cmd_name}.command: expected a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f'no command "{args[0]}"; {suggestion(args[0], COMMANDS)}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="edgekit %(version)s")
def edgekit() -> None:
    """Take a trained vision model to a measured, running application on an ARM board.

    Start with: edgekit new my-app --sample belt
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with a documented code (docs/reference/exit-codes.md)."""
    given = sys.argv[1:] if arguments is None else arguments
    interrupt_on(signal.SIGTERM)
    code = _run(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) went away; Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def entry() -> NoReturn:
    """Run the command line as the whole of a process: a thread that hangs in a driver does not keep it alive."""
    try:
        main()
    except SystemExit as stop:
        leave(stop.code if isinstance(stop.code, int) else 1)


def _run(arguments: list[str]) -> int:
    try:
        # A command that ends by ctx.exit or click's Exit comes back as its code; all others give None.
        code = edgekit.main(arguments, prog_name="edgekit", standalone_mode=False)
    except click.UsageError as error:
        hint = f"see: {error.ctx.command_path} --help" if error.ctx else "see: edgekit --help"
        return _report(ReportedError("usage", error.format_message(), hint, 2), arguments)
    except click.ClickException as error:
        return _report(ReportedError("failed", error.format_message(), "", error.exit_code), arguments)
    except Interrupted as error:
        return _report(report_of(error), arguments)
    except (KeyboardInterrupt, click.Abort):
        return _report(report_of(Interrupted("interrupted; nothing was left half-written")), arguments)
    except BrokenPipeError:
        return 0
    except EdgeError as error:
        return _report(report_of(error), arguments)
    except Exception as error:  # noqa: BLE001 - what reaches this line is a bug, and is reported as one
        return _report_bug(error, arguments)
    return code if isinstance(code, int) else 0


def _report(error: ReportedError, arguments: list[str]) -> int:
    """Print an error: to stderr in words, and with ``--json`` also as stdout's one document."""
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    if "--json" in arguments:
        click.echo(dumps({"error": error}), nl=False)
    return error.exit_code


def _report_bug(error: Exception, arguments: list[str]) -> int:
    text = "".join(traceback.format_exception(error))
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgekit"
    trace = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trace.write_text(f"edgekit {__version__}, Python {sys.version}\n{text}")
        where = f"the trace is in {trace}"
    except OSError:
        click.echo(text, err=True)
        where = "the trace is above"
    message = f"a bug in edgekit: {type(error).__name__}: {error}"
    return _report(ReportedError("bug", message, f"please report it; {where}", _BUG_EXIT_CODE), arguments)
