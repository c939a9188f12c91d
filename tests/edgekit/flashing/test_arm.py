"""arm.sh as a board's shell runs it: twice, cut anywhere, on a disk that takes nothing."""

from importlib import resources

import pytest

from tests.support.first_boots import UNIT, FirstBoot, shells
from tests.support.shell_scripts import assert_posix

NAME = "edgekit-first-boot.service"
UNITS = "etc/systemd/system"
SEMAPHORES = "var/lib/cloud/instance/sem"
MODULES = ("set_hostname", "users_groups", "set_passwords", "timezone", "locale", "ssh")


@pytest.fixture(params=shells())
def shell(request):
    return request.param


@pytest.fixture
def board(tmp_path):
    return armed_by(FirstBoot(tmp_path))


def armed_by(board):
    board.put({"edgekit/arm.sh": resources.files("edgekit.flashing").joinpath("arm.sh").read_bytes()})
    return board


def arm(board, shell, *words, **options):
    return board.run([shell, board.boot / "edgekit/arm.sh", *words], **options)


def is_armed(board):
    unit = board.root / UNITS / NAME
    wanted = board.root / UNITS / "multi-user.target.wants" / NAME
    return unit.is_file() and wanted.is_symlink() and wanted.resolve() == unit.resolve()


def test_they_are_posix_scripts():
    # SC2015: "a && b || c", where c is for either. SC2154: the values stand in front of firstrun.sh. SC2317: what "try"
    # is given is called.
    for name in ("arm.sh", "firstrun.sh"):
        script = resources.files("edgekit.flashing").joinpath(name)
        assert_posix(script, allowed=("SC2015", "SC2154", "SC2317"))


def test_the_unit_is_installed_wanted_and_started(board, shell):
    done = arm(board, shell, "start")
    assert (done.returncode, done.stderr) == (0, "")
    assert is_armed(board)
    assert (board.root / UNITS / NAME).read_bytes() == UNIT
    assert board.mode(f"{UNITS}/{NAME}") == 0o644
    assert (board.root / UNITS / "multi-user.target.wants" / NAME).readlink().as_posix() == f"../{NAME}"
    assert [call for call in board.calls() if call != "sync"] == [
        "systemctl daemon-reload",
        f"systemctl start --no-block {NAME}",
    ]


def test_without_start_it_waits_for_the_next_boot(board, shell):
    assert arm(board, shell).returncode == 0
    assert is_armed(board)
    assert [call for call in board.calls() if call != "sync"] == ["systemctl daemon-reload"]


def test_a_second_time_changes_nothing(board, shell):
    arm(board, shell, "start")
    before = (board.root / UNITS / NAME).stat()
    assert arm(board, shell, "start").returncode == 0
    after = (board.root / UNITS / NAME).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_another_unit_takes_its_place(board, shell):
    board.write(f"{UNITS}/{NAME}", "")
    board.write(f"{UNITS}/multi-user.target.wants/{NAME}", "no link")
    assert arm(board, shell).returncode == 0
    assert is_armed(board)
    assert (board.root / UNITS / NAME).read_bytes() == UNIT


def test_nothing_is_done_when_all_is_done(board, shell):
    board.write("var/lib/edgekit-first-boot/done", "")
    board.write(f"{SEMAPHORES}/config_ssh", "")
    done = arm(board, shell, "start")
    assert (done.returncode, done.stdout, done.stderr, board.calls()) == (0, "", "", [])
    assert not is_armed(board)
    assert (board.root / SEMAPHORES / "config_ssh").exists()


def test_what_cloud_init_may_have_left_half_done_is_done_again(board, shell):
    for name in (*MODULES, "runcmd", "scripts_user"):
        board.write(f"{SEMAPHORES}/config_{name}", "")
    arm(board, shell)
    left = {path.name for path in (board.root / SEMAPHORES).iterdir()}
    assert left == {"config_runcmd", "config_scripts_user"}


@pytest.mark.parametrize("content", ["a key", ""])
def test_host_keys_that_are_there_stay(board, shell, content):
    board.write(f"{SEMAPHORES}/config_ssh", "")
    board.write("etc/ssh/ssh_host_ed25519_key", "a key")
    board.write("etc/ssh/ssh_host_ed25519_key.pub", content)
    arm(board, shell)
    assert (board.root / SEMAPHORES / "config_ssh").exists() is bool(content)


@pytest.mark.parametrize("unit", [None, b""])
def test_a_card_without_the_unit_is_said(board, shell, unit):
    path = board.boot / "edgekit" / NAME
    path.write_bytes(unit) if unit is not None else path.unlink()
    done = arm(board, shell, "start")
    assert done.returncode == 1
    assert "the application cannot be installed" in done.stderr
    assert board.calls() == []


@pytest.mark.parametrize("program", ["cp", "mv", "ln", "mkdir", "chmod", "sync"])
def test_a_disk_that_takes_nothing_is_said_and_nothing_half_written_is_wanted(board, shell, program):
    board.program(program, "exit 1")
    done = arm(board, shell, "start")
    assert done.returncode == 1
    assert "is the system's disk full, or read-only?" in done.stderr
    assert f"systemctl start --no-block {NAME}" not in board.calls()
    unit = board.root / UNITS / NAME
    assert not unit.exists() or unit.read_bytes() == UNIT


def test_a_disk_that_keeps_half_is_said(board, shell):
    board.program("cp", 'head -c 3 "$1" >"$2"')
    assert arm(board, shell).returncode == 1
    assert not (board.root / UNITS / NAME).exists()


def test_what_systemd_refuses_is_said(board, shell):
    board.program("systemctl", "exit 1")
    done = arm(board, shell, "start")
    assert done.returncode == 1
    assert f"{NAME} cannot be started; it starts at the next boot" in done.stderr
    assert is_armed(board)


def test_cut_anywhere_it_arms_the_next_time(tmp_path):
    whole = armed_by(FirstBoot(tmp_path / "whole"))
    arm(whole, "sh", "start")
    assert whole.points() > 8
    for point in range(1, whole.points() + 1):
        board = armed_by(FirstBoot(tmp_path / str(point)))
        done = arm(board, "sh", "start", cut_at=point)
        assert done.returncode < 0
        unit = board.root / UNITS / NAME
        assert not unit.exists() or unit.read_bytes() == UNIT
        assert not (board.root / UNITS / "multi-user.target.wants" / NAME).is_symlink() or unit.exists()
        assert arm(board, "sh", "start").returncode == 0
        assert is_armed(board)
        assert f"systemctl start --no-block {NAME}" in board.calls()
