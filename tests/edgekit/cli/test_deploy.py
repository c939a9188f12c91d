"""The whole way with the real device wheel, a real model and its real goldens, in real processes."""

import subprocess
import sys

import numpy as np
import pytest

from device_runtime.install.layout import open_bundle
from edgekit.bundling.layout import content_of
from edgekit.bundling.wheel import package_wheel
from tests.support.bundles import pack
from tests.support.installing import content
from tests.support.tflite import constant_model


def changed(bundle, target, version, **replaced):
    """Pack a bundle again as ``version``, with other bytes for some names."""
    with open_bundle(bundle) as opened:
        contents = []
        for blob in opened.packages[0].manifest.blobs:
            source = replaced.get(blob.name.replace("-", "_").replace(".", "_"), b"".join(opened.read(blob)))
            figures = {"unpacked_size": blob.unpacked_size, "files": blob.files}
            contents.append(content_of(blob.role, blob.name, source, **figures))
    return pack(target, contents, name="bright", version=version)


def nan_model(folder):
    """A model of the same tensors as ``bright`` that answers NaN."""
    answer = np.full((1, 4), np.nan, np.float32)
    constant_model(folder / "nan.tflite", [("logits", answer, 0.0, 0)], (8, 8), "float32")
    return (folder / "nan.tflite").read_bytes()


def test_deploy_redeploy_update_and_rollback(edgekit, in_folder):
    first = edgekit.ok("deploy", "bright-1.0.edgekit", "local:board")
    assert "local:board: bright 1.0 (release " in first.out
    assert "before: nothing" in first.out
    assert "next: edgekit status local:board" in first.out
    before = content(in_folder / "board")
    again = edgekit.ok("deploy", "bright-1.0.edgekit", "local:board")
    assert "runs already, unchanged" in again.out
    assert "nothing was sent" in again.out
    assert content(in_folder / "board") == before
    update = edgekit.ok("deploy", "bright-2.0.edgekit", "local:board", "--json").json
    assert update["result"]["outcome"] == "installed"
    assert (update["result"]["current"]["version"], update["result"]["previous"]["version"]) == ("2.0", "1.0")
    assert {upload["blob"]["role"] for upload in update["plan"]["uploads"]} <= {"sbom"}
    back = edgekit.ok("rollback", "local:board")
    assert "bright 1.0 runs now" in back.out
    status = edgekit.ok("releases", "local:board", "--json").json
    assert (status["current"]["version"], status["previous"]["version"]) == ("1.0", "2.0")


def test_what_is_installed_runs_from_its_own_wheel(edgekit, in_folder):
    edgekit.ok("deploy", "bright-1.0.edgekit", "local:board")
    program = "import device_runtime; print(device_runtime.__file__)"
    release = in_folder / "board" / "current"
    path = (release / "paths.txt").read_text().strip()
    wheel = (release / path).resolve()
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(in_folder / "board" / "wheels"))


def test_a_dry_run_prints_the_plan_and_writes_nothing(edgekit, in_folder):
    planned = edgekit.ok("deploy", "bright-1.0.edgekit", "local:board", "--dry-run")
    assert "would install bright 1.0" in planned.out
    assert "device_runtime" in planned.out
    assert not (in_folder / "board").exists()
    document = edgekit.ok("deploy", "bright-1.0.edgekit", "local:board", "--dry-run", "--json").json
    assert (document["plan"]["action"], document["result"]) == ("install", None)


@pytest.mark.parametrize(
    ("replaced", "code", "reason"),
    [
        ({"output_0_0_npy": "zeros"}, "golden-mismatch", "sample 0, output logits: expected a cosine"),
        ({"bright_tflite": "nan"}, "golden-mismatch", "got NaN or infinity"),
        ({"bright_tflite": "garbage"}, "bad-model", "model"),
        ({"model_json": "garbage"}, "bad-file", "model.json"),
    ],
)
def test_a_release_that_answers_otherwise_is_refused_and_the_old_one_stays(edgekit, in_folder, replaced, code, reason):
    ((name, kind),) = replaced.items()
    if kind == "zeros":
        np.save(in_folder / "zeros.npy", np.array([[9, 0, 0, -9]], np.float32))
        bytes_of = (in_folder / "zeros.npy").read_bytes()
    else:
        bytes_of = nan_model(in_folder) if kind == "nan" else b"garbage"
    edgekit.ok("deploy", "bright-1.0.edgekit", "local:board")
    changed(in_folder / "bright-2.0.edgekit", in_folder / "bad.edgekit", "6.6", **{name: bytes_of})
    refused = edgekit("deploy", "bad.edgekit", "local:board", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (7, code), refused.err
    assert reason in refused.json["error"]["message"]
    assert "bright 1.0 still runs" in refused.json["error"]["message"]
    again = edgekit("deploy", "bad.edgekit", "local:board")
    assert again.code == 7
    assert "failed on this board at" in again.err
    assert "--retry" in again.err
    status = edgekit.ok("releases", "local:board")
    assert "current" in status.out
    assert f"({code})" in status.out


def test_the_project_says_which_bundle_and_which_target(edgekit, in_folder):
    (in_folder / "edgekit.toml").write_text(
        '[project]\nname = "bright"\nversion = "1.0"\n[model]\nsource = "x.keras"\n'
        '[bundle]\noutput = "bright-1.0.edgekit"\n[targets]\nbench = "local:board"\n'
    )
    assert "bench: bright 1.0" in edgekit.ok("deploy").out
    assert "runs already" in edgekit.ok("deploy", "bright-1.0.edgekit").out
    assert "runs already" in edgekit.ok("deploy", "bench").out
    assert "bright" in edgekit.ok("releases").out
    assert edgekit("rollback").code == 1
    (in_folder / "bright-1.0.edgekit").unlink()
    missing = edgekit("deploy", "bench")
    assert (missing.code, "hint: edgekit bundle" in missing.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["deploy", "a", "b", "c"], 2, "expected user@host"),
        (["deploy", "bright-1.0.edgekit", "--all"], 2, "there are no [targets]"),
        (["deploy", "bright-1.0.edgekit", "local:board", "--all"], 2, "leave out the others"),
        (["deploy", "bright-1.0.edgekit", "local:board", "--scope", "user"], 2, "a folder has no scope"),
        (["deploy", "none.edgekit", "local:board"], 3, "no such bundle"),
        (["deploy", "bright-1.0.edgekit", "pi@-host"], 2, "expected user@host"),
        (["deploy"], 2, "no target was named"),
        (["deploy", "bright-1.0.edgekit"], 2, "no target was named"),
        (["deploy", "local:board"], 2, "no edgekit.toml"),
        (["rollback", "local:board"], 1, "no previous release"),
        (["releases", "nowhere"], 2, "expected user@host"),
        (["releases", "local:a", "--target", "local:b"], 2, "two targets"),
    ],
)
def test_mistakes_are_answered_in_words(edgekit, in_folder, arguments, code, message):
    refused = edgekit(*arguments)
    assert refused.code == code, refused.err
    assert message in refused.err
    assert not (in_folder / "board").exists()


def test_another_runtime_in_the_bundle_is_the_one_that_is_checked(edgekit, in_folder):
    # The bundle's runtime cannot even be imported: that this interpreter has a working one must not hide it.
    package = in_folder / "device_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('this runtime is broken')\n")
    wheel = package_wheel(package, "9.9")
    with open_bundle(in_folder / "bright-1.0.edgekit") as opened:
        contents = [
            content_of(blob.role, blob.name, b"".join(opened.read(blob)))
            for blob in opened.packages[0].manifest.blobs
            if blob.role != "wheel"
        ]
    contents.append(
        content_of("wheel", wheel.name, wheel.content, unpacked_size=wheel.unpacked_size, files=wheel.files)
    )
    pack(in_folder / "broken.edgekit", contents, name="bright", version="9.9")
    refused = edgekit("deploy", "broken.edgekit", "local:board")
    assert refused.code == 7
    assert "this runtime is broken" in refused.err
    assert "nothing runs now" in refused.err


def test_a_full_disk_names_the_bytes(edgekit, in_folder, small_disk):
    (small_disk / "filler").write_bytes(bytes(900_000))
    refused = edgekit("deploy", in_folder / "bright-1.0.edgekit", f"local:{small_disk / 'board'}")
    assert refused.code == 6
    assert "bytes free" in refused.err
