"""RTSP streams: from a real server, with what makes streams fail; and that passwords are told to nobody."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.cameras.options import CameraOptions
from device_runtime.cameras.rtsp import CREDENTIALS, Deadlines, RtspCamera, SizeWatch, masked_url
from device_runtime.cameras.sources import open_camera, public_name
from device_runtime.contract.events import silent
from device_runtime.errors import CameraError, UsageError
from device_runtime.vision.frame import Frame
from device_runtime.vision.raw import Encoding
from tests.support.rtsp_server import RtspServer, missing

DEADLINES = Deadlines(connect_s=2.0, open_s=5.0, read_s=1.0)
PATIENCE_S = 30.0


@pytest.fixture(scope="module", name="server_here")
def _server_here():
    reason = missing()
    if reason:
        packages = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
        pytest.skip(f"no RTSP server here: {reason}; sudo apt install {packages}")


@contextlib.contextmanager
def opened(url, events=silent, deadlines=DEADLINES):
    camera = RtspCamera(url, events, deadlines)
    try:
        yield camera
    finally:
        camera.close()


def read_until(camera, size):
    """Read until frames have a size; None when that does not come."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        frame = camera.read()
        if (frame.width, frame.height) == size:
            return frame
    return None


def read_on(camera):
    """Read until it fails."""
    while True:
        camera.read()


@pytest.mark.usefixtures("server_here")
def test_an_h264_stream_gives_pictures():
    with RtspServer() as server, opened(server.url) as camera:
        frames = [camera.read() for _ in range(5)]
        assert (camera.live, camera.fps, camera.name) == (True, 30.0, server.url)
    assert [frame.index for frame in frames] == list(range(5))
    assert {(type(frame), frame.width, frame.height) for frame in frames} == {(Frame, 320, 240)}
    # The test card's first bar is grey and its last one blue.
    blue, green, red = frames[4].pixels[40, -10].tolist()
    assert blue > 150 > max(green, red)
    assert 0 < time.monotonic_ns() - frames[4].captured_ns < 60e9


@pytest.mark.usefixtures("server_here")
@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_frames_that_came_while_the_stream_was_opened_are_left_out(codec):
    with RtspServer(codec) as server, opened(server.url) as camera:
        stamps = [camera.read().captured_ns for _ in range(11)]
    # Ten frames at 30 fps take 333 ms; those that had waited come within a few ms.
    assert stamps[10] - stamps[0] > 150_000_000


@pytest.mark.usefixtures("server_here")
def test_an_mjpeg_stream_hands_over_its_packets_and_goes_on_at_another_size():
    with RtspServer("mjpeg") as server, opened(server.url) as camera:
        frame = camera.read()
        assert (frame.encoding, frame.width, frame.height) == (Encoding.JPEG, 320, 240)
        assert frame.decoded().pixels.shape == (240, 320, 3)
        server.resize(640, 480)
        assert read_until(camera, (640, 480)).decoded().pixels.shape == (480, 640, 3)


@pytest.mark.usefixtures("server_here")
@pytest.mark.parametrize("size", [(640, 480), (160, 120)], ids=["larger", "smaller"])
def test_an_h264_stream_goes_on_at_another_size(size):
    told = []
    with RtspServer() as server, opened(server.url, told.append) as camera:
        camera.read()
        server.resize(*size)
        frame = read_until(camera, size)
        blue, green, red = frame.pixels[40, -10].tolist()
        assert blue > 150 > max(green, red)
        assert frame.index > 0
    assert [notice.message for notice in told] == [f"{server.url}: the stream is {size[0]}x{size[1]} now, was 320x240"]


@pytest.mark.usefixtures("server_here")
def test_a_server_that_dies_is_an_error_and_can_be_opened_again():
    with RtspServer() as server, opened(server.url) as camera:
        camera.read()
        server.kill()
        with pytest.raises(CameraError, match="the stream ended after"):
            read_on(camera)
        with pytest.raises(CameraError, match=f"cannot reach 127.0.0.1 port {server.port}"):
            open_camera(server.url)
    with RtspServer(port=server.port) as again, opened(again.url) as camera:
        assert camera.read() is not None


@pytest.mark.usefixtures("server_here")
def test_a_server_that_hangs_is_an_error_after_the_deadline():
    with RtspServer() as server, opened(server.url) as camera:
        camera.read()
        server.pause()
        with pytest.raises(CameraError, match="no frame for 1 s after"):
            read_on(camera)


def test_who_accepts_but_does_not_answer_is_an_error_after_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/camera"
        with pytest.raises(CameraError, match=r"127\.0\.0\.1 answers, but gives no stream"):
            RtspCamera(url, deadlines=Deadlines(1.0, 0.5, 0.5))


@pytest.mark.usefixtures("server_here")
def test_an_absent_path_is_told():
    with RtspServer() as server, pytest.raises(CameraError, match="expected another path, or a user and a password"):
        open_camera(server.url.replace("/camera", "/other"))


@pytest.mark.usefixtures("server_here")
@pytest.mark.parametrize("by", ["url", "environment"])
def test_credentials_are_used_and_told_to_nobody(by, monkeypatch, capfd):
    password = "s3cr3t@:/?#x"  # noqa: S105 - of the test's server
    quoted = "s3cr3t%40%3A%2F%3F%23x"
    with RtspServer(login=f"viewer:{password}") as server:
        url = server.url
        if by == "url":
            url = url.replace("//", f"//viewer:{quoted}@")
        else:
            monkeypatch.setenv(CREDENTIALS, f"viewer:{password}")
        with opened(url) as camera:
            frame = camera.read()
            said = [camera.name, frame.source]
            server.kill()
            with pytest.raises(CameraError) as caught:
                read_on(camera)
            said += [str(caught.value), caught.value.hint]
    said += capfd.readouterr()
    assert not any("s3cr3t" in text for text in said)


@pytest.mark.usefixtures("server_here")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_an_encrypted_stream_gives_pictures(tmp_path):
    key, certificate, both = (tmp_path / name for name in ("key.pem", "certificate.pem", "both.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    with RtspServer(login="viewer:word", certificate=both) as server:
        assert server.url.startswith("rtsps://")
        with opened(server.url.replace("//", "//viewer:word@")) as camera:
            assert camera.read().pixels.shape == (240, 320, 3)


@pytest.mark.usefixtures("server_here")
@pytest.mark.parametrize("login", ["viewer:s3cr3t@", ""], ids=["wrong", "missing"])
def test_wrong_credentials_are_an_error_without_them(login, capfd):
    refused = pytest.raises(CameraError, match="expected another path, or a user and a password")
    with RtspServer(login="viewer:other") as server, refused as caught:
        open_camera(server.url.replace("//", f"//{login}"))
    assert CREDENTIALS in caught.value.hint
    assert not any("s3cr3t" in text for text in (str(caught.value), *capfd.readouterr()))


def test_credentials_of_the_environment_are_checked(monkeypatch):
    monkeypatch.setenv(CREDENTIALS, "s3cr3t")
    with pytest.raises(UsageError, match="expected USER:PASSWORD, got no colon") as caught:
        open_camera("rtsp://127.0.0.1:1/camera")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://",
        "rtsp:host/path",
        "rtsp:///path",
        "rtsp://host:70000/",
        "rtsp://host:0/",
        "rtsp://a b/",
        "rtsp://[::1/",
    ],
)
def test_what_is_no_url_is_a_usage_error(url):
    with pytest.raises(UsageError, match="expected"):
        open_camera(url)


def test_a_host_that_is_not_there_is_told():
    with pytest.raises(CameraError, match=r"rtsp://u:\*\*\*@host\.invalid/x: cannot reach host\.invalid port 554"):
        open_camera("rtsp://u:p@host.invalid/x")


def test_what_cannot_be_asked_of_a_stream_is_told():
    told = []
    with pytest.raises(CameraError):
        open_camera("rtsp://u:p@127.0.0.1:1/x", CameraOptions(fps=5.0), told.append)
    assert [notice.message for notice in told] == ["rtsp://u:***@127.0.0.1:1/x: fps cannot be asked of this source"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://host/path", "rtsp://host/path"),
        ("rtsp://user:secret@host:8554/path", "rtsp://user:***@host:8554/path"),
        ("rtsp://user:se@cret@host/path", "rtsp://user:***@host/path"),
        ("rtsp://user@host/path", "rtsp://user@host/path"),
        ("rtsp://host/a?user=x&password=secret&channel=1", "rtsp://host/a?user=***&password=***&channel=1"),
        ("rtsp://host/user=x_password=secret_channel=1", "rtsp://host/user=***_password=***_channel=1"),
        ("http://user:secret@host", "http://user:***@host"),
        ("v4l2:0", "v4l2:0"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert public_name(url) == shown


@given(st.text(st.characters(codec="ascii", exclude_characters="/?#"), min_size=1).map(lambda text: f"<{text}>"))
def test_no_password_is_shown(password):
    assert masked_url(f"rtsp://user:{password}@host/path") == "rtsp://user:***@host/path"


@given(st.text())
def test_what_is_no_url_can_be_shown_too(text):
    assert isinstance(masked_url(text), str)


def test_an_unknown_scheme_with_a_password_is_refused_without_it():
    with pytest.raises(UsageError, match="expected") as caught:
        open_camera("http://user:s3cr3t@host/video")
    assert "s3cr3t" not in str(caught.value)


def test_the_users_own_settings_of_ffmpeg_stay(monkeypatch):
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    for value in ("rtsp_transport;udp", None):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(CameraError):
            RtspCamera(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x", deadlines=Deadlines(1.0, 0.2, 0.2))
        assert os.environ.get(name) == value


def frames_of(*levels):
    """Pictures of noise: a level stands for one, the same each time."""
    return [np.random.default_rng(level).integers(0, 255, (48, 64, 3), np.uint8) for level in levels]


def suspicions(watch, frames):
    """Show a watch frames, each a key frame followed by one that is none."""
    found = []
    for frame in frames:
        found.append(watch.suspects(frame, key_frame=True))
        watch.suspects(frame, key_frame=False)
    return found


def test_key_frames_with_the_same_lowest_rows_are_suspected_once():
    one, two = frames_of(1, 2)
    two[-16:] = one[-16:]
    assert suspicions(SizeWatch(), frames_of(1, 2, 3)) == [False, False, False]
    assert suspicions(SizeWatch(), [one, two, one, two]) == [False, True, False, False]


def test_between_key_frames_nothing_is_suspected():
    watch = SizeWatch()
    (frame,) = frames_of(1)
    assert [watch.suspects(frame, key_frame=key) for key in (True, True, False, False)] == [False] * 4


def test_a_bar_in_one_colour_is_not_suspected():
    frames = frames_of(1, 2, 3)
    for frame in frames:
        frame[-16:] = 0
    assert suspicions(SizeWatch(), frames) == [False] * 3
