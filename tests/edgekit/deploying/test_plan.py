import dataclasses

import pytest

from device_runtime.contract.manifest import BlobRef, Compat, GoldenSpec
from device_runtime.contract.status import (
    BadRelease,
    BoardStatus,
    MachineFacts,
    ReleaseInfo,
    SafeMode,
    ServiceStatus,
)
from device_runtime.errors import UnfitError
from device_runtime.install.apply import QuarantinedError
from device_runtime.install.room import DiskFullError
from device_runtime.install.signature import UnsignedError
from device_runtime.install.trust import OlderSequenceError
from edgekit.bundling.describe import BundleFacts, PackageFacts
from edgekit.deploying.plan import Action, Upload, Wishes, plan_deploy

MODEL = BlobRef("model", "sha256:" + "1" * 64, 1000, "app.tflite")
WHEEL = BlobRef("wheel", "sha256:" + "2" * 64, 5000, "thing.whl", unpacked_size=9000, files=3)
PACKAGE = PackageFacts("a" * 64, "any machine", Compat(), GoldenSpec(), (MODEL, WHEEL, MODEL))
BUNDLE = BundleFacts("app.edgekit", 7000, "app", "2.0", (PACKAGE,))
EMPTY = BoardStatus("/board", 1, MachineFacts("aarch64", "cp311", "2.36"), 10**9)
OLD = ReleaseInfo("b" * 64, "app", "1.0", "current")


def test_an_empty_board_gets_every_blob_once():
    plan = plan_deploy(EMPTY, BUNDLE)
    assert (plan.action, plan.replaces, plan.upload_bytes) == (Action.INSTALL, None, 6000)
    assert plan.uploads == (Upload(MODEL), Upload(WHEEL))
    assert plan.needed_bytes > 6000 + 9000
    assert plan.warnings == ()


def test_a_model_only_update_sends_the_model_only():
    status = dataclasses.replace(EMPTY, current=OLD, blobs=(WHEEL.digest,))
    plan = plan_deploy(status, BUNDLE)
    assert (plan.replaces, plan.uploads, plan.upload_bytes) == (OLD, (Upload(MODEL),), 1000)


def test_what_came_already_is_not_sent_again():
    whole = plan_deploy(EMPTY, BUNDLE)
    plan = plan_deploy(dataclasses.replace(EMPTY, incoming={WHEEL.digest: 4000, MODEL.digest: 1000}), BUNDLE)
    assert plan.uploads == (Upload(MODEL, 1000), Upload(WHEEL, 4000))
    assert (plan.upload_bytes, plan.needed_bytes) == (1000, whole.needed_bytes - 5000)


@pytest.mark.parametrize(("came", "offset"), [(-7, 0), (9999, 5000)])
def test_a_board_that_counts_oddly_does_not_lead_beyond_the_blob(came, offset):
    plan = plan_deploy(dataclasses.replace(EMPTY, incoming={WHEEL.digest: came}), BUNDLE)
    assert plan.uploads[1] == Upload(WHEEL, offset)


def test_the_release_that_runs_needs_nothing():
    status = dataclasses.replace(EMPTY, current=dataclasses.replace(OLD, release=PACKAGE.release))
    plan = plan_deploy(status, BUNDLE, installer=("sha256:new", 90_000))
    assert (plan.action, plan.reason) == (Action.NOTHING, "this very release runs already")
    assert (plan.uploads, plan.installer_bytes) == ((), 0)


def test_the_release_that_runs_is_sent_whole_to_be_repaired():
    status = dataclasses.replace(
        EMPTY, current=dataclasses.replace(OLD, release=PACKAGE.release), blobs=(MODEL.digest, WHEEL.digest)
    )
    plan = plan_deploy(status, BUNDLE, Wishes(repair=True))
    assert (plan.action, plan.uploads) == (Action.REPAIR, (Upload(MODEL), Upload(WHEEL)))


def test_a_board_in_safe_mode_gets_its_release_once_more():
    safe = SafeMode("crash-loop", "it crashed 5 times", "2026-01-01T00:00:00Z")
    status = dataclasses.replace(EMPTY, current=dataclasses.replace(OLD, release=PACKAGE.release), safe_mode=safe)
    plan = plan_deploy(status, BUNDLE)
    assert plan.action is Action.INSTALL
    assert "safe mode" in plan.warnings[0]


def test_another_installer_goes_first_and_the_same_one_stays():
    status = dataclasses.replace(EMPTY, installer_digest="sha256:old")
    assert plan_deploy(status, BUNDLE, installer=("sha256:new", 90_000)).installer_bytes == 90_000
    assert plan_deploy(status, BUNDLE, installer=("sha256:old", 90_000)).installer_bytes == 0
    assert plan_deploy(status, BUNDLE).installer_bytes == 0


def test_a_running_service_is_restarted():
    running = ServiceStatus("systemd", "running")
    assert plan_deploy(dataclasses.replace(EMPTY, service=running), BUNDLE).restarts is True
    assert plan_deploy(EMPTY, BUNDLE).restarts is False


def test_a_quarantined_release_is_refused_with_its_reason_unless_it_is_asked_for():
    bad = BadRelease(PACKAGE.release, "golden-mismatch", "off by 9", "2026-01-01T00:00:00Z")
    status = dataclasses.replace(EMPTY, bad=(bad,))
    with pytest.raises(
        QuarantinedError, match=r"app 2\.0 failed on this board at 2026-01-01T00:00:00Z: off by 9"
    ) as told:
        plan_deploy(status, BUNDLE)
    assert "--retry" in told.value.hint
    assert plan_deploy(status, BUNDLE, Wishes(retry=True)).action is Action.INSTALL


def test_a_board_that_trusts_signers_refuses_what_is_unsigned_or_older():
    status = dataclasses.replace(EMPTY, sequences={"app": 5})
    assert plan_deploy(status, BUNDLE).action is Action.INSTALL
    strict = dataclasses.replace(status, signed_only=True)
    with pytest.raises(UnsignedError, match=r"app 2\.0 is not signed"):
        plan_deploy(strict, BUNDLE)
    signed = dataclasses.replace(BUNDLE, signed=True)
    with pytest.raises(OlderSequenceError, match="expected sequence 5 or higher, got 0"):
        plan_deploy(strict, signed)
    assert plan_deploy(dataclasses.replace(strict, sequences={"app": 0}), signed).action is Action.INSTALL


def test_a_disk_that_is_too_small_is_refused_before_anything_is_sent():
    with pytest.raises(DiskFullError, match=r"needs [0-9]+ bytes, 100 bytes free") as told:
        plan_deploy(dataclasses.replace(EMPTY, free_bytes=100), BUNDLE)
    assert (told.value.exit_code, "df -h /board" in told.value.hint) == (6, True)


def test_a_board_that_nothing_fits_is_told_why():
    other = dataclasses.replace(PACKAGE, compat=Compat(machine="armv7l"), platform="armv7l any")
    with pytest.raises(UnfitError, match="for armv7l any python: expected machine armv7l, got aarch64"):
        plan_deploy(EMPTY, dataclasses.replace(BUNDLE, packages=(other,)))


def test_of_several_packages_the_one_made_for_the_board_is_planned():
    exact = dataclasses.replace(PACKAGE, release="c" * 64, compat=Compat("aarch64", "cp311"))
    assert plan_deploy(EMPTY, dataclasses.replace(BUNDLE, packages=(PACKAGE, exact))).release == "c" * 64


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"free_bytes": 100, "releases": (dataclasses.replace(OLD, role="kept"),)}, "100 bytes free"),
        ({"current": dataclasses.replace(OLD, name="other")}, "replaces another application: other 1.0"),
        ({"busy": True}, "another installer is at work"),
    ],
)
def test_what_the_user_should_know_is_a_warning(change, warning):
    assert warning in plan_deploy(dataclasses.replace(EMPTY, **change), BUNDLE).warnings[0]
