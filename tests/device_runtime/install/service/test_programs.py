import pytest

from device_runtime.errors import EdgeError
from device_runtime.install.service.programs import NOT_FOUND, SystemPrograms
from tests.support.waiting import wait_for


def test_a_program_tells_how_it_ended_and_what_it_said():
    done = SystemPrograms().run(["sh", "-c", "echo out; echo first >&2; echo last >&2; exit 3"])
    assert (done.code, done.out, done.said) == (3, "out\n", "last")


def test_one_that_says_nothing_has_ended_with_a_code():
    assert SystemPrograms().run(["false"]).said == "it ended with 1"


def test_one_that_is_missing_has_a_code_of_its_own():
    assert SystemPrograms().run(["no-such-program"]).code == NOT_FOUND
    with pytest.raises(EdgeError, match="not found"):
        list(SystemPrograms().lines(["no-such-program"]))


def test_programs_of_administrators_are_found_with_a_users_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert SystemPrograms().run(["sh", "-c", "true"]).code == 0


def test_programs_speak_english_and_know_the_users_run_time_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    told = SystemPrograms(tmp_path).run(["sh", "-c", 'echo "$LC_ALL$LC_MESSAGES $XDG_RUNTIME_DIR"'])
    assert told.out == f"C {tmp_path}\n"


def test_lines_that_are_followed_end_with_who_reads_them(tmp_path):
    script = 'trap "touch ended; exit" TERM; echo $$; while :; do sleep 0.05; done'
    lines = SystemPrograms().lines(["sh", "-c", f"cd '{tmp_path}'; {script}"])
    assert next(lines).isdigit()
    lines.close()
    wait_for((tmp_path / "ended").exists)


def test_a_program_that_fails_after_its_lines_is_told():
    lines = SystemPrograms().lines(["sh", "-c", "echo one; echo no permission >&2; exit 1"])
    assert next(lines) == "one"
    with pytest.raises(EdgeError, match="no permission"):
        next(lines)
