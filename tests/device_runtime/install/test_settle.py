import errno
import os
import shutil

import pytest

from device_runtime.contract.events import Notice
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.install.commands import recover_root, roll_back, status, trust, verify
from device_runtime.install.follow import to_restart
from device_runtime.install.lock import BusyError, locked
from device_runtime.install.recover import MOST_BOOTS
from device_runtime.install.remove import remove
from device_runtime.install.service.keeper import Kept
from device_runtime.install.state import write_state
from device_runtime.install.trial import RolledBackError
from tests.support.bundles import journal_codes, release_of
from tests.support.fake_keeper import CRASHES, FakeKeeper
from tests.support.fault_points import in_own_process
from tests.support.faulty_files import FaultyFiles
from tests.support.installing import content
from tests.support.random_runs import play_at_random
from tests.support.service_boards import ServiceBoard, cut_off_in_trial, service_bundle


@pytest.fixture(scope="session")
def versions(bundles):
    """Bundles of services."""
    folder = bundles / "services"
    folder.mkdir()
    return {version: service_bundle(folder, version) for version in ("1.0", "2.0", "3.0")}


@pytest.fixture(scope="session")
def ids(versions):
    """What they become."""
    return {version: release_of(path) for version, path in versions.items()}


@pytest.fixture(scope="session")
def first_of_all(tmp_path_factory, versions):
    """A board with 1.0: to be copied."""
    board = ServiceBoard(tmp_path_factory.mktemp("boards") / "one")
    board.apply(versions["1.0"])
    return board


@pytest.fixture
def one(first_of_all, tmp_path):
    """A board with 1.0 as a service."""
    board = first_of_all.copy_to(tmp_path / "board")
    board.keeper.behaviours = {}
    return board


@pytest.fixture
def two(one, versions):
    """A board with 2.0, and 1.0 before it."""
    one.apply(versions["2.0"])
    return one


def codes(board):
    return journal_codes(board.root.path)


class TellingKeeper(FakeKeeper):
    """Tells what was decided, and which link there was, at each start."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.starts = []

    def restart(self) -> None:
        board = ServiceBoard(self._root.path)
        trial = board.state.trial.release if board.state.trial else None
        self.starts.append((trial, board.current, [bad.release for bad in board.state.bad]))
        super().restart()


def test_a_release_is_committed_when_it_runs_and_given_back_when_it_does_not(one, versions, ids):
    one.keeper.behaviours[ids["3.0"]] = CRASHES
    assert one.apply(versions["2.0"]).current.version == "2.0"
    one.assert_in_order()
    with pytest.raises(RolledBackError) as failed:
        one.apply(versions["3.0"])
    assert (failed.value.code, "log: a line | the last line" in str(failed.value)) == ("crash-loop", True)
    assert one.runs == ids["2.0"]
    assert one.state.bad_release(ids["3.0"]).code == "crash-loop"
    one.assert_in_order()
    assert (one.root.logs / f"{ids['3.0'][:12]}.log").read_text() == "a line\nthe last line\n"


def test_marker_and_link_come_before_a_start_and_the_decision_before_the_way_back(one, versions, ids):
    board = ServiceBoard(one.root.path, {ids["2.0"]: CRASHES}, TellingKeeper)
    with pytest.raises(RolledBackError):
        board.apply(versions["2.0"])
    assert board.keeper.starts == [(ids["2.0"], ids["2.0"], []), (None, ids["1.0"], [ids["2.0"]])]


def test_a_first_release_that_fails_leaves_nothing_running(tmp_path, versions, ids):
    board = ServiceBoard(tmp_path / "board", {ids["1.0"]: CRASHES})
    with pytest.raises(RolledBackError, match="nothing ran before, and nothing runs now"):
        board.apply(versions["1.0"])
    assert (board.current, board.runs) == (None, None)
    board.assert_in_order()


def test_a_keeper_that_refuses_is_no_fault_of_the_release(one, versions, ids):
    class Refusing(FakeKeeper):
        def restart(self):
            raise EdgeError("no bus")

    board = ServiceBoard(one.root.path, {}, Refusing)
    with pytest.raises(EdgeError, match="no bus"):
        board.apply(versions["2.0"])
    assert (board.current, board.state.bad, board.state.restart) == (ids["1.0"], (), True)
    assert codes(board)[-2:] == ["trial-abandoned", "resume-failed"]
    recover_root(one.site())
    one.assert_in_order()


def test_a_reboot_goes_on_with_the_trial_and_commits(one, versions, ids):
    cut_off_in_trial(one, versions["2.0"])
    one.turn_on("boot-2")
    assert (one.state.trial.attempts, one.state.trial.boot, one.state.committed) == (2, "boot-2", ids["1.0"])
    assert one.current == one.runs == ids["2.0"]
    assert one.settle().current.version == "2.0"
    assert (one.state.committed, one.state.fallback) == (ids["2.0"], ids["1.0"])
    one.assert_in_order()
    assert codes(one)[-3:] == ["trial", "trial-continued", "committed"]


def test_a_reboot_goes_on_with_the_trial_and_gives_back(one, versions, ids):
    cut_off_in_trial(one, versions["2.0"])
    one.keeper.behaviours[ids["2.0"]] = CRASHES
    one.turn_on("boot-2")
    with pytest.raises(RolledBackError, match=r"app 1\.0 still runs"):
        one.settle()
    assert (one.runs, one.state.bad_release(ids["2.0"]).code) == (ids["1.0"], "crash-loop")
    one.assert_in_order()


class Stopped(FakeKeeper):
    """SIGTERM comes when it was told to start a release: from a person, or with the end of everything."""

    def restart(self):
        super().restart()
        if self._root.state.exists() and ServiceBoard(self._root.path).state.trial is not None:
            raise Interrupted("interrupted")


def test_a_machine_that_goes_down_ends_who_installs_and_the_trial_goes_on_after_its_boot(one, versions, ids):
    board = ServiceBoard(one.root.path, {}, Stopped)
    board.keeper.going_down = True
    with pytest.raises(Interrupted):
        board.apply(versions["2.0"])
    assert (board.state.trial.release, board.state.bad, codes(board)[-1]) == (ids["2.0"], (), "trial-suspended")
    one.turn_on("boot-2")
    assert one.settle().current.version == "2.0"
    one.assert_in_order()


def test_who_is_stopped_on_a_machine_that_runs_gives_back(one, versions, ids):
    board = ServiceBoard(one.root.path, {}, Stopped)
    with pytest.raises(Interrupted):
        board.apply(versions["2.0"])
    assert (board.runs, board.state.trial, codes(board)[-1]) == (ids["1.0"], None, "trial-abandoned")
    one.assert_in_order()


def test_what_ends_with_the_machine_has_not_failed(one, versions, ids):
    one.keeper.behaviours[ids["2.0"]] = Kept("stopped")
    one.keeper.going_down = True
    with pytest.raises(Interrupted, match="going down"):
        one.apply(versions["2.0"])
    assert (one.state.trial.release, one.state.bad) == (ids["2.0"], ())
    one.turn_on("boot-2")
    with pytest.raises(Interrupted, match="going down"):
        one.settle()
    assert (one.state.trial.release, one.state.bad) == (ids["2.0"], ())
    one.keeper.going_down = False
    one.keeper.behaviours.clear()
    assert one.settle().current.version == "2.0"


def test_a_decision_about_a_crash_loop_that_is_stopped_is_no_failure_of_the_release_before(two, ids):
    class Interrupting(FakeKeeper):
        def restart(self):
            raise Interrupted("interrupted")

    board = ServiceBoard(two.root.path, {ids["2.0"]: CRASHES}, Interrupting)
    with pytest.raises(Interrupted):
        board.crashed()
    assert (board.state.committed, board.state.safe_mode) == (ids["1.0"], None)
    assert board.state.bad_release(ids["1.0"]) is None
    two.turn_on("boot-2")
    assert two.runs == ids["1.0"]
    two.assert_in_order()


def test_in_the_boot_in_which_it_began_a_trial_without_its_installer_is_taken_back(one, versions, ids):
    for command in (lambda: status(one.site()), one.settle, lambda: recover_root(one.site(), boot=True)):
        cut_off_in_trial(one, versions["2.0"])
        assert one.runs == ids["2.0"]
        command()
        if command.__name__ != "settle" and one.runs != ids["1.0"]:
            one.keeper.restart()  # at boot the machine does that
        assert (one.runs, one.state.bad) == (ids["1.0"], ())
        assert codes(one)[-1] == "trial-interrupted"
    assert one.apply(versions["2.0"]).current.version == "2.0"


def test_a_trial_that_takes_too_many_boots_is_taken_back_and_may_be_tried_again(one, versions, ids):
    cut_off_in_trial(one, versions["2.0"])
    for boot in range(2, MOST_BOOTS + 1):
        one.turn_on(f"boot-{boot}")
        assert one.runs == ids["2.0"]
    one.turn_on("one too many")
    assert (one.runs, one.state.bad, codes(one)[-1]) == (ids["1.0"], (), "trial-attempts")
    one.settle()
    one.assert_in_order()
    assert one.apply(versions["2.0"]).current.version == "2.0"


def test_a_boot_counts_once_however_often_it_is_recovered(one, versions):
    cut_off_in_trial(one, versions["2.0"])
    for _ in range(9):
        one.turn_on("boot-2")
    assert one.state.trial.attempts == 2


def test_fifty_boots_change_nothing_of_what_is_committed(two):
    before = content(two.root.path)
    for boot in range(50):
        two.turn_on(f"boot-{boot}")
        if boot % 2:
            two.settle()
    assert content(two.root.path) == before
    two.assert_in_order()


def test_who_only_looks_leaves_a_trial_to_be_settled(one, versions, ids):
    cut_off_in_trial(one, versions["2.0"])
    one.turn_on("boot-2")
    assert status(one.site()).trial.release == ids["2.0"]
    verify(one.site())
    with pytest.raises(EdgeError):
        trust(one.site(), "")
    assert one.state.trial.attempts == 2
    one.settle()
    assert one.state.committed == ids["2.0"]


@pytest.mark.parametrize("command", ["apply", "recover", "remove"])
def test_who_changes_something_ends_a_trial_that_waits_to_be_settled(one, versions, ids, command):
    cut_off_in_trial(one, versions["2.0"])
    one.turn_on("boot-2")
    if command == "remove":
        remove(one.site())
        assert one.runs is None
        return
    if command == "apply":
        assert one.apply(versions["3.0"]).previous.version == "1.0"
    else:
        recover_root(one.site())
    assert "trial-interrupted" in codes(one)
    assert one.runs == ids["3.0" if command == "apply" else "1.0"]
    one.assert_in_order()


def test_while_a_trial_is_settled_others_wait(one, versions):
    with locked(one.site().fs, one.root), pytest.raises(BusyError):
        one.apply(versions["2.0"])


def test_a_lost_release_on_trial_is_taken_back_at_boot(one, versions, ids):
    cut_off_in_trial(one, versions["2.0"])
    shutil.rmtree(one.root.release(ids["2.0"]))
    one.turn_on("boot-2")
    one.settle()
    assert one.runs == ids["1.0"]
    one.assert_in_order()


def test_where_nothing_runs_by_itself_no_trial_outlives_a_boot(one, versions):
    one.boot = ""
    cut_off_in_trial(one, versions["2.0"])
    recover_root(one.site(), boot=True)
    assert one.state.trial is None


def test_what_still_runs_is_started_anew_when_the_one_who_should_have_was_killed(two, ids):
    # As a rollback that was killed between the link and the restart leaves it.
    write_state(two.site().fs, two.root, to_restart(two.site(), two.state))
    two.root.current.unlink()
    two.root.current.symlink_to(f"releases/{ids['1.0']}")
    two.keeper.restart()
    two.root.current.unlink()
    two.root.current.symlink_to(f"releases/{ids['2.0']}")
    assert status(two.site()).current.version == "2.0"
    two.assert_in_order()


def test_a_committed_release_that_crash_loops_gives_way_to_the_one_before(two, ids):
    two.keeper.behaviours[ids["2.0"]] = CRASHES
    result = two.crashed()
    assert (result.outcome.value, result.current.version, result.previous.version) == ("returned", "1.0", "2.0")
    assert (two.runs, two.state.bad_release(ids["2.0"]).code) == (ids["1.0"], "crash-loop")
    assert "log: a line" in two.state.bad_release(ids["2.0"]).reason
    two.assert_in_order()
    assert codes(two)[-2:] == ["crash-loop", "returned"]
    # The cause was mended: by hand it may come back.
    two.keeper.behaviours.clear()
    assert roll_back(two.site()).current.version == "2.0"
    assert two.state.bad == ()


def test_when_both_fail_nothing_runs_and_the_status_says_why(two, versions, ids):
    two.keeper.behaviours.update({ids["1.0"]: CRASHES, ids["2.0"]: CRASHES})
    assert two.crashed().current is None
    assert (two.current, two.runs, two.state.safe_mode.code) == (None, None, "both-failed")
    two.assert_in_order()
    told = status(two.site())
    assert "the release before fails, too" in told.safe_mode.reason
    assert {info.version for info in told.releases} == {"1.0", "2.0"}
    before = content(two.root.path)
    two.turn_on("boot-2")
    two.settle()
    two.crashed()
    assert (two.runs, content(two.root.path)) == (None, before)
    # The next deployment ends it, also of the same bundle.
    with pytest.raises(RolledBackError, match="nothing ran before, and nothing runs now"):
        two.apply(versions["1.0"], retry=True)
    assert (two.current, two.state.safe_mode.code) == (None, "both-failed")
    two.keeper.behaviours.clear()
    assert two.apply(versions["1.0"], retry=True).current.version == "1.0"
    assert (two.state.safe_mode, two.state.fallback) == (None, ids["2.0"])
    two.assert_in_order()


def test_a_damaged_way_back_is_not_taken(two, ids):
    two.keeper.behaviours[ids["2.0"]] = CRASHES
    (two.root.release(ids["1.0"]) / "paths.txt").write_text("/somewhere\n")
    two.crashed()
    assert (two.runs, two.state.safe_mode.code, two.state.committed) == (None, "fallback-damaged", ids["2.0"])


def test_with_no_way_back_a_release_is_started_again_after_a_pause(one, ids):
    one.keeper.behaviours[ids["1.0"]] = CRASHES
    slept = []
    before = one.keeper.runs[2]
    one.crashed(sleep=slept.append)
    assert sum(slept) == 600
    assert (one.keeper.runs[2], one.state.bad, one.state.safe_mode) == (before + 1, (), None)
    assert codes(one)[-2:] == ["crash-loop", "started-again"]
    assert Notice("there is nothing to return to; it is started again in 600 s", "warning") in one.told
    one.assert_in_order()


def test_a_quarantined_release_is_no_way_back(two, ids):
    two.keeper.behaviours[ids["2.0"]] = CRASHES
    two.crashed()
    two.keeper.behaviours[ids["1.0"]] = CRASHES
    before = two.keeper.runs[2]
    two.crashed()
    assert (two.runs, two.keeper.runs[2], two.state.safe_mode) == (ids["1.0"], before + 1, None)


def test_a_pause_ends_when_somebody_has_seen_to_it(one, ids):
    one.keeper.behaviours[ids["1.0"]] = CRASHES
    one.crashed(sleep=lambda _: one.keeper.behaviours.clear())
    assert codes(one)[-1] == "crash-loop"
    before = content(one.root.path)
    one.crashed()
    assert content(one.root.path) == before


def test_a_release_on_trial_that_crash_loops_is_judged(one, versions, ids):
    cut_off_in_trial(one, versions["2.0"])
    one.keeper.behaviours[ids["2.0"]] = CRASHES
    one.turn_on("boot-2")
    with pytest.raises(RolledBackError):
        one.crashed()
    assert one.runs == ids["1.0"]
    one.assert_in_order()


def test_a_disk_that_takes_no_decision_lets_what_is_there_be_started_again(two, ids):
    def full(_number, name):
        if name in ("create", "write", "open_append"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    class Full(FaultyFiles):
        def open_append(self, path):
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)  # the lock and the journal are there

    two.keeper.behaviours[ids["2.0"]] = CRASHES
    before = two.keeper.runs[2]
    two.crashed(Full(full))
    assert (two.runs, two.keeper.runs[2], two.state.committed) == (ids["2.0"], before + 1, ids["2.0"])


def test_on_a_board_with_nothing_the_machine_asks_for_nothing(tmp_path):
    board = ServiceBoard(tmp_path / "board")
    assert board.settle().outcome.value == board.crashed().outcome.value == "unchanged"
    assert not board.root.path.exists()


@pytest.mark.parametrize(
    ("name", "fault", "step", "may"),
    [
        ("boot", "kill", 1, {"2.0"}),
        ("settle", "kill", 2, {"2.0"}),
        ("settle bad", "kill", 3, {"1.0"}),
        ("settle bad", "full", 3, {"1.0"}),
        ("crashed bad", "kill", 3, {"1.0"}),
        ("crashed bad", "refuse", 3, {"1.0"}),
        ("crashed both", "kill", 5, {None, "1.0"}),
        ("crashed alone", "kill", 3, {"1.0"}),
        ("apply bad", "kill", 7, {"1.0"}),
    ],
)
def test_killed_at_a_call_the_machine_settles_it_by_itself(memory, name, fault, step, may):
    plan = {"name": name, "folder": str(memory), "fault": fault, "step": step}
    ended = in_own_process("service_faults", plan)
    assert len(ended) > 3
    assert {version for each in ended for version in each} <= may, ended


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize(("name", "step", "may"), [("settle bad", 5, {"1.0"}), ("crashed bad", 5, {"1.0"})])
def test_the_power_cut_at_a_call_is_settled_by_the_next_boot(memory, name, step, may):
    plan = {"name": name, "folder": str(memory), "fault": "power", "step": step}
    ended = in_own_process("service_faults", plan)
    assert len(ended) > 3
    assert {version for each in ended for version in each} <= may, ended


def test_a_machine_with_any_faults_serves_again_and_takes_another_release(memory):
    outcomes = play_at_random(memory, 200)
    assert outcomes["apply -9"]
    assert outcomes["rollback 0"]
