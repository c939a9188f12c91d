"""A camera that is read by another process: its frames, its failures, and that nothing of it stays."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device_runtime.cameras.options import CameraOptions
from device_runtime.cameras.pi_camera import PYTHON, Deadlines, PiCamera, has_csi_camera, has_picamera2
from device_runtime.cameras.sources import open_camera
from device_runtime.errors import CameraError, UsageError
from device_runtime.vision.raw import Encoding
from tests.support.picamera2_system import system_python

DEADLINES = Deadlines(open_s=20.0, read_s=1.0, close_s=2.0)


def children():
    """The processes that this one started and that are there, ended ones included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def memories():
    """How many shared memories this process has open."""
    return sum("edgekit-frame" in link for link in descriptors())


def descriptors():
    """What this process has open."""
    folder = "/proc/self/fd"
    links = (f"{folder}/{name}" for name in os.listdir(folder))  # noqa: PTH208 - what iterates is open too
    return [os.readlink(link) for link in links if os.path.islink(link)]  # noqa: PTH114, PTH115 - as above


def read_on(camera):
    """Read until it fails."""
    while True:
        camera.read()


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Make the system's Python one with a scripted picamera2, and see that nothing stays of what it started."""
    before, open_before = children(), len(descriptors())

    def make(**script):
        monkeypatch.setenv(PYTHON, str(system_python(tmp_path, **script)))

    yield make
    assert children() == before
    assert memories() == 0
    assert len(descriptors()) == open_before


@pytest.mark.parametrize("size", [(64, 48), (128, 96), (100, 50)], ids=["whole rows", "wider", "rows with padding"])
def test_frames_are_the_cameras_planes_without_padding(system, size):
    system()
    camera = PiCamera(0, CameraOptions(size))
    frames = [camera.read() for _ in range(3)]
    camera.close()
    width, height = size
    for frame in frames:
        assert (frame.encoding, frame.width, frame.height) == (Encoding.I420, width, height)
        assert set(np.unique(frame.data[:height])) == {frame.index % 200 + 16}
        chroma = frame.data[height:].reshape(2, -1)
        assert np.unique(chroma[0]).tolist() == [90]
        assert np.unique(chroma[1]).tolist() == [240]
        blue, green, red = frame.decoded().pixels[0, 0].tolist()
        assert red > max(green, blue)
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))


def test_a_frame_stays_as_it_is_while_others_are_read(system):
    system()
    camera = PiCamera(0, CameraOptions((64, 48)))
    frames = [camera.read() for _ in range(6)]
    camera.close()
    assert [int(frame.data[0, 0]) for frame in frames] == [frame.index + 16 for frame in frames]


def test_a_slow_reader_gets_the_newest_frame_and_the_camera_does_not_wait(system):
    system()
    camera = PiCamera(0, CameraOptions((64, 48)))
    first = camera.read()
    time.sleep(0.3)
    asked = time.monotonic_ns()
    second = camera.read()
    camera.close()
    assert second.index - first.index > 5
    # What is asked for is the next frame, not one that waited: it is stamped 7 ms before it is handed over.
    assert second.captured_ns > asked - 20_000_000


def test_frames_are_stamped_by_the_monotonic_clock(system):
    system()
    before = time.monotonic_ns()
    camera = PiCamera(0, CameraOptions((64, 48)))
    frame = camera.read()
    camera.close()
    assert before < frame.captured_ns <= time.monotonic_ns() - 7_000_000


def test_size_and_rate_are_asked_of_it_and_what_it_gives_instead_is_told(system):
    system(size=(320, 240))
    told = []
    camera = open_camera("picamera2:0?fps=50", CameraOptions((640, 480)), told.append)
    frame = camera.read()
    camera.close()
    assert (frame.width, frame.height, camera.fps) == (320, 240, 50.0)
    assert [notice.message for notice in told] == ["picamera2:0: expected size 640x480, the camera gives 320x240"]


def test_without_picamera2_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON, sys.executable)
    with pytest.raises(CameraError, match="has no picamera2") as caught:
        open_camera("picamera2:0")
    assert caught.value.hint == "sudo apt install python3-picamera2"
    monkeypatch.setenv(PYTHON, str(tmp_path / "nothing"))
    with pytest.raises(CameraError, match="has no picamera2"):
        open_camera("picamera2:0")


def test_an_absent_camera_is_told_in_picamera2s_words(system):
    system()
    with pytest.raises(CameraError, match=r"picamera2:1: its process ended with 1(.|\n)*list index out of range"):
        open_camera("picamera2:1")


def test_a_camera_in_another_format_is_refused(system):
    system(format="XRGB8888")
    with pytest.raises(CameraError, match="expected YUV420 of the camera, got XRGB8888"):
        open_camera("picamera2:0")


def test_a_process_that_crashes_is_an_error_with_its_last_lines(system):
    system(crashes_at=3)
    camera = PiCamera(0, CameraOptions((64, 48)), deadlines=DEADLINES)
    with pytest.raises(CameraError, match=r"its process ended with 7(.|\n)*Dequeue timer has expired"):
        read_on(camera)
    camera.close()


def test_an_exception_in_picamera2_is_told(system):
    system(raises_at=2)
    camera = PiCamera(0, CameraOptions((64, 48)), deadlines=DEADLINES)
    with pytest.raises(CameraError, match="Camera frontend has timed out"):
        read_on(camera)
    camera.close()


@pytest.mark.parametrize("how", ["hangs_at", "sticks_at"])
def test_a_camera_that_hangs_is_an_error_after_the_deadline_and_its_process_ends(system, how):
    system(**{how: 2})
    camera = PiCamera(0, CameraOptions((64, 48)), deadlines=DEADLINES)
    with pytest.raises(CameraError, match="gave no frame within 1 s"):
        read_on(camera)
    camera.close()


def test_after_a_late_frame_frames_are_whole(system):
    system(pauses_at=2, pause_s=1.5)
    camera = PiCamera(0, CameraOptions((640, 480)), deadlines=DEADLINES)
    with pytest.raises(CameraError, match="gave no frame within 1 s"):
        read_on(camera)
    frames = [camera.read() for _ in range(5)]
    camera.close()
    for frame in frames:
        assert set(np.unique(frame.data[:480])) == {frame.index + 16}


def test_a_camera_that_does_not_start_is_an_error_after_the_deadline(system):
    system(start_hangs=True)
    with pytest.raises(CameraError, match=r"picamera2:0 did not start within 0\.5 s"):
        PiCamera(0, CameraOptions((64, 48)), deadlines=Deadlines(0.5, 1.0, 2.0))


def test_the_process_ends_when_its_parent_is_killed(system):
    system()
    program = (
        "import sys; from device_runtime.cameras.sources import open_camera\n"
        "camera = open_camera('picamera2:0?size=64x48'); camera.read()\n"
        "print(camera._child._process.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process = Path("/proc") / parent.stdout.readline().decode().strip()
    assert process.exists()
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while process.exists() and "State:\tZ" not in (process / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_environment_of_this_python_and_our_secrets_are_not_passed_on(system, monkeypatch):
    system()
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", "c0ffee-token")
    camera = PiCamera(0, CameraOptions((64, 48)))
    environment = Path(f"/proc/{camera._child._process.pid}/environ").read_bytes()
    camera.close()
    assert b"PYTHONHOME" not in environment
    assert b"c0ffee-token" not in environment


def test_settings_are_checked():
    with pytest.raises(UsageError, match="expected a number as in picamera2:0, got 'front'"):
        open_camera("picamera2:front")
    with pytest.raises(UsageError, match='expected the options size, fps, got "format"'):
        open_camera("picamera2:0?format=MJPG")


def test_a_camera_connector_in_use_is_known_by_its_driver(tmp_path):
    (tmp_path / "video0").mkdir()
    (tmp_path / "video0" / "name").write_text("UVC Camera (046d:0825)\n")
    assert not has_csi_camera(tmp_path)
    (tmp_path / "video1").mkdir()
    (tmp_path / "video1" / "name").write_text("unicam-image\n")
    assert has_csi_camera(tmp_path)


def test_picamera2_is_found_where_it_is(tmp_path):
    assert has_picamera2(str(system_python(tmp_path)))
    assert not has_picamera2(sys.executable)


def test_the_child_is_written_for_the_systems_python():
    child = Path(__file__).parents[3] / "device_runtime" / "cameras" / "pi_camera_child.py"
    source = child.read_text()
    compile(source, str(child), "exec", dont_inherit=True)
    assert "device_runtime" not in json.dumps(source).replace("device_runtime.cameras", "")
