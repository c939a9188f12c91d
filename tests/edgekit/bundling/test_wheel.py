import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import device_runtime
from edgekit.bundling.wheel import device_wheel, package_wheel

_INFO = f"edgekit_device_runtime-{device_runtime.__version__}.dist-info"


def test_the_device_wheel_holds_the_package_and_its_metadata_and_nothing_else(tmp_path):
    wheel = device_wheel()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    package = Path(device_runtime.__file__).parent
    sources = {
        f"device_runtime/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(tmp_path / wheel.name) as archive:
        names = archive.namelist()
        assert set(names) == sources | {f"{_INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
        assert names[-1] == f"{_INFO}/RECORD"
        assert len(names) == len(set(names)) == wheel.files
        assert sum(info.file_size for info in archive.infolist()) == wheel.unpacked_size
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert wheel.name == f"edgekit_device_runtime-{device_runtime.__version__}-py3-none-any.whl"


def test_the_contract_and_the_installer_work_in_an_empty_environment(tmp_path):
    wheel = device_wheel()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            tmp_path / wheel.name,
        ],
        check=True,
        capture_output=True,
    )
    program = (
        "import importlib, pkgutil, sys, device_runtime.contract, device_runtime.install\n"
        "for package in (device_runtime.contract, device_runtime.install):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print(device_runtime.__file__)\n"
    )
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "venv"))
    status = subprocess.run(
        [python, "-m", "device_runtime", "install", "status", "--root", tmp_path / "board"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert status.returncode == 0, status.stderr
    assert '"releases": []' in status.stdout


def test_equal_sources_give_equal_bytes_and_other_sources_do_not(tmp_path):
    for place in ("one", "two", "three"):
        (tmp_path / place / "thing" / "__pycache__").mkdir(parents=True)
        (tmp_path / place / "thing" / "__init__.py").write_text("A = 1\n")
        (tmp_path / place / "thing" / "page.html").write_text("<p>")
    (tmp_path / "two" / "thing" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    (tmp_path / "two" / "thing" / ".hidden").write_bytes(b"mine")
    (tmp_path / "three" / "thing" / "page.html").write_text("<b>")
    one, two, three = (package_wheel(tmp_path / place / "thing", "1.0") for place in ("one", "two", "three"))
    assert one == two
    assert one.content != three.content
