"""Measurements over a real sshd on loopback: what comes back, and that nothing is left behind, however they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from device_runtime.contract.events import Progress, Step, silent
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import BadFileError, EdgeError, Interrupted, UnfitError, UsageError
from device_runtime.install.fsops import FileSystem
from device_runtime.install.lock import BusyError, locked
from device_runtime.install.root import Root
from device_runtime.install.signature import SignatureError, UnsignedError
from edgekit.benching import remote
from edgekit.benching.remote import RemoteCall, measure_on, model_as_bundle
from edgekit.boards.errors import UnreachableError
from edgekit.boards.target import find_place
from edgekit.bundling.describe import describe_bundle
from edgekit.deploying.fleet import for_each, worst
from tests.support import benched
from tests.support.benched import begun, benched_bundle, everything, is_alive, kill, sessions, user_machine
from tests.support.conversing import signed_bundle
from tests.support.cut_line import CutLine
from tests.support.installing import environment, install
from tests.support.served import accessible
from tests.support.signing import allow, make_key
from tests.support.ssh_server import ssh_server
from tests.support.tflite import brightness_model
from tests.support.waiting import wait_for

_HOST = """
import sys
from pathlib import Path
from edgekit.benching.remote import RemoteCall, measure_on
from edgekit.boards.target import find_place
from edgekit.bundling.describe import describe_bundle
from device_runtime.errors import EdgeError
from device_runtime.signals import interrupt_on
import signal
interrupt_on(signal.SIGINT)
target, scope, exclusive, *bundle = sys.argv[1:]
facts = describe_bundle(Path(bundle[0])) if bundle else None
try:
    measure_on(find_place(target, None), RemoteCall(facts, exclusive=exclusive == "exclusive", scope=scope))
except EdgeError as error:
    print(error, error.hint)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def place():
    """A folder that every account may enter and write to: for bundles, and for what harnesses tell."""
    with accessible() as folder:
        folder.chmod(0o777)
        yield folder


class Board:
    """A folder of the far machine, with or without a release, as a target."""

    def __init__(self, server, place, target=None, scope="auto"):
        self.server = server
        self.place = place
        self.root = place / "far" / "board"
        self.target = target or server.folder_target(self.root)
        self.scope = scope

    def has(self, harness=benched.REPORTS, **options) -> Path:
        """Install a release with this harness."""
        bundle = benched_bundle(self.place, harness, **options)
        assert install("apply", self.root, bundle).code == 0
        return bundle

    def measure(self, bundle=None, events=silent, **options):
        facts = describe_bundle(bundle) if isinstance(bundle, Path) else bundle
        call = RemoteCall(facts, scope=self.scope, **options)
        return measure_on(find_place(self.target, None), call, events)

    def host(self, bundle=None, *, exclusive=False, target=None):
        """Start a host in a process of its own."""
        words = [
            target or self.target,
            self.scope,
            "exclusive" if exclusive else "beside",
            *([bundle] if bundle else []),
        ]
        return subprocess.Popen(
            [sys.executable, "-c", _HOST, *map(str, words)], env=environment(), stdout=subprocess.PIPE, text=True
        )


@pytest.fixture
def board(server, place, monkeypatch):
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.config))
    return Board(server, place)


def test_the_current_release_is_measured_with_its_own_harness(board):
    board.has(benched.TELLS)
    before, heard = everything(board.root), []
    report = board.measure(events=heard.append, options=("--duration", "3"))
    assert (report.target, report.release, report.beside) == (board.target, "app 1.0", None)
    assert (report.source, report.model.input, report.fps) == ("--duration 3", "model1.0", 80.4)
    assert Step("warm up") in heard
    assert Progress(3, 9, "s") in heard
    assert everything(board.root) == before


def test_a_throw_away_release_leaves_no_trace_and_shares_what_is_there(board):
    board.has()
    other = benched_bundle(board.place, version="2.0")  # the same wheel, another model
    before = everything(board.root)
    report = board.measure(other)
    assert (report.release, report.model.input) == ("app 2.0", "model2.0")
    assert everything(board.root) == before
    # Another wheel, which comes and goes.
    third = benched_bundle(board.place, benched.TELLS, version="3.0")
    assert board.measure(third).release == "app 3.0"
    assert everything(board.root) == before
    assert install("verify", board.root).code == 0


def test_a_bare_board_stays_one(board):
    bundle = benched_bundle(board.place)
    assert board.measure(bundle).release == "app 1.0"
    assert not (board.place / "far").exists()
    with pytest.raises(UnfitError, match="no release is installed that could be measured"):
        board.measure()
    assert not (board.place / "far").exists()


def test_a_bundle_that_is_current_is_measured_where_it_lies(board):
    bundle = board.has()
    before, heard = everything(board.root), []
    assert board.measure(bundle, heard.append).release == "app 1.0"
    assert not [event for event in heard if isinstance(event, Step) and event.title.startswith("send ")][1:]
    assert everything(board.root) == before


def test_a_model_alone_takes_the_runtime_of_what_is_installed(board):
    spec = brightness_model(board.place / "bright.tflite")
    assert isinstance(spec, ModelSpec)
    text = board.place / "text.tflite"
    text.write_text("another model")  # the harness of this test prints it
    with (
        model_as_bundle(text, spec) as bundle,
        pytest.raises(UnfitError, match="no release is installed whose runtime"),
    ):
        board.measure(bundle)
    assert not (board.place / "far").exists()
    board.has()
    before = everything(board.root)
    with model_as_bundle(text, spec) as bundle:
        report = board.measure(bundle)
    assert report.release.endswith("with the runtime of app 1.0")
    assert report.model.input == "another model"
    assert everything(board.root) == before


@pytest.mark.parametrize(
    ("harness", "kind", "code", "words"),
    [
        (benched.CRASHES, EdgeError, "bench-crashed", "was killed by SIGSEGV"),
        (benched.FAILS, EdgeError, "camera", "v4l2:0: busy"),
        (benched.BABBLES, EdgeError, "bench-crashed", "answered no report: got 'no report"),
        (benched.FLOODS, EdgeError, "bench-crashed", "expected a report of at most 4194304 bytes, got more"),
        (benched.OLD, UnfitError, "unfit", "its runtime is too old for this: it does not know --runs$"),
        (benched.HAS_NO_HARNESS, UnfitError, "unfit", "its runtime is too old for this: it has no harness"),
        ("sys.exit('out of luck')", EdgeError, "bench-crashed", "exit code 1 and no report: out of luck"),
        ("print('odd', file=sys.stderr); sys.exit(2)", UsageError, "usage", "refuses what was asked for: odd"),
    ],
)
@pytest.mark.parametrize("way", ["current", "throw-away"])
def test_a_harness_that_fails_is_told_and_leaves_no_trace(board, harness, kind, code, words, way):
    bundle = None
    if way == "current":
        board.has(harness)
    else:
        board.has()
        bundle = benched_bundle(board.place, harness, version="2.0")
    before = everything(board.root)
    with pytest.raises(kind, match=words) as failed:
        board.measure(bundle, options=("--runs", "9"))
    assert failed.value.code == code
    assert everything(board.root) == before


def test_a_harness_that_never_ends_is_ended_with_all_its_processes(board):
    board.has(benched.FORKS)
    with pytest.raises(EdgeError, match="did not end within 1 s"):
        board.measure(limit_s=1.0)
    pid = begun(board.place)
    assert not is_alive(pid)
    assert not [each for each in Path("/proc").glob("[0-9]*/environ") if _has_mark(each, board.root)]


def _has_mark(path, root):
    with contextlib.suppress(OSError):
        return f"EDGEKIT_BENCHED={root}".encode() in path.read_bytes().split(b"\0")
    return False


def test_a_flood_of_complaints_hinders_nobody(board):
    board.has(benched.COMPLAINS)
    assert board.measure().release == "app 1.0"


def test_an_old_runtime_is_measured_with_what_it_knows(board):
    board.has(benched.OLD)
    assert board.measure(options=("--duration", "3")).release == "app 1.0"


def test_another_installer_at_work_is_told(board):
    board.has()
    with locked(FileSystem(), Root(board.root)), pytest.raises(BusyError, match="another installer is at work"):
        measure_on(find_place(f"local:{board.root}", None), RemoteCall())


def test_while_it_is_measured_nobody_installs(board):
    board.has(benched.WAITS)
    with board.host() as host:
        begun(board.place)
        other = benched_bundle(board.place, version="2.0")
        assert install("apply", board.root, other).error["code"] == "busy"
        assert install("status", board.root).status["busy"]
        host.send_signal(signal.SIGINT)
        said, _ = host.communicate()
    assert "ends the measurement, and what was stopped for it runs again" in said
    assert host.returncode == Interrupted.exit_code


@pytest.mark.parametrize("way", ["current", "throw-away"])
@pytest.mark.parametrize("end", ["ctrl-c", "host killed", "cut", "session killed", "harness killed"])
def test_however_it_ends_the_harness_is_ended_and_nothing_is_left(board, way, end):
    bundle = None
    if way == "current":
        board.has(benched.FORKS)
    else:
        board.has()
        bundle = benched_bundle(board.place, benched.FORKS, version="2.0")
    before = everything(board.root)
    with CutLine(board.server.port) as line:
        board.server.know(line.port)
        with board.host(bundle, target=board.server.folder_target(board.root, line.port)) as host:
            pid = begun(board.place)
            if way == "throw-away":
                assert (board.root / ".tmp-bench").is_dir()
            bring_to_an_end(end, host, line, board.root, pid)
            said, _ = host.communicate()
    assert host.returncode == {"ctrl-c": 130, "host killed": -9, "harness killed": 1}.get(end, 5), said
    wait_for(lambda: not sessions(board.root))
    assert not is_alive(pid)
    assert not [each for each in Path("/proc").glob("[0-9]*/environ") if _has_mark(each, board.root)]
    assert everything(board.root) == before


def bring_to_an_end(end, host, line, root, harness):
    """End a measurement in one of several ways."""
    if end == "ctrl-c":
        host.send_signal(signal.SIGINT)
    elif end == "host killed":
        host.kill()
    elif end == "cut":
        line.cut()
    elif end == "session killed":
        kill(sessions(root)[0])
    elif end == "harness killed":
        kill(harness)
    else:
        raise AssertionError(end)


def test_a_line_that_is_cut_while_the_bundle_comes_leaves_nothing(board):
    board.has()
    before = everything(board.root)
    with CutLine(board.server.port) as line:
        board.server.know(line.port)
        big = benched_bundle(board.place, benched.TELLS + "\n# " + os.urandom(400_000).hex(), version="2.0")
        target = find_place(board.server.folder_target(board.root, line.port), None)
        line.limit = 400_000
        with pytest.raises(UnreachableError):
            measure_on(target, RemoteCall(describe_bundle(big)))
        wait_for(lambda: not sessions(board.root))
    assert everything(board.root) == before


def test_what_a_power_cut_left_is_removed_at_boot_and_what_it_shared_stays(board):
    board.has()
    (board.root / "incoming.lock").touch()  # as after a deployment by a host
    before = everything(board.root)
    other = benched_bundle(board.place, benched.WAITS, version="2.0")
    with board.host(other) as host:
        pid = begun(board.place)
        kill(*sessions(board.root))  # the guard among them
        assert host.wait() == 5
    wait_for(lambda: not is_alive(pid))
    assert (board.root / ".tmp-bench").is_dir()
    assert install("recover", board.root, "--boot").code == 0
    assert everything(board.root) == before


def test_what_came_of_a_deployment_is_kept_for_it(board):
    board.has()
    part = board.root / "incoming" / "blobs" / "sha256" / ("a" * 64 + ".part")
    part.parent.mkdir(parents=True)
    part.write_text("half")
    before = everything(board.root)
    board.measure(benched_bundle(board.place, version="2.0"))
    before["incoming.lock"] = everything(board.root).get("incoming.lock", before.get("incoming.lock"))
    assert {key: value for key, value in before.items() if value} == everything(board.root)


def test_signatures_hold_here_too(board, place):
    board.has()
    key, stranger = make_key(place, "key"), make_key(place, "stranger")
    signers = allow(place / "signers", ("me@example.org", key))
    assert install("trust", board.root, signers).code == 0
    other = benched_bundle(place, version="2.0")
    before = everything(board.root)
    with pytest.raises(UnsignedError):
        board.measure(other)
    spec = brightness_model(place / "bright.tflite")
    with model_as_bundle(place / "bright.tflite", spec) as model, pytest.raises(UnsignedError):
        board.measure(model)
    assert everything(board.root) == before
    with pytest.raises(SignatureError):
        board.measure(signed_bundle(other, stranger, place / "strange.edgekit"))
    good = signed_bundle(other, key, place / "good.edgekit")
    assert board.measure(good).release == "app 2.0"
    journal = "journal.jsonl"  # it has the signature that was refused
    assert {**everything(board.root), journal: None} == {**before, journal: None}


def test_a_board_with_another_installer_keeps_it(board):
    target = find_place(board.target, None)
    bundle = benched_bundle(board.place)
    deployed = subprocess.run(
        [sys.executable, "-m", "edgekit", "deploy", str(bundle), board.target], env=environment(), check=False
    )
    assert deployed.returncode == 0
    kept = board.root / "installer.pyz"
    # An older one, which does not know the request: from the same sources, but for that.
    kept.write_bytes(_without_bench(kept.read_bytes(), board.place))
    before, heard = everything(board.root), []
    assert measure_on(target, RemoteCall(), heard.append).release == "app 1.0"
    assert Step("send the installer") in heard
    assert everything(board.root) == before


def _without_bench(content, folder):
    (folder / "new.pyz").write_bytes(content)
    with zipfile.ZipFile(folder / "new.pyz") as new, zipfile.ZipFile(folder / "old.pyz", "w") as old:
        for info in new.infolist():
            text = new.read(info)
            if info.filename.endswith("contract/session.py"):
                assert text.count(b'"bench": Bench') == 1
                text = text.replace(b'"bench": Bench', b'"other": Bench')
            old.writestr(info, text)
        old.comment = new.comment
    return (folder / "old.pyz").read_bytes()


def test_several_boards_each_come_to_their_own_end(board):
    board.has()
    places = [find_place(target, None) for target in (board.target, "ssh://127.0.0.1:1/srv", f"local:{board.root}")]
    for parallel in (1, 3):
        outcomes = for_each(
            places if parallel == 1 else places[:2],
            lambda place, events, stopper: measure_on(place, RemoteCall(), events, stopper),
            silent,
            parallel=parallel,
            stopped=remote.GO_ON,
        )
        assert [each.exit_code for each in outcomes] == [0, 5, 0][: len(outcomes)]
        assert worst(outcomes) == 5
        assert outcomes[0].done.target == board.target


def test_a_damaged_release_is_not_measured(board):
    board.has()
    (board.root / "current" / "paths.txt").write_text("/somewhere/else\n")
    with pytest.raises(BadFileError, match="the current release is damaged"):
        board.measure()


# A user's service, kept by a supervisor.


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A board on which a release runs as a service; its harness waits."""
    with accessible() as place, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("user")
        with user_machine(folder, place) as machine:
            patch.setenv("EDGEKIT_SSH_CONFIG", str(machine.server.config))
            board = Board(machine.server, place, machine.server.target, scope="user")
            board.root = machine.root
            bundle = benched_bundle(place, benched.WAITS)
            words = [sys.executable, "-m", "edgekit"]
            done = subprocess.run(
                [*words, "deploy", str(bundle), board.target, "--scope", "user"],
                env=environment(), check=False, capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            yield board
            done = subprocess.run(
                [*words, "remove", board.target, "--scope", "user", "--yes"], env=environment(), check=False
            )
            assert done.returncode == 0


def runs(board):
    """Return the pid of the service that runs, and says so itself; else None."""
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((board.root / "run" / "service.json").read_text())
        if record["state"] == "running" and is_alive(record["pid"]):
            return record["pid"]
    return None


def installed(board):
    """Return what is on the board, but for what the running service and its supervisor write."""
    return everything(board.root, but=("run", "data"))


def test_beside_the_service_the_report_says_so(service):
    pid, before = wait_for(lambda: runs(service)), installed(service)
    other = benched_bundle(service.place, version="2.0")
    report = service.measure(other)
    assert (report.release, report.beside) == ("app 2.0", "app 1.0")
    assert (runs(service), installed(service)) == (pid, before)
    busy = benched_bundle(service.place, benched.FAILS, version="3.0")
    with pytest.raises(EdgeError, match="busy") as failed:
        service.measure(busy)
    assert "--exclusive" in failed.value.hint


def test_exclusive_stops_the_service_and_starts_it_again(service):
    pid, before = wait_for(lambda: runs(service)), installed(service)
    service.place.joinpath("watched").unlink(missing_ok=True)
    looks = f"open({str(service.place / 'watched')!r}, 'w').write(str(os.path.exists('/proc/{pid}')))\nreport()"
    report = service.measure(benched_bundle(service.place, looks, version="2.0"), exclusive=True)
    assert (report.release, report.beside) == ("app 2.0", None)
    assert service.place.joinpath("watched").read_text() == "False"
    again = wait_for(lambda: runs(service))
    assert again != pid
    blocked = next(line for line in Path(f"/proc/{again}/status").read_text().splitlines() if line.startswith("SigBlk"))
    assert int(blocked.split()[1], 16) == 0  # it can be told to stop
    assert installed(service) == before


@pytest.mark.parametrize("end", ["ctrl-c", "host killed", "cut", "session killed", "harness killed"])
@pytest.mark.parametrize("way", ["current", "throw-away"])
def test_however_it_ends_the_service_runs_again(service, end, way):
    pid, before = wait_for(lambda: runs(service)), installed(service)
    bundle = benched_bundle(service.place, benched.FORKS, version="2.0") if way == "throw-away" else None
    user = service.target.split("@")[0]
    with CutLine(service.server.port) as line:
        service.server.know(line.port)
        with service.host(bundle, exclusive=True, target=f"{user}@127.0.0.1:{line.port}") as host:
            harness = begun(service.place)
            assert not is_alive(pid)
            bring_to_an_end(end, host, line, service.root, harness)
            said, _ = host.communicate()
    assert host.returncode == {"ctrl-c": 130, "host killed": -9, "harness killed": 1}.get(end, 5), said
    assert wait_for(lambda: runs(service)) != pid
    wait_for(lambda: not sessions(service.root))
    assert not is_alive(harness)
    assert installed(service) == before


def test_when_session_and_guard_are_killed_the_next_command_starts_the_service(service):
    pid, before = wait_for(lambda: runs(service)), installed(service)
    with service.host(exclusive=True) as host:
        begun(service.place)
        kill(*sessions(service.root))
        host.communicate()
    assert runs(service) is None
    subprocess.run(
        [sys.executable, "-m", "edgekit", "status", service.target, "--scope", "user"],
        env=environment(), check=False, capture_output=True,
    )  # fmt: skip
    assert wait_for(lambda: runs(service)) != pid
    assert installed(service) == before


def test_a_guard_of_an_installer_in_memory_starts_the_service_too(service):
    pid = wait_for(lambda: runs(service))
    kept = service.root / "installer.pyz"
    content = kept.read_bytes()
    older = _without_bench(content, service.place)
    kept.write_bytes(older)
    with service.host(exclusive=True) as host:
        begun(service.place)
        bring_to_an_end("session killed", host, None, service.root, 0)
        host.communicate()
    assert wait_for(lambda: runs(service)) != pid
    assert kept.read_bytes() == older
    wait_for(lambda: not sessions(service.root))
    kept.write_bytes(content)
