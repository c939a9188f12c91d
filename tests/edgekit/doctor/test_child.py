"""Whatever a process does, there is an answer."""

import sys

import pytest

from edgekit.doctor.child import Reply, ask


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        ("print('well')", Reply("well")),
        ("import os; os.abort()", Reply(problem="crashed: SIGABRT")),
        (
            "import ctypes, sys; print('last words', file=sys.stderr, flush=True); ctypes.string_at(0)",
            Reply(problem="crashed: SIGSEGV: last words"),
        ),
        ("import sys; print('no', file=sys.stderr); sys.exit(4)", Reply(problem="ended with exit code 4: no")),
        ("raise ImportError('libGL.so.1')", Reply(problem="ended with exit code 1: ImportError: libGL.so.1")),
        (
            """import sys; print('{"problem": "it is off", "hint": "switch it on"}'); sys.exit(1)""",
            Reply(problem="it is off", hint="switch it on"),
        ),
    ],
)
def test_an_end_of_any_kind_is_an_answer(code, reply):
    assert ask([sys.executable, "-c", code]) == reply


def test_a_process_that_hangs_is_ended():
    reply = ask([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3)
    assert reply == Reply(problem="no answer for 0.3 s")


def test_a_program_that_is_not_there_is_an_answer(tmp_path):
    reply = ask([str(tmp_path / "none")])
    assert reply.problem == f"cannot start {tmp_path / 'none'}: no such file or directory"
