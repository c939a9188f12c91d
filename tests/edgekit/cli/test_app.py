"""The command line as a whole: help, mistakes, bugs, signals."""

import json
import subprocess
import sys

import click
import pytest

from edgekit.cli.app import COMMANDS
from edgekit.cli.app import edgekit as group


def run(*arguments, **options):
    command = [sys.executable, "-m", "edgekit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_help_lists_every_verb_without_importing_any():
    script = (
        "import sys\nfrom edgekit.cli.app import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'PIL', 'rich', 'jinja2', 'matplotlib', 'tensorflow', 'ai_edge_litert'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")
    for verb, purpose in COMMANDS.items():
        assert verb in done.stdout
        assert purpose[:40] in done.stdout


@pytest.mark.parametrize("verb", list(COMMANDS))
def test_every_verb_has_help_with_an_example(verb, edgekit):
    answer = edgekit.ok(verb, "--help")
    assert f"Usage: edgekit {verb}" in answer.out
    assert answer.out.count(f"edgekit {verb}") > 1, "no example"
    command = group.get_command(click.Context(group), verb)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_a_wrong_verb_is_corrected(edgekit):
    answer = edgekit("benhc")
    assert answer.code == 2
    assert 'no command "benhc"; did you mean "bench"?' in answer.err


def test_a_wrong_option_is_corrected(edgekit):
    answer = edgekit("doctor", "--jsn")
    assert answer.code == 2
    assert "--json" in answer.err


def test_an_error_with_json_is_one_document(edgekit):
    answer = edgekit("inspect", "no-such-file", "--json")
    assert answer.code == 3
    assert answer.json["error"]["code"] == "bad-file"
    assert answer.json["error"]["exit_code"] == 3
    assert "no-such-file" in answer.json["error"]["message"]


def test_a_bug_leaves_a_trace_in_a_file_and_no_traceback_on_the_screen(tmp_path):
    # A module that shadows a verb's and breaks stands for any bug.
    script = (
        "import sys, types; import edgekit.cli\n"
        "module = types.ModuleType('edgekit.cli.doctor')\n"
        "import click\n"
        "@click.command()\n@click.option('--json', is_flag=True)\n"
        "def command(json): raise ZeroDivisionError('oops')\n"
        "module.command = command; sys.modules['edgekit.cli.doctor'] = module\n"
        "from edgekit.cli.app import main; main(['doctor', '--json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["message"] == "a bug in edgekit: ZeroDivisionError: oops"
    (trace,) = (tmp_path / "edgekit").iterdir()
    assert "in command\nZeroDivisionError: oops" in trace.read_text()


def test_a_reader_that_goes_away_is_no_error():
    command = [sys.executable, "-m", "edgekit", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stdout.close()
        assert running.stderr.read() == ""
