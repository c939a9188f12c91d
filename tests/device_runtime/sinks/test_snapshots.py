"""Pictures of events: annotated, with their JSON, under a budget, never half-written."""

import json

import cv2
import numpy as np
import pytest

from device_runtime.contract.model import Colour
from device_runtime.contract.service import SnapshotSpec
from device_runtime.errors import EdgeError
from device_runtime.sinks.disk_budget import stem_of
from device_runtime.sinks.snapshots import Snapshots
from device_runtime.vision.frame import Frame
from tests.support.events import event, frame, jpeg_frame, predicted


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def noise(seed):
    return Frame(np.random.default_rng(seed).integers(0, 256, (480, 640, 3)).astype(np.uint8), Colour.RGB)


@pytest.mark.parametrize("given", [frame(), jpeg_frame()])
def test_an_event_that_begins_has_an_annotated_picture_and_its_prediction_beside_it(tmp_path, given):
    sink = Snapshots(SnapshotSpec("snaps"), tmp_path)
    sink.take(given, predicted(event(1), event(2)))
    sink.close(failed=False)
    stems = [stem_of(event(1)), stem_of(event(2))]
    assert names(tmp_path / "snaps") == sorted(stem + suffix for stem in stems for suffix in (".jpg", ".json"))
    picture = cv2.imread(str(tmp_path / "snaps" / f"{stems[0]}.jpg"))
    assert picture.shape == (48, 64, 3)
    assert picture[10:13, 12:48].max() > 100  # the box's edge
    beside = json.loads((tmp_path / "snaps" / f"{stems[1]}.json").read_text())
    assert [told["id"] for told in beside["events"]] == [event(2).id]
    assert beside["items"][0]["label"] == "gear"
    assert not given.decoded().pixels.any()  # it is shared: drawing is done on a copy


def test_nothing_is_written_without_an_event_that_begins(tmp_path):
    sink = Snapshots(SnapshotSpec("snaps"), tmp_path)
    sink.take(frame(), predicted())
    sink.take(frame(), predicted(event(1, "end")))
    assert names(tmp_path / "snaps") == []


def test_the_oldest_make_room(tmp_path):
    sink = Snapshots(SnapshotSpec("snaps", budget_mb=1), tmp_path)
    for number in range(1, 9):
        sink.take(noise(number), predicted(event(number)))
    folder = tmp_path / "snaps"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1_000_000
    stems = sorted({name.rsplit(".", 1)[0] for name in names(folder)})
    assert stems == [stem_of(event(number)) for number in range(9 - len(stems), 9)]
    assert 2 <= len(stems) < 8


def test_a_full_disk_is_an_error_leaves_nothing_half_written_and_space_mends_it(small_disk):
    sink = Snapshots(SnapshotSpec("snaps"), small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(950_000))
    with pytest.raises(EdgeError, match="no space left on the disk"):
        sink.take(noise(1), predicted(event(1)))
    assert names(small_disk / "snaps") == []
    filler.unlink()
    sink.take(noise(1), predicted(event(2)))
    assert len(names(small_disk / "snaps")) == 2


def test_a_picture_whose_json_has_no_room_does_not_stay_alone(small_disk):
    sink = Snapshots(SnapshotSpec("snaps"), small_disk)
    (small_disk / "filler").write_bytes(bytes(980_000))
    bulky = predicted(event(1))
    bulky.timings_ms.update({f"stage {number}": 1.0 for number in range(10_000)})
    with pytest.raises(EdgeError, match=r"cannot write .*\.json: no space left on the disk"):
        sink.take(frame(), bulky)
    assert names(small_disk / "snaps") == []
