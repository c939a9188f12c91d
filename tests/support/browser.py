"""A real Chromium without a window, for pages that a test serves."""

import contextlib
import shutil
import time
import zlib

import pytest

_PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
DESKTOP = (1280, 800)
PHONE = (390, 844)


@contextlib.contextmanager
def chromium():
    """A browser; the test is skipped where there is none."""
    program = next((found for found in map(shutil.which, _PLACES) if found), None)
    if program is None:
        pytest.skip("no Chromium here; install it: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page in a browser; it remembers what the console said and what was asked of the network."""

    def __init__(self, browser, size=DESKTOP, colours="light"):
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=colours, reduced_motion="reduce"
        )
        self.page = self._context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url):
        self.page.goto(url)
        return self

    def wait(self, expression, timeout_s=20.0):
        """Wait until a JavaScript expression holds, and return its value. The page's policy forbids ``eval`` in it."""
        end = time.monotonic() + timeout_s
        while not (value := self.page.evaluate(expression)):
            assert time.monotonic() < end, f"it did not come to pass: {expression}"
            self.page.wait_for_timeout(50)
        return value

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def wait_text(self, selector, part):
        self.page.locator(selector, has_text=part).wait_for(timeout=20000)

    def pixels(self, selector):
        """A number that tells what a canvas shows."""
        return zlib.crc32(self.page.evaluate(f"document.querySelector('{selector}').toDataURL()").encode())

    def close(self):
        self._context.close()


@pytest.fixture(scope="module")
def browser():
    """A browser for a file of tests; the conftest beside it imports this fixture."""
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser):
    """Makes tabs, which are closed at the end of the test."""
    opened = []

    def make(**options):
        opened.append(Tab(browser, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
