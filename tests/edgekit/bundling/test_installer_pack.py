import ast
import io
import os
import subprocess
import sys
import zipfile

from device_runtime.contract.manifest import INSTALLER_VERSION
from edgekit.bundling.installer_pack import installer_pack


def test_equal_sources_have_equal_bytes_on_any_machine():
    content = installer_pack()
    assert installer_pack() == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        assert archive.testzip() is None
        assert archive.comment == b"edgekit-installer %d" % INSTALLER_VERSION
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.compress_type, entry.external_attr >> 16) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0o100644)
    }


def test_it_holds_the_contract_and_the_installer_and_no_more():
    with zipfile.ZipFile(io.BytesIO(installer_pack())) as archive:
        names = archive.namelist()
    assert {"/".join(name.split("/")[:2]) for name in names} == {
        "__main__.py",
        "device_runtime/__init__.py",
        "device_runtime/errors.py",
        "device_runtime/files.py",
        "device_runtime/signals.py",
        "device_runtime/contract",
        "device_runtime/install",
    }
    assert not [name for name in names if "__pycache__" in name]


def test_it_runs_where_there_is_nothing_but_python(tmp_path):
    path = tmp_path / "pack.pyz"
    path.write_bytes(installer_pack())
    (tmp_path / "empty").mkdir()
    # -S: not even site-packages. What lies in the folder, or in the environment, must not be imported.
    (tmp_path / "empty" / "device_runtime.py").write_text("raise SystemExit('mine')")
    words = [sys.executable, "-I", "-S", path, "status", "--root", tmp_path / "board"]
    done = subprocess.run(
        words, cwd=tmp_path / "empty", env={"PYTHONPATH": str(tmp_path / "empty")}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"installer_digest": "sha256:' in done.stdout
    assert not os.path.lexists(tmp_path / "board")


def test_everything_of_ours_is_imported_at_once():
    # Python opens the zip anew for each module: one that is imported late would be looked for in another installer
    # that took its place meanwhile.
    with zipfile.ZipFile(io.BytesIO(installer_pack())) as archive:
        sources = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    late = [
        f"{name}:{node.lineno}"
        for name, source in sources.items()
        for function in ast.walk(ast.parse(source))
        if isinstance(function, (ast.FunctionDef, ast.Lambda))
        for node in ast.walk(function)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("device_runtime"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("device_runtime") for alias in node.names))
    ]
    assert late == []
