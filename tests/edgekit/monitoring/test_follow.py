"""Following an application that comes and goes."""

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.service import PageSpec, ServiceSpec
from edgekit.boards.errors import UnreachableError
from edgekit.boards.target import LocalTarget
from edgekit.monitoring.client import PageClient
from edgekit.monitoring.follow import Pace, follow, local_url
from tests.support.live_pages import Application, running


@pytest.fixture
def application(monkeypatch):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    with running() as made:
        yield made


def test_a_restart_is_borne_and_said(application):
    again = Application(PageSpec(port=application.port))
    said = []

    def show(status, notice):
        said.append((status.model, notice[:9]))
        if len(said) == 1:
            application.page.close(failed=False)
        elif notice and len(said) == 2:
            again.page.start()

    try:
        follow(PageClient(application.page.url), Pace(0.01, 2), show)
    finally:
        again.page.close(failed=False)
    assert said == [("belt", ""), ("belt", "no answer"), ("belt", "")]


def test_what_stays_away_is_given_up(application):
    said = []

    def show(status, notice):
        said.append((status.model, bool(notice)))
        application.page.close(failed=False)

    with pytest.raises(UnreachableError):
        follow(PageClient(application.page.url), Pace(0.01, patience_s=0.1), show)
    assert said[0] == ("belt", False)
    assert all(notice for _, notice in said[1:])


@pytest.mark.parametrize(
    ("page", "url"),
    [
        (None, "http://127.0.0.1:8080/"),
        (PageSpec(port=9000), "http://127.0.0.1:9000/"),
        (PageSpec("0.0.0.0", 9000), "http://127.0.0.1:9000/"),  # noqa: S104 - where it is asked, not bound
        (PageSpec("::", 9000), "http://[::1]:9000/"),
        (PageSpec("10.0.0.7", 9000), "http://10.0.0.7:9000/"),
    ],
)
def test_a_folders_page_is_where_its_release_says(tmp_path, page, url):
    release = tmp_path / "current"
    release.mkdir()
    (release / "service.json").write_text(dumps(ServiceSpec(page=page)))
    assert local_url(LocalTarget(tmp_path, "board")) == url


def test_a_folder_without_a_release_has_the_usual_page(tmp_path):
    assert local_url(LocalTarget(tmp_path, "board")) == "http://127.0.0.1:8080/"
