"""A flipped bit, a truncation and an extension in every file there is (numbers 5 and 6)."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.damages import damages_of
from tests.support.fault_points import in_own_process
from tests.support.installing import content


def try_damages(boards, base, folder, damages, *commands, **options):
    plan = {"base": str(boards.path(base)), "root": str(folder / "root"), "damages": damages, "commands": commands}
    return in_own_process("damages", {**plan, **options})


def in_pieces(damages, size=2000):
    """A command line takes so much, and not more."""
    return [damages[at : at + size] for at in range(0, len(damages), size)]


@pytest.mark.parametrize("step", [5])
def test_a_bundle_damaged_anywhere_is_refused_and_nothing_of_it_stays(boards, memory, step):
    whole = boards.bundles["first"]
    copy = memory / "copy.edgekit"
    shutil.copyfile(whole, copy)
    tried = 0
    for piece in in_pieces(damages_of(copy, whole.read_bytes(), step)):
        records = try_damages(boards, "none", memory, piece, ["apply", str(copy)], kept=str(whole))
        for record in records:
            (said,) = record["said"]
            assert (said["code"], said["said"]["error"]["code"]) == (3, "bad-file"), record
            assert (said["current"], said["link"], said["left"]) == (None, False, []), record
        tried += len(records)
    print(f"{tried} damages of a bundle")  # noqa: T201 - shown by -rP


def kinds_of_files(root: Path):
    """Return a board's files in which damage matters, as paths below it."""
    return sorted(name for name in content(root) if (root / name).is_file() and not (root / name).is_symlink())


def test_any_damage_to_an_installed_file_is_found_and_repaired_and_never_used(boards, memory):
    root = boards.path("two")
    files = [name for name in kinds_of_files(root) if name not in ("lock", "incoming.lock", "state.json")]
    assert {Path(name).parts[0] for name in files} == {"blobs", "wheels", "releases"}
    tried = 0
    for name in files:
        whole = (root / name).read_bytes()
        damages = damages_of(name, whole, max(1, len(whole) // 25))
        records = try_damages(
            boards, "two", memory, damages, ["verify"], ["apply", str(boards.bundles["second"])], ["verify"]
        )
        for record in records:
            found, repaired, verified = record["said"]
            if not found["damage"] == found["fallback_damage"] == [] or found["code"]:
                assert found["code"] == 3, record
            # What is damaged does not run: either the same release whole, or the one before it.
            assert repaired["code"] == 0, record
            assert repaired["current"] in boards.ids({"second"}), record
            assert repaired["damage"] == [], record
            # A part of the release before it alone is not in this bundle; its damage is known, and it is not used.
            assert verified["code"] == (3 if repaired["fallback_damage"] else 0), record
        tried += len(records)
    print(f"{tried} damages of installed files")  # noqa: T201 - shown by -rP


def test_any_damage_to_the_state_leaves_a_whole_release_running(boards, memory):
    whole = (boards.path("two") / "state.json").read_bytes()
    records = try_damages(boards, "two", memory, damages_of("state.json", whole), ["status"])
    for record in records:
        (said,) = record["said"]
        assert said["code"] == 0, record
        assert said["damage"] == said["fallback_damage"] == [], record
        assert (boards.name(said["current"]), boards.name(said["fallback"])) == ("second", "first"), record
    print(f"{len(records)} damages of the state")  # noqa: T201 - shown by -rP


@pytest.mark.parametrize("name", ["current", "previous", "way-back"])
@pytest.mark.parametrize("spoilt", ["missing", "dangling", "outside", "loop", "file", "folder", "absolute"])
def test_spoilt_links_are_put_right_and_nothing_outside_is_touched(boards, memory, name, spoilt):
    root = boards.copy("two", memory / "root")
    outside = memory / "outside"
    shutil.copytree(root / "current", outside, symlinks=True)
    before = sorted(path.name for path in outside.rglob("*"))
    link = root / name
    link.unlink(missing_ok=True)
    if spoilt in ("dangling", "outside", "loop", "absolute"):
        targets = {"dangling": "releases/" + "0" * 64, "outside": "../outside", "loop": name}
        link.symlink_to(targets.get(spoilt, str(root / "releases" / next(iter(boards.ids({"first"}))))))
    elif spoilt == "file":
        link.write_text("")
    elif spoilt == "folder":
        link.mkdir()
    records = in_own_process(
        "damages",
        {
            "base": str(root),
            "root": str(memory / "copy"),
            "damages": [["lock", "extend", 0]],
            "commands": [["status"], ["apply", str(boards.bundles["third"])], ["rollback"]],
        },
    )
    said = records[0]["said"]
    if spoilt == "folder":
        # No command of ours, and no power cut, leaves that: it is told, and not removed with what may be in it.
        assert {each["code"] for each in said} <= {0, 1}
        return
    assert [each["code"] for each in said] == [0, 0, 0], said
    assert [boards.name(each["current"]) for each in said] == ["second", "third", "second"]
    assert sorted(path.name for path in outside.rglob("*")) == before
    assert os.path.lexists(memory / "copy" / "current")
