"""The page in a real browser."""

import pytest

from device_runtime.contract.prediction import Item, RuleEvent
from device_runtime.contract.service import PageSpec
from tests.support.browser import DESKTOP, PHONE
from tests.support.live_pages import TOKEN, Application, make_prediction, running

_PICTURES = "Number(document.getElementById('video').dataset.pictures || 0)"
_ESSENTIALS = ("#health", "#video", "#fps", "#age", "#invoke", "#dropped", "#chart", "#legend")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_loads_and_its_pictures_and_figures_move(tab, size):
    with running() as application:
        application.run()
        view = tab(size=size).open(application.page.url)
        view.wait(f"{_PICTURES} > 2")
        before = view.pixels("#video")
        count = view.page.evaluate(_PICTURES)
        view.wait(f"{_PICTURES} > {count + 2}")
        assert view.pixels("#video") != before
        view.wait("Number(document.getElementById('chart').dataset.columns || 0) >= 2")
        chart = view.pixels("#chart")
        columns = view.page.evaluate("Number(document.getElementById('chart').dataset.columns)")
        view.wait(f"Number(document.getElementById('chart').dataset.columns) > {columns}")
        assert view.pixels("#chart") != chart
        view.wait_text("#health", "ok")
        view.wait_text("#seen", "bolt")
        assert all(view.page.locator(selector).is_visible() for selector in _ESSENTIALS)
        assert view.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert view.complaints == []
        assert all(url.startswith(application.page.url) for url in view.requests)


def test_a_phone_shows_video_health_and_rate_without_scrolling(tab):
    with running() as application:
        application.run()
        view = tab(size=PHONE).open(application.page.url)
        view.wait(f"{_PICTURES} > 0")
        for selector in ("#health", "#video", "#fps"):
            box = view.page.locator(selector).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE[0]
            assert box["y"] + box["height"] <= PHONE[1]


def test_the_token_is_asked_for_and_lets_in(tab, monkeypatch):
    monkeypatch.setenv("EDGEKIT_PAGE_TOKEN", TOKEN)
    with running() as application:
        application.run()
        view = tab().open(application.page.url)
        view.page.fill("#token", "not-the-token-at-all")
        view.page.click("button")
        view.wait_text("[role=alert]", "This is not the token.")
        view.complaints.clear()  # the browser itself reports the 401
        view.page.fill("#token", TOKEN)
        view.page.click("button")
        view.wait(f"{_PICTURES} > 2")
        assert view.complaints == []
        assert not any(TOKEN in url for url in view.requests)
        cookie = view.page.context.cookies()[0]
        assert (cookie["httpOnly"], cookie["sameSite"], TOKEN in cookie["value"]) == (True, "Strict", False)
        view.page.click("#logout")
        view.page.wait_for_url("**/login")


def test_a_lost_camera_is_said_and_so_is_its_return(tab):
    with running() as application:
        application.run()
        view = tab().open(application.page.url)
        view.wait(f"{_PICTURES} > 0")
        application.telemetry.camera_lost("v4l2:0 gave no frame for 3 s")
        view.wait_text("#cover", "The camera is lost")
        view.wait_text("#notice", "v4l2:0 gave no frame for 3 s")
        view.wait_text("#health", "failing")
        application.telemetry.camera_back()
        view.wait_text("#health", "ok")
        assert view.page.locator("#notice").is_hidden()


def test_an_application_that_stops_is_said_and_the_page_goes_on_when_it_is_back(tab):
    with running() as application:
        application.run()
        port = application.port
        view = tab().open(application.page.url)
        view.wait(f"{_PICTURES} > 0")
        application.pause()
        application.page.close(failed=False)
        view.wait_text("#health", "stopped")
        view.wait_text("#notice", "goes on trying")
        again = Application(PageSpec(port=port, fps=30.0))
        again.page.start()
        try:
            seen = view.page.evaluate(_PICTURES)
            again.run()
            view.wait_text("#health", "ok")
            view.wait(f"{_PICTURES} > {seen}")
        finally:
            again.pause()
            again.page.close(failed=False)


def test_one_viewer_too_many_is_told_so_in_words_and_still_sees_the_figures(tab):
    with running(PageSpec(port=0, viewers=1)) as application:
        application.run()
        first = application.watch()
        assert first.picture()
        view = tab().open(application.page.url)
        view.wait_text("#cover", "all places for viewers (1) are taken")
        view.wait_text("#health", "ok")
        first.close()
        view.wait(f"{_PICTURES} > 0")


def test_names_from_outside_are_shown_as_text(tab):
    evil = "<img src=x onerror=alert(1)>"
    item = Item(0, evil, 0.9, (1.0, 2.0, 30.0, 40.0))
    with running() as application:
        event = RuleEvent("1", evil, "begin", "2026-01-02T03:04:05+00:00", 0, item)
        application.prediction_of = lambda index: make_prediction(index, (item,), events=(event,))
        application.run()
        view = tab().open(application.page.url)
        view.wait_text("#seen", evil)
        view.wait_text("#events", evil)
        assert view.page.locator("main img").count() == 0
        assert view.complaints == []


def test_a_hidden_page_takes_no_pictures(tab):
    with running() as application:
        application.run()
        view = tab().open(application.page.url)
        view.wait(f"{_PICTURES} > 0")
        view.page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        view.wait("document.getElementById('live').hidden")
        while application.page.viewers:
            view.page.wait_for_timeout(20)
