"""A package index of tiny wheels, as a folder and over HTTP, and locks of what is in it: real uv reads both."""

import base64
import contextlib
import hashlib
import http.server
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.bundling.resolve import WheelFile

BASE = ("numpy", "opencv-python-headless", "pillow")


def make_wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any", **told) -> Path:
    """Write a wheel of one module.

    ``requires`` are its dependencies, ``python`` its Requires-Python, ``metadata`` further lines of METADATA, ``code``
    its module.
    """
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *told.get("metadata", ())]
    lines += [f"Requires-Dist: {requirement}" for requirement in told.get("requires", ())]
    lines += [f"Requires-Python: {told['python']}"] if "python" in told else []
    files = {
        f"{plain}/__init__.py": told.get("code", f"NAME = {name!r}\n"),
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = [f"{path},sha256={_record_hash(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{plain}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def as_file(wheel: Path, url: str | None = None) -> WheelFile:
    """Return a wheel as an index has it."""
    content = wheel.read_bytes()
    return WheelFile(wheel.name, hashlib.sha256(content).hexdigest(), url or wheel.as_uri(), len(content))


@dataclass
class PackageIndex:
    """A folder of wheels, a folder of locks, and what the locks say."""

    root: Path
    pins: dict[str, dict[str, list[Path]]] = field(default_factory=dict)

    def __post_init__(self):
        self.files = self.root / "files"
        self.locks = self.root / "locks"
        for folder in (self.files, self.locks):
            folder.mkdir(parents=True)

    def add(self, name: str, version: str, *tags: str, **told) -> list[Path]:
        """Add a package with a wheel for each tag to the index and to the locks."""
        wheels = [make_wheel(self.files, name, version, tag, **told) for tag in tags or ("py3-none-any",)]
        self.pins.setdefault(name, {}).setdefault(version, []).extend(wheels)
        self.write_locks()
        return wheels

    def write_locks(self, **markers) -> None:
        """Write the locks anew; ``markers`` are those of packages."""
        lines = []
        for name, versions in sorted(self.pins.items()):
            for version, wheels in versions.items():
                hashes = [f"    --hash=sha256:{as_file(wheel).sha256}" for wheel in wheels]
                marker = f" ; {markers[name]}" if name in markers else ""
                lines.append(" \\\n".join([f"{name}=={version}{marker}", *hashes]))
        for engine in ("litert", "tflite-runtime"):
            (self.locks / f"{engine}.txt").write_text("\n".join(lines) + "\n")


def usual_packages(index: PackageIndex) -> PackageIndex:
    """Add what every application needs: for two machines and two Pythons, with the gaps that there are."""
    tags = [
        f"cp{python}-cp{python}-manylinux_2_27_{machine}" for python in (311, 313) for machine in ("aarch64", "x86_64")
    ]
    index.add("ai-edge-litert", "2.3.0", *tags, requires=["numpy", "flatbuffers"])
    index.add("flatbuffers", "25.1")
    older = [f"cp311-cp311-manylinux_2_34_{machine}" for machine in ("aarch64", "armv7l")]
    index.add("tflite-runtime", "2.14.0", *older, requires=["numpy"])
    index.add("numpy", "1.26.4", *tags, metadata=["License-Expression: BSD-3-Clause"])
    index.add("opencv-python-headless", "4.11.0.86", *[f"cp37-abi3-{tag.split('-')[2]}" for tag in tags[:2]])
    index.add("pillow", "11.0.0", *tags, metadata=["Classifier: License :: OSI Approved :: MIT License"])
    index.add("paho-mqtt", "2.1.0")
    for name in ("prometheus-client", "starlette", "uvicorn"):
        index.add(name, "1.0")
    return index


class IndexServer:
    """Serves a ``PackageIndex`` over HTTP as PEP 503 has it; ``asked`` are the paths that were asked for."""

    def __init__(self, index: PackageIndex, user: str = ""):
        self.asked: list[str] = []
        self.damage = b""
        """What is sent in place of any wheel."""
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                served.asked.append(self.path)
                wanted = f"Basic {base64.b64encode(user.encode()).decode()}"
                if user and self.headers.get("Authorization") != wanted:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="index"')
                    self.end_headers()
                    return
                content, kind = served._content(index, self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content or b"")

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/simple"
        # Some indexes write the name and the password that they were asked with into their links.
        self._base = f"http://{user}@127.0.0.1:{self.port}" if user else ""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, once; what is asked then is refused."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def file_url(self, wheel: Path) -> str:
        """Return where a wheel is."""
        return f"http://127.0.0.1:{self.port}/files/{wheel.name}"

    def _content(self, index: PackageIndex, path: str) -> tuple[bytes | None, str]:
        if path.startswith("/files/"):
            file = index.files / path.removeprefix("/files/")
            return (self.damage or file.read_bytes()) if file.is_file() else None, "application/octet-stream"
        name = path.removeprefix("/simple/").strip("/")
        wheels = [wheel for wheels in index.pins.get(name, {}).values() for wheel in wheels]
        links = [
            f'<a href="{self._base}/files/{wheel.name}#sha256={as_file(wheel).sha256}">{wheel.name}</a>'
            for wheel in wheels
            if wheel.is_file()
        ]
        return ("\n".join(links).encode() if name in index.pins else None), "text/html"


@contextlib.contextmanager
def serving(index: PackageIndex, user: str = ""):
    """Serve an index while the block runs."""
    server = IndexServer(index, user)
    try:
        yield server
    finally:
        server.stop()


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
