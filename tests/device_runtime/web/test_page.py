"""The page over HTTP: who may see what, what it costs, and what it does when things go wrong."""

import contextlib
import socket
import threading

import cv2
import numpy as np
import pytest

from device_runtime.contract.decode import loads
from device_runtime.contract.live import LiveStatus
from device_runtime.contract.service import PageSpec, Region
from device_runtime.errors import EdgeError, UsageError
from device_runtime.machine import rss_bytes
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.raw import Capture, Encoding, RawFrame
from device_runtime.web.page import Page
from tests.support.live_pages import TOKEN, Application, make_frame, running
from tests.support.waiting import wait_for

_BEARER = {"Authorization": f"Bearer {TOKEN}"}
_FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def guarded(monkeypatch):
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", TOKEN)
    with running() as application:
        yield application


@pytest.fixture
def application(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running() as made:
        yield made


def picture_of(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


# ------------------------------------------------------------------------------------------------- pictures


def test_viewers_see_new_pictures_and_nothing_is_encoded_for_nobody(application):
    application.run()
    wait_for(lambda: application.index > 10)
    assert application.page.encoded == 0
    viewer = application.watch()
    assert viewer.response.headers["content-type"].startswith("multipart/x-mixed-replace")
    pictures = [viewer.picture() for _ in range(3)]
    assert len(set(pictures)) == 3
    assert picture_of(pictures[0]).shape == (240, 320, 3)
    viewer.close()
    wait_for(lambda: application.page.viewers == 0)
    application.pause()
    count = application.page.encoded
    for _ in range(50):
        application.step()
    assert application.page.encoded == count


def test_a_picture_is_encoded_once_for_all_viewers(application):
    viewers = [application.watch() for _ in range(4)]
    wait_for(lambda: application.page.viewers == 4)
    for number in range(1, 4):
        application.step()
        assert len({viewer.picture() for viewer in viewers}) == 1
        assert application.page.encoded == number
    assert application.page.encoded == 3
    for viewer in viewers:
        viewer.close()


def test_of_a_hundred_viewers_as_many_are_let_in_as_there_are_places(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running(PageSpec(port=0, viewers=8, fps=30.0)) as application:
        application.run(0.005)
        viewers = [application.watch() for _ in range(100)]
        assert sorted({viewer.status for viewer in viewers}) == [200, 503]
        let_in = [viewer for viewer in viewers if viewer.status == 200]
        assert len(let_in) == application.page.viewers == 8
        refused = next(viewer for viewer in viewers if viewer.status == 503)
        assert b"all places for viewers (8) are taken" in refused.response.read()
        assert application.ask("/stream.mjpg", "HEAD").status == 503
        for viewer in let_in:
            viewer.picture()
        before, memory = application.index, rss_bytes()
        wait_for(lambda: application.index > before + 300)
        assert rss_bytes() - memory < 20e6
        for viewer in viewers:
            viewer.close()
        wait_for(lambda: application.page.viewers == 0)


def test_a_viewer_that_reads_nothing_holds_nobody_up_and_loses_its_place(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    noise = np.random.default_rng(0)

    def heavy(index):
        frame = make_frame(index, 640, 480)
        frame.pixels[...] = noise.integers(0, 256, frame.pixels.shape, np.uint8)
        return frame

    with running(PageSpec(port=0, fps=60.0), stalled_s=1.0) as application:
        application.frame_of = heavy
        slow = socket.create_connection(("127.0.0.1", application.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: application.page.viewers == 1)
        application.run(0.01)
        quick = application.watch()
        assert len({quick.picture() for _ in range(20)}) == 20
        wait_for(lambda: application.page.viewers == 1)
        assert quick.picture()
        slow.close()
        quick.close()


def test_a_large_picture_is_made_smaller_and_boxes_and_regions_with_it(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    region = Region(((0.5, 0.5), (0.9, 0.5), (0.9, 0.9), (0.5, 0.9)))
    with running(PageSpec(port=0, width=320), regions={"belt": region}) as application:
        application.frame_of = lambda index: make_frame(index, 1280, 960)
        application.step()
        picture = picture_of(application.ask("/snapshot.jpg").body)
        assert picture.shape == (240, 320, 3)
        # The box (20, 30)–(120, 110) of the frame is at a quarter of that here.
        assert np.abs(picture[20, 5].astype(int) - picture[60, 60]).max() > 40
        assert np.abs(picture[120, 220].astype(int) - picture[60, 60]).max() > 40


@pytest.mark.parametrize("encoding", list(Encoding))
def test_frames_are_shown_as_cameras_give_them(application, encoding):
    colours = np.zeros((240, 320, 3), np.uint8)
    colours[:, :, 2] = 200
    raw = {
        Encoding.JPEG: cv2.imencode(".jpg", colours)[1].ravel,
        Encoding.I420: lambda: cv2.cvtColor(colours, cv2.COLOR_BGR2YUV_I420),
        Encoding.NV12: lambda: _nv12(colours),
        Encoding.YUYV: lambda: cv2.cvtColor(colours, cv2.COLOR_BGR2YUV_YUYV),
    }[encoding]()
    application.frame_of = lambda index: RawFrame(raw, encoding, (320, 240), Capture(1, index, "test"))
    application.step()
    blue, green, red = picture_of(application.ask("/snapshot.jpg").body)[200, 160].astype(int)
    assert red > 150
    assert max(blue, green) < 60


def _nv12(colours):
    planes = cv2.cvtColor(colours, cv2.COLOR_BGR2YUV_I420)
    chroma = planes[240:].reshape(2, 120 * 160)
    return np.vstack([planes[:240], np.stack([chroma[0], chroma[1]], axis=-1).reshape(120, 320)])


def test_a_damaged_frame_is_said_and_the_next_one_is_shown(application):
    viewer = application.watch()
    whole = cv2.imencode(".jpg", np.full((240, 320, 3), 99, np.uint8))[1].ravel()
    sent = [whole[:300]]
    application.frame_of = lambda index: RawFrame(sent[0], Encoding.JPEG, (320, 240), Capture(1, index, "test"))

    def failed():
        try:
            application.step()
        except EdgeError as error:
            return str(error)
        return ""

    assert "its end is missing" in wait_for(failed)
    sent[0] = whole
    wait_for(lambda: not failed() and application.page.encoded)
    assert picture_of(viewer.picture()).shape == (240, 320, 3)
    viewer.close()


def test_there_is_no_snapshot_before_the_first_frame(application):
    answer = application.ask("/snapshot.jpg")
    assert (answer.status, answer.json) == (503, {"error": "there was no picture yet"})


# -------------------------------------------------------------------------------------------------- figures


def test_the_status_is_what_telemetry_says(application):
    for _ in range(3):
        application.step()
    status = loads(LiveStatus, application.ask("/status.json").text, "status.json")
    assert (status.model, status.health, status.frames["predicted"]) == ("belt", "ok", 3)
    assert status.last.items[0].label == "bolt"
    assert status.stages_ms["invoke"].p50 > 0


def test_health_follows_the_application(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    now = [0.0]
    telemetry = Telemetry(Identity("belt", "litert", "v4l2:0", stall_s=10.0), lambda: now[0])
    with running() as application:
        application.page.close(failed=False)
        application.telemetry = telemetry
        application.page = Page(PageSpec(port=0), telemetry)
        application.page.start()

        def health():
            answer = application.ask("/healthz")
            return answer.status, answer.json["health"], answer.json["reasons"]

        assert health() == (503, "starting", [])
        application.step()
        assert health() == (200, "ok", [])
        telemetry.camera_lost("unplugged")
        assert health() == (503, "failing", ["camera: unplugged"])
        telemetry.camera_back()
        now[0] = 11.0
        assert health() == (503, "failing", ["no prediction for 11 s"])
        application.step()
        assert health() == (200, "ok", [])


def test_files_are_asked_for_again_only_when_they_changed(application):
    first = application.ask("/page.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert application.ask("/page.js", If_None_Match=first.headers["etag"]).status == 304


# --------------------------------------------------------------------------------------------------- access


@pytest.mark.parametrize("path", ["/stream.mjpg", "/snapshot.jpg", "/status.json", "/metrics", "/page.js", "/nothing"])
def test_without_the_token_nothing_is_told(guarded, path):
    answer = guarded.ask(path)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_without_the_token_health_is_yes_or_no(guarded):
    guarded.step()
    guarded.telemetry.camera_lost("rtsp://camera.example: no route")
    answer = guarded.ask("/healthz")
    assert (answer.status, answer.json) == (503, {"ok": False})
    assert guarded.ask("/healthz", **_BEARER).json["reasons"] == ["camera: rtsp://camera.example: no route"]


def test_the_token_opens_everything(guarded):
    guarded.step()
    for path in ("/", "/status.json", "/metrics", "/snapshot.jpg"):
        assert guarded.ask(path, **_BEARER).status == 200


def test_a_wrong_token_is_refused_and_too_many_are_not_looked_at(guarded):
    answers = [guarded.ask("/status.json", Authorization="Bearer wrong-wrong-wrong-1") for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    late = guarded.ask("/status.json", **_BEARER)
    assert (late.status, int(late.headers["retry-after"]) > 50) == (429, True)
    assert guarded.ask("/login", "POST", f"token={TOKEN}", **_FORM).status == 429


@pytest.mark.parametrize(
    "query", [f"token={TOKEN}", "token=wrong", "access_token=x", f"x={TOKEN}", "TOKEN=", "%74oken=1"]
)
def test_a_token_in_a_url_is_refused_with_the_reason(guarded, query):
    answer = guarded.ask(f"/status.json?{query}", **_BEARER)
    assert answer.status == 400
    assert "logs and histories" in answer.json["error"]
    assert TOKEN not in answer.text


def test_a_login_opens_a_session_until_it_is_ended(guarded):
    assert guarded.ask("/").headers["location"] == "/login"
    assert "This is not the token" in guarded.ask("/login", "POST", "token=wrong", **_FORM).text
    done = guarded.ask("/login", "POST", f"token={TOKEN}", **_FORM)
    cookie = done.headers["set-cookie"]
    assert (done.status, done.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    session = {"Cookie": cookie.split(";")[0]}
    assert guarded.ask("/status.json", **session).status == 200
    assert guarded.ask("/status.json", Cookie=session["Cookie"][:-1] + "~").status == 401
    guarded.ask("/logout", "POST", **session)
    assert guarded.ask("/status.json", **session).status == 401


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_form_from_another_site_is_refused(guarded, origin):
    assert guarded.ask("/login", "POST", f"token={TOKEN}", Origin=origin, **_FORM).status == 403


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_form_from_the_page_is_taken_also_behind_a_proxy_with_tls(guarded, scheme):
    origin = f"{scheme}://localhost:7777"
    answer = guarded.ask("/login", "POST", f"token={TOKEN}", Origin=origin, Host="localhost:7777", **_FORM)
    assert answer.status == 303
    assert answer.headers["set-cookie"].startswith("edgekit-7777=")


def test_a_form_that_never_ends_is_not_read(guarded):
    assert guarded.ask("/login", "POST", f"token={TOKEN}{'x' * 100000}", **_FORM).status == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "0.0.0.0", "10.0.0.1", "", "[::1]", "localhost@evil"],  # noqa: S104 - asked for
)
def test_a_board_called_by_a_strangers_name_does_not_answer(application, host):
    answer = application.ask("/status.json", Host=host)
    assert (answer.status, "belt" in answer.text) == (421, False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9999", "LOCALHOST:1", socket.gethostname(), "cam.lan"])
def test_a_board_answers_to_its_own_names(monkeypatch, host):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running(PageSpec(port=0, names=("cam.lan",))) as application:
        assert application.ask("/status.json", Host=host).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/../../etc/passwd",
        "/static/..%2f..%2fpage.py",
        "//etc/passwd",
        "/page.js/",
    ],
)
def test_no_path_leads_out_of_the_page(application, path):
    assert application.ask(path).status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("PUT", "/status.json"), ("DELETE", "/"), ("OPTIONS", "/"), ("TRACE", "/")]
)
def test_other_methods_are_not_understood(application, method, path):
    assert application.ask(path, method).status == 405


def test_browsers_are_told_to_load_and_frame_nothing_else(application):
    headers = application.ask("/").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize(
    "first", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: 1", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nG"]
)
def test_a_request_that_never_ends_is_not_waited_for(monkeypatch, first):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running(stalled_s=0.5) as application, socket.create_connection(("127.0.0.1", application.port)) as caller:
        caller.settimeout(20)
        caller.sendall(first)
        with contextlib.suppress(ConnectionResetError):
            while caller.recv(4096):
                pass


def test_a_long_head_is_refused(application):
    with socket.create_connection(("127.0.0.1", application.port)) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 50000)
        assert caller.recv(1000).startswith(b"HTTP/1.1 400 ")


# --------------------------------------------------------------------------------------- opening and closing


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7", "board.local", ""])  # noqa: S104 - refused
def test_other_machines_need_a_token(monkeypatch, host):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with pytest.raises(UsageError, match="there is no token") as caught:
        Application(PageSpec(host, 0))
    assert "edgekit tunnel" in caught.value.hint
    assert "secrets.token_urlsafe" in caught.value.hint


@pytest.mark.parametrize("token", ["short", "fifteen-letters", "with a space in it", "späße-späße-späße-späße"])
def test_a_weak_token_is_refused_and_not_repeated(monkeypatch, token):
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", token)
    with pytest.raises(UsageError, match="16 characters or more") as caught:
        Application(PageSpec(port=0))
    assert token not in str(caught.value)


def test_the_token_may_be_in_a_file_that_others_cannot_read(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    spec = PageSpec("0.0.0.0", 0, str(file))  # noqa: S104 - with a token
    with pytest.raises(EdgeError, match="everybody on this machine can read the token") as caught:
        Application(spec)
    assert caught.value.hint == f"chmod o-rwx {file}"
    file.chmod(0o640)
    with running(spec) as application:
        assert application.ask("/status.json").status == 401
        assert application.ask("/status.json", **_BEARER).status == 200


def test_a_port_in_use_is_said_with_who_has_it(application):
    with pytest.raises(EdgeError, match=rf"127.0.0.1:{application.port}: .* \(process \d+\) has the port") as caught:
        Application(PageSpec(port=application.port)).page.start()
    assert f"sport = :{application.port}" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "why"), [("192.0.2.1", "no address of this machine"), ("no.such.host.invalid", "is not known")]
)
def test_a_host_that_is_not_this_machine_is_refused(monkeypatch, host, why):
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", TOKEN)
    with pytest.raises(EdgeError, match=why):
        Application(PageSpec(host, 0)).page.start()


def test_closing_ends_streams_threads_and_the_port(application):
    application.run()
    viewer = application.watch()
    assert viewer.picture()
    idle = socket.create_connection(("127.0.0.1", application.port))
    port = application.port
    application.pause()
    application.page.close(failed=False)
    while viewer.picture():
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("page-")]
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    viewer.close()
    idle.close()


def test_closing_does_not_wait_for_a_viewer_that_reads_nothing(application):
    application.frame_of = lambda index: make_frame(index, 640, 480)
    slow = socket.create_connection(("127.0.0.1", application.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    application.run(0.005)
    wait_for(lambda: application.page.encoded > 30)
    application.pause()
    application.page.close(failed=True)
    assert application.page.viewers == 0
    slow.close()


def test_it_can_be_closed_twice_and_without_a_start(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    application = Application(PageSpec(port=0))
    application.page.close(failed=False)
    application.page.close(failed=False)
