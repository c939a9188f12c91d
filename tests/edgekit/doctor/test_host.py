"""Each check of this machine, on machines that are well and on ones that are not."""

import importlib.util
import shlex
import subprocess
import sys

import pytest

from device_runtime.engine.litert import ENGINES as RUNTIME_ENGINES
from edgekit.doctor import host
from edgekit.doctor.interface import Status


def fails(code):
    """A probe that does ``code`` instead."""
    return (sys.executable, "-c", code)


def test_names_are_unique_and_a_quick_run_leaves_out_what_is_slow(tmp_path):
    names = [check.name for check in host.host_checks(tmp_path)]
    assert len(set(names)) == len(names)
    quick = [check.name for check in host.host_checks(tmp_path, quick=True)]
    assert [name for name in names if name not in quick] == ["tensorflow"]


def test_the_engines_are_those_of_the_runtime():
    assert {name: package for name, (_, package) in RUNTIME_ENGINES.items()} == host.ENGINES


def test_an_old_python_fails_and_a_newer_one_does_not():
    assert host.python_version((3, 11, 2)).status is Status.OK
    assert host.python_version((3, 14, 0)).status is Status.OK
    finding = host.python_version((3, 9, 18))
    assert (finding.status, finding.found, finding.expected) == (Status.FAIL, "3.9.18", "Python 3.11 or newer")


@pytest.mark.parametrize(
    ("numpy", "tflite_runtime", "status"),
    [
        ("1.26.4", "2.14.0", Status.OK),
        ("2.1.0", None, Status.OK),
        ("2.1.0", "2.14.0", Status.FAIL),
        (None, None, Status.FAIL),
    ],
)
def test_numpy_2_and_tflite_runtime_do_not_go_together(numpy, tflite_runtime, status):
    assert host.numpy_pairing(numpy, tflite_runtime).status is status


def test_the_remedy_for_numpy_can_be_pasted():
    remedy = host.numpy_pairing("2.1.0", "2.14.0").remedy
    assert shlex.split(remedy) == [sys.executable, "-m", "pip", "install", "numpy<2"]
    assert "'numpy<2'" in remedy


def test_an_engine_is_made_to_run(engine):
    finding = host.engine(engine, needed=True)
    assert finding.status is Status.OK
    assert "runs a model and answers right" in finding.found


def test_an_engine_that_crashes_is_a_finding():
    finding = host.engine("litert", needed=True, probe=fails("import os; os.abort()"))
    assert (finding.status, finding.found) == (Status.FAIL, "crashed: SIGABRT")
    assert shlex.split(finding.remedy)[:5] == [sys.executable, "-m", "pip", "install", "--force-reinstall"]
    assert shlex.split(finding.remedy)[5].startswith("ai-edge-litert>=")


@pytest.mark.skipif(importlib.util.find_spec("tflite_runtime") is not None, reason="tflite-runtime is installed")
def test_an_engine_may_be_absent_unless_it_is_needed():
    assert host.engine("tflite-runtime", needed=False).status is Status.OK
    assert host.engine("tflite-runtime", needed=True).status is Status.FAIL


@pytest.mark.parametrize("subject", ["video", "pictures"])
def test_what_is_written_can_be_read_again(subject):
    finding = host.probed(subject, "numpy")
    assert finding.status is Status.OK, finding.found
    assert "writes and reads" in finding.found


def test_a_broken_codec_names_what_it_said():
    finding = host.probed("video", "opencv-python-headless", fails("raise ImportError('libGL.so.1: not found')"))
    assert finding.status is Status.FAIL
    assert finding.found == "ended with exit code 1: ImportError: libGL.so.1: not found"


def test_a_package_that_is_not_installed_is_to_be_installed():
    finding = host.imported("import no_such_package_here", "no-such-package-here")
    assert finding.status is Status.FAIL
    assert finding.found.endswith("No module named 'no_such_package_here'")
    assert finding.remedy == f"{shlex.quote(sys.executable)} -m pip install no-such-package-here"


def test_requirements_are_those_of_edgekit_itself():
    assert host.requirement("tensorflow").startswith("tensorflow")
    assert ">=2.20" in host.requirement("tensorflow")
    assert host.requirement("no-such-package-here") == "no-such-package-here"


def test_conflicts_are_named_and_warned_of(tmp_path):
    conflicts = "".join(f"package-{index} requires other, which is not installed.\n" for index in range(5))
    fake = tmp_path / "pip" / "__main__.py"
    fake.parent.mkdir()
    (fake.parent / "__init__.py").touch()
    fake.write_text(f"import sys; print({conflicts!r}, end=''); sys.exit(1)")
    command = ("env", f"PYTHONPATH={tmp_path}", sys.executable)
    finding = host.package_conflicts(command)
    assert finding.status is Status.WARN
    assert finding.found.startswith("package-0 requires other, which is not installed.; package-1 ")
    assert finding.found.endswith("; and 2 more")


def test_a_disk_with_little_room_is_warned_of_and_a_full_one_fails(small_disk):
    finding = host.free_space(small_disk)
    assert (finding.status, finding.expected) == (Status.FAIL, "2 GB or more")
    assert str(small_disk) in finding.remedy


def test_temporary_files_that_cannot_be_written_fail(tmp_path):
    finding = host.temporary_files(tmp_path / "none")
    assert finding.status is Status.FAIL
    assert finding.found.startswith("cannot write: ")


def test_temporary_files_leave_nothing_behind(tmp_path):
    assert host.temporary_files(tmp_path).status is not Status.FAIL or host.free_space(tmp_path).status is Status.FAIL
    assert list(tmp_path.iterdir()) == []


def test_no_camera_is_only_a_warning(tmp_path):
    finding = host.cameras(tmp_path)
    assert (finding.status, finding.found) == (Status.WARN, f"no {tmp_path}/video*")


def test_a_camera_that_may_not_be_used_is_a_warning_with_the_remedy(tmp_path):
    (tmp_path / "video0").touch()
    assert host.cameras(tmp_path).status is Status.OK
    (tmp_path / "video1").symlink_to(tmp_path / "unplugged")
    finding = host.cameras(tmp_path)
    assert (finding.status, finding.found) == (Status.WARN, f"not permitted to use {tmp_path}/video1")
    assert finding.remedy.startswith("sudo usermod -aG video")


def test_a_clock_before_the_installation_fails():
    installed = 1_772_000_000.0
    assert host.clock(installed + 5, installed).status is Status.OK
    finding = host.clock(0.0, installed)
    assert (finding.status, finding.found, finding.expected) == (
        Status.FAIL,
        "1970-01-01 00:00 UTC",
        "later than 2026-02-25",
    )


def test_no_check_imports_what_it_checks():
    code = (
        "import sys, edgekit.doctor.host; print(sorted({'numpy', 'cv2', 'PIL', 'ai_edge_litert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_programs_for_cards_that_are_missing_are_only_a_warning_with_the_packages(tmp_path):
    finding = host.card_programs(str(tmp_path))
    assert finding.status is Status.WARN
    assert finding.remedy == "sudo apt install mtools e2fsprogs"
    for name in ("mcopy", "debugfs"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert host.card_programs(str(tmp_path)).status is Status.OK
