"""The command line as a test calls it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgekit.cli.app import main

_REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Stdout as the one JSON document that ``--json`` promises."""
        return json.loads(self.out)


class CommandLine:
    """Runs commands in this process, exactly as the installed ``edgekit`` does."""

    def __init__(self, capture) -> None:
        self._capture = capture

    def __call__(self, *arguments) -> Answer:
        self._capture.readouterr()
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = self._capture.readouterr()
        return Answer(code, captured.out, captured.err)

    def ok(self, *arguments) -> Answer:
        """Run a command that must succeed."""
        answer = self(*arguments)
        assert answer.code == 0, answer.err
        return answer


class ChildCommandLine(CommandLine):
    """Runs commands in a process of their own: where the test has threads, which a command that ends would end."""

    def __init__(self, folder) -> None:
        self._folder = folder

    def __call__(self, *arguments) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", *(str(argument) for argument in arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)
