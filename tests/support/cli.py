"""The command line as a test calls it."""

import json
from dataclasses import dataclass

from edgekit.cli.app import main


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
