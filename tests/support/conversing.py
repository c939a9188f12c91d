"""The host's side of a conversation, as tests speak it: the real installer in a process, and a bundle in its parts."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.oci import (
    BLOBS,
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    digest_of,
    index_bytes,
    signed_bytes,
)
from device_runtime.contract.session import GREETING, Apply, Blob, Index, encode_request
from device_runtime.install.layout import open_bundle
from edgekit.bundling.layout import content_of, write_layout
from edgekit.deploying.deploy import frame_blobs
from tests.support.installing import REPOSITORY
from tests.support.signing import sign

_PATIENCE_S = 60


@dataclass(frozen=True)
class Parts:
    """A bundle: its index, and all its blobs, manifests and configs first, by their digests."""

    index: bytes
    blobs: dict

    def messages(self, there=(), came=None) -> list:
        """Return what a host says to install it: a request and its bytes each, without blobs that are there."""
        came = came or {}
        said = [(Index(digest_of(self.index), len(self.index)), self.index)]
        for digest, content in self.blobs.items():
            if digest not in there:
                offset = min(came.get(digest, 0), len(content))
                said.append((Blob(digest, len(content), offset), content[offset:]))
        return [*said, (Apply(), b"")]


def parts_of(bundle: Path) -> Parts:
    """Take a bundle apart."""
    with open_bundle(bundle) as opened:
        refs = [*frame_blobs(opened), *(blob for package in opened.packages for blob in package.manifest.blobs)]
        return Parts(opened.index_content, {ref.digest: b"".join(opened.read(ref)) for ref in refs})


def signed_bundle(bundle: Path, key: Path, path: Path) -> Path:
    """Write a copy of a bundle that ``key`` signed."""
    parts = parts_of(bundle)
    index = json.loads(parts.index)
    manifests = tuple(parts.blobs[manifest["digest"]] for manifest in index["manifests"])
    signed = index_bytes(manifests, sign(signed_bytes(parts.index, "index"), key))
    write_layout(path, signed, [content_of("blob", "blob", content) for content in parts.blobs.values()])
    return path


def write_folder(parts: Parts, folder: Path) -> Path:
    """Write a bundle as a folder."""
    (folder / BLOBS).mkdir(parents=True)
    (folder / LAYOUT_FILE).write_bytes(LAYOUT_BYTES)
    (folder / INDEX_FILE).write_bytes(parts.index)
    for digest, content in parts.blobs.items():
        (folder / BLOBS / digest.split(":")[1]).write_bytes(content)
    return folder


def wire(messages) -> bytes:
    """Return messages as they go over the wire."""
    return b"".join(encode_request(request).encode() + b"\n" + content for request, content in messages)


class Conversation:
    """An installer that listens."""

    def __init__(self, words, **options) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **options,
        )
        self._pending = b""
        self.events = []

    def line(self):
        """Return the next line, or None at the end."""
        end = time.monotonic() + _PATIENCE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                assert selector.select(max(0, end - time.monotonic())), "it says nothing"
                piece = self.process.stdout.read(65536)
                if not piece:
                    return None
                self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def greeted(self) -> dict:
        """Read the greeting, and return the status."""
        assert self.line() == GREETING
        return json.loads(self.line())["status"]

    def send(self, content: bytes) -> "Conversation":
        """Write bytes; an installer that hung up hears nothing more."""
        with contextlib.suppress(BrokenPipeError):
            view = memoryview(content)
            while view:
                view = view[self.process.stdin.write(view) :]
        return self

    def say(self, *messages) -> "Conversation":
        """Write messages: a request, and its bytes if any."""
        return self.send(wire(message if isinstance(message, tuple) else (message, b"") for message in messages))

    def answer(self) -> dict:
        """Return the final result or error; what comes before it is kept in ``events``."""
        while (line := self.line()) is not None:
            data = json.loads(line)
            if "event" not in data:
                return data
            self.events.append(data)
        return {}

    def hang_up(self) -> int:
        """Close our side, and return the exit code."""
        self.process.stdin.close()
        code = self.process.wait(_PATIENCE_S)
        self.process.stdout.close()
        said = self.process.stderr.read().decode()
        self.process.stderr.close()
        assert not said, said
        return code


@contextlib.contextmanager
def conversation(root: Path, *options, installer: Path | None = None, python: str = sys.executable):
    """Begin a conversation with the installer of the sources, or with one in a zip, isolated from everything."""
    if installer is None:
        words = [python, "-P", "-m", "device_runtime.install"]
        environment, folder = {**os.environ, "PYTHONPATH": str(REPOSITORY)}, None
    else:
        words, environment, folder = [python, "-I", installer], {}, "/"
    talk = Conversation([*words, "session", "--root", root, *options], env=environment, cwd=folder)
    try:
        yield talk
        assert talk.process.stdin.closed or talk.hang_up() is not None
    finally:
        talk.process.kill()
        talk.process.wait()
        for stream in (talk.process.stdin, talk.process.stdout, talk.process.stderr):
            stream.close()


def deploy(root: Path, bundle: Path, *options, **more) -> dict:
    """Deploy as a host does: what the board lacks, from where it stopped; return the answer."""
    with conversation(root, *options, **more) as talk:
        status = talk.greeted()
        talk.say(*parts_of(bundle).messages(status["blobs"], status["incoming"]))
        return talk.answer()
