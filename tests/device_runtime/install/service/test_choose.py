import pytest

from device_runtime.contract.events import silent
from device_runtime.install.application import CheckedApplication
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.service.choose import application_for
from device_runtime.install.service.systemd import has_systemd


@pytest.mark.parametrize(("scope", "with_systemd"), [("system", "systemd"), ("user", "systemd-user")])
def test_a_service_is_kept_by_systemd_where_there_is_one(tmp_path, scope, with_systemd):
    status = application_for(scope, Root(tmp_path / "board"), FileSystem(), 1.0, silent).status()
    assert status.kind == (with_systemd if has_systemd(scope) else "process")
    assert not (tmp_path / "board").exists()


def test_in_a_folder_nothing_runs_by_itself(tmp_path):
    application = application_for("local", Root(tmp_path), FileSystem(), 1.0, silent)
    assert isinstance(application, CheckedApplication)
    assert (application.status(), application.running()) == (None, None)
