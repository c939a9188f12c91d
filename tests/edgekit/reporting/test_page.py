"""A report is written whole, or not at all."""

import pytest

from device_runtime.errors import EdgeError
from edgekit.reporting.page import report_file


def test_the_place_of_a_report_is_claimed_first(tmp_path):
    with pytest.raises(EdgeError, match=r"folder .* does not exist") as caught, report_file(tmp_path / "no" / "b.html"):
        pytest.fail("the body must not run")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"
    with pytest.raises(EdgeError, match="it is a folder"), report_file(tmp_path):
        pytest.fail("the body must not run")


def test_a_report_that_is_not_finished_leaves_nothing(tmp_path):
    def interrupted():
        with report_file(tmp_path / "b.html") as page:
            page.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
