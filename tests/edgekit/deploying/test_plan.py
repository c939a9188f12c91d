import dataclasses

import pytest

from device_runtime.contract.manifest import BlobRef, Compat, GoldenSpec
from device_runtime.contract.status import BadRelease, BoardStatus, MachineFacts, ReleaseInfo
from device_runtime.errors import UnfitError
from edgekit.bundling.describe import BundleFacts, PackageFacts
from edgekit.deploying.plan import Action, plan_deploy

MODEL = BlobRef("model", "sha256:" + "1" * 64, 1000, "app.tflite")
WHEEL = BlobRef("wheel", "sha256:" + "2" * 64, 5000, "thing.whl", unpacked_size=9000, files=3)
PACKAGE = PackageFacts("a" * 64, "any machine", Compat(), GoldenSpec(), (MODEL, WHEEL, MODEL))
BUNDLE = BundleFacts("app.edgekit", 7000, "app", "2.0", (PACKAGE,))
EMPTY = BoardStatus("/board", 1, MachineFacts("aarch64", "cp311", "2.36"), 10**9)
OLD = ReleaseInfo("b" * 64, "app", "1.0", "current")


def test_an_empty_board_gets_every_blob_once():
    plan = plan_deploy(EMPTY, BUNDLE)
    assert (plan.action, plan.replaces, plan.uploads, plan.upload_bytes) == (Action.INSTALL, None, (MODEL, WHEEL), 6000)
    assert plan.needed_bytes > 6000 + 9000
    assert plan.warnings == ()


def test_a_model_only_update_sends_the_model_only():
    status = dataclasses.replace(EMPTY, current=OLD, blobs=(WHEEL.digest,))
    plan = plan_deploy(status, BUNDLE)
    assert (plan.replaces, plan.uploads, plan.upload_bytes) == (OLD, (MODEL,), 1000)


def test_the_release_that_runs_needs_nothing():
    status = dataclasses.replace(EMPTY, current=dataclasses.replace(OLD, release=PACKAGE.release))
    plan = plan_deploy(status, BUNDLE)
    assert (plan.action, plan.reason) == (Action.NOTHING, "this very release runs already")


def test_a_quarantined_release_is_refused_with_its_reason_unless_it_is_asked_for():
    bad = BadRelease(PACKAGE.release, "golden-mismatch", "off by 9", "2026-01-01T00:00:00Z")
    status = dataclasses.replace(EMPTY, bad=(bad,))
    plan = plan_deploy(status, BUNDLE)
    assert plan.action is Action.REFUSED
    assert "off by 9" in plan.reason
    assert plan_deploy(status, BUNDLE, retry=True).action is Action.INSTALL


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
        ({"free_bytes": 100}, "100 bytes free"),
        ({"current": dataclasses.replace(OLD, name="other")}, "replaces another application: other 1.0"),
        ({"busy": True}, "another installer is at work"),
    ],
)
def test_what_the_user_should_know_is_a_warning(change, warning):
    assert warning in plan_deploy(dataclasses.replace(EMPTY, **change), BUNDLE).warnings[0]
