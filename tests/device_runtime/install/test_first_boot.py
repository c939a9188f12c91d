import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.events import LogLine, Notice, Progress, Step
from device_runtime.contract.manifest import Compat
from device_runtime.errors import UsageError
from device_runtime.install.first_boot import Story
from device_runtime.install.fsops import FileSystem
from device_runtime.install.recover import MOST_BOOTS
from device_runtime.install.root import Root
from device_runtime.install.service.units import FIRST_BOOT, first_boot_unit
from edgekit.bundling.installer_pack import installer_pack
from edgekit.bundling.layout import content_of
from tests.support.bundles import CRASH, MISSING_IMPORT, pack, release_of, tiny_bundle, tiny_contents, tiny_wheel
from tests.support.card_boards import CardBoard, Refusing, cut_off_in_trial
from tests.support.conversing import signed_bundle
from tests.support.fake_keeper import CRASHES, FakeKeeper
from tests.support.fault_points import KILLED, in_own_process
from tests.support.installing import REPOSITORY, current, environment
from tests.support.service_boards import ServiceBoard, ended, forked, in_child, service_bundle
from tests.support.signing import allow, make_key
from tests.support.waiting import wait_for


@pytest.fixture(scope="session")
def versions(tmp_path_factory):
    """Bundles of services."""
    folder = tmp_path_factory.mktemp("cards")
    return {version: service_bundle(folder, version) for version in ("1.0", "2.0")}


@pytest.fixture(scope="session")
def ids(versions):
    """What they become."""
    return {version: release_of(path) for version, path in versions.items()}


@pytest.fixture
def new(tmp_path, versions):
    """A board that was never on, with a card that has 1.0."""
    return CardBoard.made(tmp_path / "board", versions["1.0"])


# What it does


def test_a_first_boot_ends_with_a_release_that_runs_and_a_report_that_says_so(new, ids):
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])
    assert new.headline.startswith(f"edgekit: app 1.0 is READY (release {ids['1.0'][:12]}), ")
    assert new.headline in new.said
    assert "attempt 1" in new.report
    assert "edgekit status ssh://USER@" in new.report
    assert all(line.startswith("edgekit: ") and line.isprintable() for line in new.said)
    assert new.report.count("\n") == new.report.count("\r\n") > 10


def test_once_it_is_done_nothing_is_done_any_more(new, versions):
    assert new.boot_first() == 0
    before = new.report
    shutil.copy(versions["2.0"], new.card.bundle)
    new.card.link.symlink_to(f"../{FIRST_BOOT}")
    assert new.boot_first() == 0
    assert (new.report, new.codes().count("installing")) == (before, 1)
    assert not os.path.lexists(new.card.link)


def test_a_removal_is_not_undone_by_the_next_boot(new):
    assert new.boot_first() == 0
    shutil.rmtree(new.board.root.path)
    new.board.keeper.stop()
    assert new.boot_first() == 0
    assert not new.board.root.path.exists()


def test_what_somebody_deployed_meanwhile_stays(new, versions, ids):
    new.board.apply(versions["2.0"])
    assert new.boot_first() == 0
    new.assert_ready(ids["2.0"])
    assert "app 2.0 is READY" in new.headline


def test_a_first_installation_leaves_what_was_committed_since_somebody_looked(new, versions, ids):
    new.board.apply(versions["2.0"])
    assert new.board.apply(versions["1.0"], first=True).outcome.value == "unchanged"
    assert new.board.state.committed == ids["2.0"]
    assert new.board.apply(versions["1.0"]).outcome.value == "installed"


def test_what_somebody_deploys_at_that_very_time_is_waited_for_and_stays(new, versions, ids):
    go, deploying = new.folder / "go", new.folder / "deploying"

    class Slow(FakeKeeper):
        def prepare(self, service):
            deploying.touch()
            wait_for(go.exists)
            super().prepare(service)

    slow = ServiceBoard(new.board.root.path, {}, Slow)
    deployer = forked(lambda: slow.apply(versions["2.0"]) and 0)
    wait_for(deploying.exists)
    card = forked(new.boot_first)
    wait_for(new.card.report.exists)
    time.sleep(2.5)  # longer than anybody waits who is not told to
    go.touch()
    assert (ended(deployer), ended(card)) == (0, 0)
    new.assert_ready(ids["2.0"])
    assert new.codes().count("installing") == 1


@pytest.mark.parametrize("_", range(5))
def test_two_at_once_install_it_once(new, ids, _):
    both = [forked(new.boot_first) for _ in range(2)]
    assert [ended(child) for child in both] == [0, 0]
    new.assert_ready(ids["1.0"])
    assert new.codes().count("committed") == new.codes().count("installing") == 1
    assert new.card.attempts.read_text() == "1\n"


# Trials and boots


def test_a_trial_that_a_power_cut_interrupted_goes_on_as_usual_and_is_not_begun_again(new, ids):
    cut_off_in_trial(new)
    assert "the first boot has begun" in new.headline
    new.turn_on("boot-2")
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])
    assert new.codes() == ["installing", "trial", "trial-continued", "committed"]


def test_where_nothing_goes_on_with_it_the_trial_is_begun_again_and_nothing_is_held_against_it(new, ids):
    cut_off_in_trial(new)
    new.board.boot = "boot-2"  # the cut came before the units were enabled
    new.board.keeper.stop()
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])
    assert new.codes()[2:] == ["trial-interrupted", "installing", "trial", "committed"]


def test_cut_off_in_its_trial_more_often_than_a_trial_may_it_ends_committed(new, ids):
    for number in range(MOST_BOOTS + 3):
        cut_off_in_trial(new)
        new.board.boot = f"boot-{number + 2}"
        in_child(lambda boot=new.board.boot: new.board.turn_on(boot))
    new.turn_on("boot-20")
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])


def test_a_machine_that_goes_down_ends_it_and_the_next_boot_goes_on(new, ids):
    new.board.keeper.behaviours[ids["1.0"]] = CRASHES
    new.board.keeper.going_down = True
    assert new.boot_first() == 130
    assert new.board.state.bad == ()
    new.board.keeper.behaviours.clear()
    new.board.keeper.going_down = False
    new.turn_on("boot-2")
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])


# What can go wrong


def test_a_release_that_crashes_is_told_of_with_its_log_and_tried_again_at_the_next_boot(new, ids):
    new.board.keeper.behaviours[ids["1.0"]] = CRASHES
    new.board.keeper.said = [f"line {number}" for number in range(100)]
    assert new.boot_first() == 7
    assert "edgekit: FIRST BOOT FAILED: release" in new.headline
    assert "code         crash-loop, exit code 7" in new.report
    assert "  line 99\r\n" in new.report
    assert "line 10\r\n" not in new.report
    assert f"app 1.0\r\n  release      {ids['1.0']}" in new.report
    assert "It is tried again each time the board starts." in new.report
    assert not new.is_done
    assert os.path.lexists(new.card.link)
    new.turn_on("boot-2")
    assert new.boot_first() == 7
    assert "code         crash-loop, exit code 7" in new.report
    assert "attempt 2" in new.report
    new.board.keeper.behaviours.clear()
    new.turn_on("boot-3")
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])


def test_another_bundle_on_the_card_is_installed_after_one_that_failed(new, versions, ids):
    new.board.keeper.behaviours[ids["1.0"]] = CRASHES
    assert new.boot_first() == 7
    shutil.copy(versions["2.0"], new.card.bundle)
    new.turn_on("boot-2")
    assert new.boot_first() == 0
    assert new.is_done
    assert "app 2.0 is READY" in new.headline
    new.board.assert_in_order()


def test_a_bundle_that_was_cut_is_refused_and_tried_again(new, versions, ids):
    whole = versions["1.0"].read_bytes()
    new.card.bundle.write_bytes(whole[: len(whole) // 2])
    assert new.boot_first() == 3
    assert "FIRST BOOT FAILED" in new.headline
    assert "It is tried again each time the board starts." in new.report
    assert not new.board.root.path.exists()
    new.card.bundle.write_bytes(whole)
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])


def test_a_card_without_its_bundle_says_so(new):
    new.card.bundle.unlink()
    assert new.boot_first() == 3
    assert "application.edgekit" in new.headline


def test_a_bundle_for_another_machine_is_refused_with_what_fits(new, tmp_path):
    pack(new.card.bundle, tiny_contents(tmp_path), compats=[Compat(machine="riscv128", python="cp38")])
    assert new.boot_first() == 6
    assert "expected machine riscv128" in new.headline
    assert "hint         make a bundle for this board" in new.report


def test_a_full_disk_is_told_of_as_one_that_may_grow(new, tmp_path):
    wheel = tiny_wheel(tmp_path)
    others = [each for each in tiny_contents(tmp_path) if each.ref.role != "wheel"]
    huge = [*others, content_of("wheel", wheel.name, wheel.content, unpacked_size=1 << 50, files=wheel.files)]
    pack(new.card.bundle, huge)
    assert new.boot_first() == 6
    assert "code         disk-full" in new.report
    assert "may not have grown" in new.report


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_card_that_takes_no_report_keeps_nothing_from_being_installed(new, ids, error):
    assert new.boot_first(Refusing(new.folder / "fat", error)) == 0
    assert new.is_done
    assert new.board.runs == ids["1.0"]
    assert not new.card.report.exists()
    assert [line for line in new.said if f"no report on the card: cannot write {new.card.report}: " in line]


class RenamesRefused(FileSystem):
    """Refuses so many renames of a report, after the first, as a worn card does."""

    def __init__(self, count):
        self.count = count
        self.seen = 0

    def rename(self, source, target):
        self.seen += target.name == "edgekit-report.txt"
        if target.name == "edgekit-report.txt" and 1 < self.seen <= 1 + self.count:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))
        super().rename(source, target)


def test_a_report_that_is_refused_once_is_written_all_the_same(new, ids):
    assert new.boot_first(RenamesRefused(1)) == 0
    new.assert_ready(ids["1.0"])


def test_a_report_that_is_refused_leaves_nothing_beside_it(new):
    assert new.boot_first(RenamesRefused(2)) == 0
    assert sorted(path.name for path in (new.folder / "fat").iterdir()) == ["edgekit", "edgekit-report.txt"]


@pytest.mark.parametrize("error", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_a_root_that_takes_nothing_is_told_of_on_the_card_and_tried_again(new, ids, error):
    assert new.boot_first(Refusing(new.board.root.path, error)) in (1, 6)
    assert f"FIRST BOOT FAILED: cannot write {new.board.root.path}" in new.headline
    assert ("may not have grown" in new.report) is (error == errno.ENOSPC)
    assert not new.is_done
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])
    assert "attempt 2" in new.report


def test_a_mark_that_cannot_be_made_is_made_by_the_next_boot(new, ids):
    assert new.boot_first(Refusing(new.card.done.parent, errno.EIO)) == 1
    assert "app 1.0 is READY" in new.headline
    assert f"cannot write {new.card.done}" in new.report
    assert os.path.lexists(new.card.link)
    new.turn_on("boot-2")
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])
    assert new.codes().count("installing") == 1


def test_a_link_that_cannot_be_removed_is_removed_by_the_next_boot(new, ids):
    assert new.boot_first(Refusing(new.folder / "units", errno.EROFS)) == 0
    assert os.path.lexists(new.card.link)
    new.turn_on("boot-2")
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])


def test_a_bug_is_told_of_as_one(new, capfd):
    new.board.keeper.behaviours = None
    assert new.boot_first() == 70
    assert "a bug in the installer: " in new.headline
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("fault", "step", "codes"), [("kill", 9, {KILLED}), ("refuse", 17, {0, 1}), ("full", 23, {0, 1, 6})]
)
def test_failed_at_a_call_it_is_done_by_the_next_boot(memory, fault, step, codes):
    found = in_own_process("card_boards", {"folder": str(memory), "fault": fault, "step": step})
    assert len(found) > 2
    assert set(found) <= codes


@pytest.mark.usefixtures("small_disks")
def test_the_power_cut_at_a_call_it_is_done_by_the_next_boot(memory):
    found = in_own_process("card_boards", {"folder": str(memory), "fault": "power", "step": 13})
    assert len(found) > 4
    assert found[-1] == 0


# Trust


def test_the_cards_signers_are_trusted_before_its_bundle_is_believed(new, tmp_path, versions, ids):
    key, stranger = make_key(tmp_path), make_key(tmp_path, "stranger")
    allow(new.card.signers, ("me", key))
    for bundle in (versions["1.0"], signed_bundle(versions["1.0"], stranger, tmp_path / "evil.edgekit")):
        shutil.copy(bundle, new.card.bundle)
        assert new.boot_first() == 3
        assert not new.board.root.releases.exists()
    shutil.copy(signed_bundle(versions["1.0"], key, tmp_path / "signed.edgekit"), new.card.bundle)
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])
    assert new.board.root.allowed_signers.read_bytes() == new.card.signers.read_bytes()
    assert new.codes().count("trust") == 1


def test_who_puts_a_card_in_stands_at_the_board_and_may_name_other_signers(new, tmp_path, versions, ids):
    key, other = make_key(tmp_path), make_key(tmp_path, "other")
    new.board.root.path.mkdir()
    allow(new.board.root.allowed_signers, ("me", other))
    allow(new.card.signers, ("me", key))
    shutil.copy(signed_bundle(versions["1.0"], key, tmp_path / "signed.edgekit"), new.card.bundle)
    assert new.boot_first() == 0
    new.assert_ready(ids["1.0"])


# What is told


def test_no_secret_and_no_control_character_is_told(new, ids):
    new.board.root.path.mkdir()
    (new.board.root.path / "environment").write_text("# a comment\nTOKEN='tops3cret'\nEMPTY=\n")
    new.board.keeper.behaviours[ids["1.0"]] = CRASHES
    new.board.keeper.said = ["rtsp://me:hunter2@camera/1 said \x1b[2Jno to tops3cret"]
    assert new.boot_first() == 7
    told = "\n".join(new.said) + new.report
    assert "rtsp://(hidden)@camera/1" in told
    assert not [word for word in ("hunter2", "tops3cret", "\x1b") if word in told]


def test_progress_is_told_every_few_seconds_and_all_else_at_once(tmp_path):
    said, clock = [], [10.0]
    story = Story(said.append, Root(tmp_path), lambda: clock[0])
    story.hear(Step("copy 3 blobs"))
    for second in range(12):
        clock[0] = 11.0 + second
        story.hear(Progress(second * 10**6, 40 * 10**6, "bytes"))
    story.hear(Notice("mind the gap", "warning"))
    story.hear(LogLine("no part of it"))
    assert said == [
        "edgekit: copy 3 blobs",
        "edgekit: copy 3 blobs: 4 of 40 MB",
        "edgekit: copy 3 blobs: 9 of 40 MB",
        "edgekit: warning: mind the gap",
    ]
    assert story.lines == ["    10.0  copy 3 blobs", "    22.0  warning: mind the gap"]


@given(st.text())
def test_whatever_is_told_is_one_line_that_can_be_shown(text):
    said = []
    story = Story(said.append, Root(Path("/nowhere")), lambda: 1.0)
    story.tell(text)
    assert len(said[0].splitlines()) == 1
    assert said[0].isprintable()


# The command


def boot_first(root, card, *, python=(sys.executable, "-m", "device_runtime.install"), **options):
    """Run the command itself, on a board without services."""
    words = [*map(str, python), "first-boot", "--from", card, "--root", root, "--scope", "local"]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment(), **options)


def card_with(folder, bundle):
    (folder / "fat" / "edgekit").mkdir(parents=True, exist_ok=True)
    shutil.copy(bundle, folder / "fat" / "edgekit" / "application.edgekit")
    return folder / "fat" / "edgekit"


def test_the_command_speaks_in_plain_lines(tmp_path):
    card = card_with(tmp_path, tiny_bundle(tmp_path))
    done = boot_first(tmp_path / "root", card)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line.startswith("edgekit: ") for line in lines), done.stdout
    assert "edgekit: app 1.0 is READY" in lines[-1]
    assert (tmp_path / "root-first-boot" / "done").read_text() == f"{current(tmp_path / 'root')}\n"
    again = boot_first(tmp_path / "root", card)
    assert (again.returncode, again.stdout.count("\n")) == (0, 1)


def test_the_installers_zip_does_it_and_stays_in_the_root(tmp_path):
    card = card_with(tmp_path, tiny_bundle(tmp_path))
    (card / "installer.pyz").write_bytes(installer_pack())
    done = boot_first(tmp_path / "root", card, python=(sys.executable, "-I", card / "installer.pyz"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "root" / "installer.pyz").read_bytes() == (card / "installer.pyz").read_bytes()


@pytest.mark.parametrize("check", [CRASH, MISSING_IMPORT])
def test_a_check_that_fails_is_told_of_with_its_code(tmp_path, check):
    card = card_with(tmp_path, tiny_bundle(tmp_path, "6.6", check))
    for attempt in (1, 2):
        failed = boot_first(tmp_path / "root", card)
        assert (failed.returncode, failed.stderr) == (7, "")
        assert "edgekit: FIRST BOOT FAILED: " in failed.stdout
        report = (tmp_path / "fat" / "edgekit-report.txt").read_text()
        assert "code         check-" in report
        assert f"attempt {attempt}" in report
    assert boot_first(tmp_path / "root", card_with(tmp_path, tiny_bundle(tmp_path, "6.7"))).returncode == 0


def test_it_ends_by_a_signal_with_a_report_and_nothing_half_written(tmp_path):
    hang = f"open({str(tmp_path / 'hangs')!r}, 'w').close()\ntime.sleep(600)\n"
    card = card_with(tmp_path, tiny_bundle(tmp_path, "6.6", hang))
    words = [sys.executable, "-m", "device_runtime.install", "first-boot", "--from", card, "--root", tmp_path / "root"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment(), cwd=REPOSITORY) as process:
        wait_for((tmp_path / "hangs").exists)
        assert "has begun" in (tmp_path / "fat" / "edgekit-report.txt").read_text()
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[0]
    assert process.returncode == 130
    assert "FIRST BOOT FAILED: interrupted" in said
    assert "interrupted" in (tmp_path / "fat" / "edgekit-report.txt").read_text().splitlines()[0]
    assert current(tmp_path / "root") is None


# The unit


def unit_values(name, mount="/boot/firmware"):
    lines = first_boot_unit(mount).splitlines()
    return [word for line in lines if line.startswith(f"{name}=") for word in line.partition("=")[2].split()]


def test_the_unit_runs_the_cards_installer_as_long_as_that_takes():
    line = "/usr/bin/python3 -I /boot/edgekit/installer.pyz first-boot --from /boot/edgekit"
    assert " ".join(unit_values("ExecStart", "/boot")).startswith(f"{line} --root /var/lib/edgekit --scope system")
    assert unit_values("TimeoutStartSec") == ["infinity"]
    assert unit_values("StandardOutput") == ["journal+console"]
    assert "/boot/firmware" in unit_values("RequiresMountsFor")


def test_nobody_waits_for_it_and_it_waits_for_what_grows_the_disk_and_for_an_interrupted_trial():
    # Without default dependencies the target that wants it is reached without it (systemd.target(5)).
    assert unit_values("DefaultDependencies") == ["no"]
    assert unit_values("WantedBy") == ["multi-user.target"]
    assert unit_values("Before") == unit_values("Conflicts") == ["shutdown.target"]
    after = set(unit_values("After"))
    assert {"systemd-growfs-root.service", "rpi-resize.service", "resize2fs_once.service"} <= after
    assert {"cloud-init.service", "cloud-init-network.service"} <= after
    assert {"edgekit-recover.service", "edgekit-settle.service", "network.target", "sysinit.target"} <= after
    assert not after & {"network-online.target", "cloud-final.service", "cloud-config.service", "multi-user.target"}
    assert "edgekit.service" not in after


@pytest.mark.parametrize("mount", ["/boot", "/boot/firmware", '/a b"c%d$e\\f'])
def test_systemd_reads_the_unit(tmp_path, mount):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    (tmp_path / FIRST_BOOT).write_text(first_boot_unit(mount))
    words = ["systemd-analyze", "verify", "--man=no", tmp_path / FIRST_BOOT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "edgekit" in line]) == (0, [])


@pytest.mark.parametrize("mount", ["", "boot", "/boot\nUser=x", "/boot\x1b"])
def test_a_mount_that_a_unit_cannot_say_is_refused(mount):
    with pytest.raises(UsageError, match="absolute path of printable letters"):
        first_boot_unit(mount)
