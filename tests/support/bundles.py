"""Small but real bundles: a real tar, and a real wheel whose ``device_runtime check`` does as it is told, fast."""

import dataclasses
import hashlib
import json
from pathlib import Path

from device_runtime.contract.decode import dumps
from device_runtime.contract.manifest import BundleManifest, Compat, GoldenSpec, room_for
from device_runtime.contract.oci import index_bytes, manifest_bytes
from device_runtime.install.layout import open_bundle
from edgekit.bundling.layout import content_of, write_layout
from edgekit.bundling.wheel import package_wheel

OK = 'print(\'{"ok": true, "samples": 1, "worst_steps": 0, "min_cosine": 1.0}\')\n'
MISMATCH = (
    'print(\'{"error": {"code": "golden-mismatch", "message": "sample 0, output scores: expected at most 4 steps off, '
    'got 5", "hint": "", "exit_code": 7}}\')\nsys.exit(7)\n'
)
CRASH = "os.kill(os.getpid(), signal.SIGSEGV)\n"
HANG = "time.sleep(600)\n"
SILENT = "print('warming up', file=sys.stderr)\n"
MISSING_IMPORT = "import a_package_that_is_not_there\n"
OFF_IN_SERVICE = f"if not sys.argv[3].endswith('current'):\n    {OK}    sys.exit()\n{MISMATCH}"

_ANY = (Compat(),)
_GOLDEN = GoldenSpec(count=1)
_MAIN = "import os, signal, sys, time\nassert sys.argv[1:3] == ['check', '--release']\nopen('manifest.json').close()\n"


def tiny_wheel(folder: Path, check: str = OK, version: str = "1.0"):
    """Write a package ``device_runtime`` with a ``check`` of these lines, and return it as a wheel."""
    package = folder / f"sources-{hashlib.sha256(check.encode()).hexdigest()[:8]}" / "device_runtime"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(_MAIN + check)
    return package_wheel(package, version)


def tiny_contents(folder: Path, check: str = OK, version: str = "1.0", model: bytes = b"model"):
    """Return the contents of a bundle."""
    wheel = tiny_wheel(folder, check)
    return [
        content_of("model", "app.tflite", model + version.encode()),
        content_of("spec", "model.json", b"{}\n"),
        content_of("service", "service.json", b'{"threads": 1}\n'),
        content_of("golden", "input-0.npy", b"input"),
        content_of("golden", "output-0-0.npy", b"output"),
        content_of("wheel", wheel.name, wheel.content, unpacked_size=wheel.unpacked_size, files=wheel.files),
    ]


def tiny_bundle(folder: Path, version: str = "1.0", check: str = OK, **options) -> Path:
    """Write a bundle ``app-VERSION.edgekit`` and return its path."""
    return pack(folder / f"app-{version}.edgekit", tiny_contents(folder, check, version), version=version, **options)


def pack(
    path: Path, contents, *, name="app", version="1.0", compats=_ANY, leave_out=(), extra=(), golden=_GOLDEN
) -> Path:
    """Write a bundle of any contents; blobs whose name is in ``leave_out`` are named but not there."""
    blobs = tuple(content.ref for content in contents)
    written = [content for content in contents if content.ref.name not in leave_out]
    manifests = []
    for compat in compats:
        room = room_for(blobs, [blob for blob in blobs if blob.role == "wheel"])
        fitted = dataclasses.replace(compat, bytes_needed=room)
        config = dumps(BundleManifest(name, version, blobs, fitted, golden)).encode()
        manifest = manifest_bytes(config, blobs)
        manifests.append(manifest)
        written += [content_of("config", "config", config), content_of("manifest", "manifest", manifest)]
    write_layout(path, index_bytes(tuple(manifests)), [*written, *extra])
    return path


def refitted(bundle: Path, path: Path, *compats: Compat) -> Path:
    """Write a bundle of one platform once more, as if it was for others."""
    with open_bundle(bundle) as opened:
        manifest = opened.packages[0].manifest
        contents = [
            content_of(
                blob.role, blob.name, b"".join(opened.read(blob)), unpacked_size=blob.unpacked_size, files=blob.files
            )
            for blob in manifest.blobs
        ]
    named = {"name": manifest.name, "version": manifest.version}
    return pack(path, contents, **named, compats=compats, golden=manifest.golden)


def release_of(bundle: Path) -> str:
    """Return the id of the release that a bundle of one platform becomes."""
    with open_bundle(bundle) as opened:
        return opened.packages[0].release


def journal_codes(root: Path) -> list:
    """Return the reason codes of a root's journal, oldest first."""
    return [json.loads(line)["code"] for line in (root / "journal.jsonl").read_text().splitlines()]
