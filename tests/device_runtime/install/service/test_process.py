import contextlib
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from device_runtime.contract.service import ServiceSpec
from device_runtime.contract.status import SafeMode
from device_runtime.errors import EdgeError
from device_runtime.install.fsops import FileSystem
from device_runtime.install.lock import locked
from device_runtime.install.service.logfile import LIMIT_BYTES, LogFile, lines_from_now
from device_runtime.install.service.process import installer_words
from device_runtime.install.service.processes import boot_id, send
from device_runtime.install.service.runfolder import RunFolder
from device_runtime.install.service.supervisor import Commands, Supervisor
from device_runtime.install.state import read_state, write_state
from tests.support.served import QUICK, SYSTEM_PYTHON, WATCHED, accessible, kept, nobody, served_root, told, wait_until
from tests.support.waiting import wait_for


@pytest.fixture
def place():
    """A folder that every account may enter."""
    with accessible() as folder:
        yield folder


@pytest.fixture
def account():
    """Whom releases run as."""
    return nobody()


def alive(pid) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_of(root) -> list:
    """Return the pids of those that were started with a root."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(root.path) in entry.read_text():
                found.append(int(entry.parent.name))
    return found


def log_of(root) -> str:
    return RunFolder(root).log.read_text()


def test_an_application_runs_as_its_account_in_its_own_folder_and_stops(place, account):
    root = served_root(place, "print('hello'); tell('who', f'{os.getuid()} {os.getgroups()} {os.getcwd()}'); stay()")
    with kept(root, account) as keeper:
        assert keeper.look().state == "stopped"
        keeper.restart()
        look = wait_until(keeper, "running")
        assert alive(look.pid)
        assert (look.restarts, look.ended) == (0, "")
        uid = account.uid if account else os.getuid()
        who = told(root, "who")
        assert who.startswith(f"{uid} ")
        assert who.endswith(f" {root.data}")
        assert not account or " [] " in who
        assert (keeper.pulse.stat().st_uid, root.data.stat().st_uid) == (uid, uid)
        assert RunFolder(root).path.stat().st_uid == os.getuid()
        keeper.stop()
        assert not alive(look.pid)
        assert keeper.look().state == "stopped"
        assert any(line.endswith(" hello") for line in keeper.logs(100, follow=False))
        keeper.remove()
        assert not RunFolder(root).path.exists()
        assert root.data.is_dir()
        keeper.remove()


def test_the_release_of_the_moment_runs_again_after_a_crash_and_everything_is_told(place, account):
    root = served_root(place, "print('boom', file=sys.stderr); tell('at', time.monotonic()); beat(); os._exit(3)")
    with kept(root, account, dataclasses.replace(QUICK, burst=1000)) as keeper:
        keeper.restart()
        look = wait_for(lambda: (look := keeper.look()).restarts >= 3 and look)
        assert (look.ended, look.detail) == ("exit 3", "boom")
        assert look.state in ("starting", "running")
        keeper.restart()
        assert keeper.look().restarts < 3


def test_a_signal_is_named(place, account):
    root = served_root(place, "os.kill(os.getpid(), signal.SIGSEGV)")
    with kept(root, account, dataclasses.replace(QUICK, burst=1000)) as keeper:
        keeper.restart()
        assert wait_for(lambda: keeper.look().ended) == "SIGSEGV"


def test_an_application_that_ends_well_is_not_started_again(place, account):
    root = served_root(place, "beat()")
    with kept(root, account) as keeper:
        keeper.restart()
        look = wait_until(keeper, "stopped")
        assert (look.ended, look.restarts, look.pid) == ("exit 0", 0, 0)
        wait_for(lambda: not RunFolder(root).supervised())


@pytest.mark.parametrize(("beats", "ended"), [("beat(1, age_s=100.0)", "watchdog"), ("pass", "start-timeout")])
def test_one_that_hangs_is_aborted_and_started_again(place, account, beats, ended):
    run = f"{beats}\ntell('hung', os.getpid())\nsignal.signal(signal.SIGABRT, signal.SIG_IGN)\ntime.sleep(600)"
    root = served_root(place, run, service=WATCHED)
    with kept(root, account, dataclasses.replace(QUICK, stop_s=0.1, burst=1000)) as keeper:
        keeper.restart()
        first = told(root, "hung")
        look = wait_for(lambda: (look := keeper.look()).restarts and look)
        assert look.ended == ended
        assert not alive(first)
        wait_for(lambda: told(root, "hung") != first)


def test_one_that_beats_before_its_first_prediction_is_given_time(place, account):
    root = served_root(
        place, "while not os.path.exists('go'):\n    beat(0)\n    time.sleep(0.05)\nstay()", service=WATCHED
    )
    with kept(root, account) as keeper:
        keeper.restart()
        begun = time.monotonic()
        wait_for(lambda: time.monotonic() > begun + 1.5)  # more than start_s
        assert (keeper.look().state, keeper.look().restarts) == ("starting", 0)
        (root.data / "go").touch()
        wait_until(keeper, "running")


def test_a_crash_loop_is_given_up_and_the_installer_decides(place, account):
    root = served_root(place, "os._exit(5)")
    with kept(root, account) as keeper:
        folder = RunFolder(root)
        keeper.prepare(ServiceSpec())
        commands = Commands(
            [SYSTEM_PYTHON, "-c", "import os; os._exit(5)"],
            [SYSTEM_PYTHON, "-c", f"open({str(place / 'asked')!r}, 'w').close()"],
        )
        descriptor = folder.take()
        try:
            Supervisor(folder, commands, account, QUICK).run()
        finally:
            os.close(descriptor)
        look = keeper.look()
        assert (look.state, look.ended, look.restarts) == ("failed", "exit 5", QUICK.burst - 1)
        wait_for((place / "asked").exists)
        assert "gives up: 5 failures" in log_of(root)


def test_the_installers_own_command_is_run_when_a_users_application_is_given_up(place, account):
    root = served_root(place, "os._exit(5)")
    whom = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    if account:
        subprocess.run(["chown", "-R", account.name, root.path], check=True)
    words = installer_words(root, "supervise", "user", SYSTEM_PYTHON)
    quick = ["--pause-s", "0.05", "--burst", "2", "--poll-s", "0.02"]
    try:
        assert subprocess.run([*words, *quick], check=False, cwd="/", timeout=60, **whom).returncode == 0
        assert "gives up: 2 failures" in log_of(root)
        wait_for(lambda: '{"event": "' in log_of(root))  # the installer's lines
    finally:
        for pid in processes_of(root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_stop_ends_all_processes_also_those_that_left_the_group(place, account):
    run = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "tell('child', child.pid)\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nstay()"
    )
    root = served_root(place, run)
    with kept(root, account, dataclasses.replace(QUICK, stop_s=0.2)) as keeper:
        keeper.restart()
        look = wait_until(keeper, "running")
        child = told(root, "child")
        assert alive(child)
        keeper.stop()
        assert not alive(look.pid)
        wait_for(lambda: not alive(child))


def test_what_a_crashed_application_left_running_is_ended_before_it_runs_again(place, account):
    run = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "if os.path.exists('child'): stay()\ntell('child', child.pid); os._exit(1)"
    )
    root = served_root(place, run)
    with kept(root, account) as keeper:
        keeper.restart()
        assert wait_until(keeper, "running").restarts == 1
        assert not alive(told(root, "child"))


def test_nothing_lives_on_unseen_when_the_supervisor_is_killed(place, account):
    run = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "tell('child', child.pid)\nstay()"
    )
    root = served_root(place, run)
    with kept(root, account) as keeper:
        keeper.restart()
        look = wait_until(keeper, "running")
        child = told(root, "child")
        os.kill(RunFolder(root).holder()[0], signal.SIGKILL)
        wait_for(lambda: not alive(look.pid))
        failed = wait_until(keeper, "failed")
        assert "its supervisor was killed" in failed.detail
        keeper.restart()
        assert not alive(child)
        assert wait_until(keeper, "running").pid != look.pid


def test_a_pid_that_is_anothers_by_now_is_not_signalled(place, account):
    root = served_root(place, "stay()")
    with (
        kept(root, account) as keeper,
        subprocess.Popen([SYSTEM_PYTHON, "-c", "input()"], stdin=subprocess.PIPE) as other,
    ):
        keeper.prepare(ServiceSpec())
        folder = RunFolder(root)
        folder.lock.write_text(f"{other.pid} 1")
        keeper.restart()
        wait_until(keeper, "running")
        keeper.stop()
        # Also when somebody holds the lock who has not signed.
        folder.lock.write_text(f"{other.pid} 1")
        assert not send(*folder.holder(), signal.SIGKILL)
        assert other.poll() is None
        other.stdin.close()
        assert other.wait() == 0 or other.returncode == 1


def test_of_two_supervisors_one_gives_way(place, account):
    root = served_root(place, "stay()")
    with kept(root, account) as keeper:
        keeper.restart()
        look = wait_until(keeper, "running")
        words = installer_words(root, "supervise", "system" if account else "user", SYSTEM_PYTHON)
        done = subprocess.run([*words, "--account", "nobody"], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "busy"
        assert keeper.look() == look


def test_a_supervisor_knows_the_account_of_the_last_time(place, account):
    root = served_root(place, "tell('who', os.getuid()); stay()")
    with kept(root, account) as keeper:
        keeper.restart()
        wait_until(keeper, "running")
        keeper.stop()
        (root.data / "who").unlink()
        descriptor = RunFolder(root).take()
        words = installer_words(root, "supervise", "system" if account else "user", SYSTEM_PYTHON)
        subprocess.run([*words, "--lock-fd", str(descriptor)], check=True, pass_fds=(descriptor,))
        os.close(descriptor)
        assert told(root, "who") == str(account.uid if account else os.getuid())


def test_one_that_is_started_by_hand_settles_first_what_a_power_cut_left(place, account):
    root = served_root(place, "tell('who', os.getuid()); stay()")
    (root.path / ".tmp-left").write_text("half a file")
    (root.path / "current").unlink()
    whom = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    if account:
        subprocess.run(["chown", "-R", account.name, root.path], check=True)
    words = installer_words(root, "supervise", "user", SYSTEM_PYTHON)
    with subprocess.Popen([*words, "--stop-s", "2"], stdout=subprocess.DEVNULL, cwd="/", **whom) as process:
        assert told(root, "who") == str(account.uid if account else os.getuid())
        assert not (root.path / ".tmp-left").exists()
        process.terminate()
        assert process.wait(20) == 0
    with kept(root, None) as keeper:
        assert keeper.look().state == "stopped"
    wait_for(lambda: not processes_of(root))  # its settling has ended, too


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may not run releases")
def test_root_runs_nothing_without_an_account(place):
    root = served_root(place, "tell('who', os.getuid()); stay()")
    words = installer_words(root, "supervise", "system", SYSTEM_PYTHON)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no account to run releases as" in done.stdout
    with kept(root, None) as keeper, pytest.raises(EdgeError):
        keeper.restart()
    assert not (root.data / "who").exists()


def test_no_descriptor_of_the_installer_lives_on(place, account):
    listed = "[os.readlink(entry) for entry in Path('/proc/self/fd').iterdir() if entry.exists()]"
    root = served_root(place, f"from pathlib import Path\ntell('open', {listed})\nstay()")
    with kept(root, account) as keeper, locked(FileSystem(), root), (place / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)  # noqa: FBT003 - its only argument
        keeper.restart()
        wait_until(keeper, "running")
        opened = told(root, "open")
        supervisor = RunFolder(root).holder()[0]
        held = [str(entry.readlink()) for entry in Path(f"/proc/{supervisor}/fd").iterdir()]
        for names in (opened, str(held)):
            assert "secret" not in names
            assert str(root.lock) not in names
        assert "supervisor.pid" not in opened
        assert "manifest.json" in opened  # which keeps the release from being removed
        # It is in a session of its own: a connection that ends takes nothing with it.
        assert os.getsid(supervisor) != os.getsid(0)


def test_the_log_is_bounded_and_can_be_followed(place, account):
    root = served_root(place, "stay()")
    with kept(root, account) as keeper:
        keeper.restart()
        wait_until(keeper, "running")
        with contextlib.closing(keeper.logs(1, follow=True)) as following:
            assert "started, pid" in next(following)
    log = LogFile(RunFolder(root).log, limit_bytes=2000)
    for number in range(200):
        log.feed(f"line {number}\n".encode())
    parts = [RunFolder(root).log, RunFolder(root).log.with_name("service.1.log")]
    assert sum(part.stat().st_size for part in parts if part.exists()) < 4100
    assert list(keeper.logs(2, follow=False))[-1].endswith(" line 199")
    assert len(list(keeper.logs(40, follow=False))) == 40


def test_a_follower_goes_on_when_the_log_begins_anew(tmp_path):
    log = LogFile(tmp_path / "service.log", limit_bytes=300)
    log.feed(b"before\n")
    following = lines_from_now(tmp_path / "service.log")
    thread = threading.Thread(target=lambda: [log.feed(f"line {n}\n".encode()) or time.sleep(0.01) for n in range(40)])
    got = []
    reader = threading.Thread(target=lambda: got.extend(itertools.islice(following, 20)), daemon=True)
    reader.start()
    wait_for(lambda: reader.ident)
    thread.start()
    thread.join()
    log.feed(b"last\n")
    reader.join(20)
    following.close()
    assert len(got) == 20
    assert not reader.is_alive()


def test_a_flood_of_output_and_a_line_without_end_keep_nobody(place, account):
    root = served_root(place, "beat()\nsys.stdout.write('x' * 3_000_000)\nsys.stdout.flush()\ntell('done', 1)\nstay()")
    with kept(root, account) as keeper:
        keeper.restart()
        told(root, "done")
        assert wait_until(keeper, "running").restarts == 0
        sizes = [path.stat().st_size for path in RunFolder(root).path.glob("service*.log")]
        assert sum(sizes) < 2 * LIMIT_BYTES + 200_000


def test_after_a_boot_it_is_told_that_nothing_starts_it(place, account):
    root = served_root(place, "stay()")
    with kept(root, account) as keeper:
        keeper.restart()
        wait_until(keeper, "running")
        os.kill(RunFolder(root).holder()[0], signal.SIGKILL)
        wait_until(keeper, "failed")
        record = RunFolder(root).record_file
        record.write_text(record.read_text().replace(boot_id(), "another"))
        look = keeper.look()
        assert look.state == "stopped"
        assert "@reboot" in look.detail
        assert "@reboot" in keeper.notices(ServiceSpec())[0]


def test_nothing_to_run_is_not_started_again(place, account):
    root = served_root(place, "stay()")
    write_state(FileSystem(), root, dataclasses.replace(read_state(root), safe_mode=SafeMode("c", "why not", "now")))
    with kept(root, account) as keeper:
        keeper.restart()
        look = wait_until(keeper, "stopped")
        assert (look.ended, look.restarts) == ("exit 78", 0)
        assert "why not" in look.detail
