"""Fixtures of the backends' tests."""

import pytest

from converters.process import open_worker
from device_runtime.contract.events import silent


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """A child process that serves a module's tests, because it imports a framework."""
    with open_worker(tmp_path_factory.mktemp("worker"), silent) as opened:
        yield opened
