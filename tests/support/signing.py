"""Real SSH keys, files of allowed signers, and signed indexes."""

import subprocess
from pathlib import Path

from device_runtime.contract.oci import SIGNATURE_NAMESPACE, index_bytes, signed_bytes

MANIFESTS = (b'{"one":1}', b'{"two":2}')


def make_key(folder: Path, name: str = "key") -> Path:
    """Make an Ed25519 key without a passphrase and return the path of its private half."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
    return path


def allow(path: Path, *lines: tuple) -> Path:
    """Write a file of allowed signers; each line is a name, a key, and options if any."""
    text = ""
    for name, key, *options in lines:
        public = key.with_suffix(".pub").read_text().strip()
        text += " ".join([name, *options, public]) + "\n"
    path.write_text(text)
    return path


def sign(content: bytes, key: Path, namespace: str = SIGNATURE_NAMESPACE) -> str:
    """Return an armoured signature."""
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key], input=content, capture_output=True, check=True
    )
    return done.stdout.decode()


def signed_index(key: Path, manifests=MANIFESTS, namespace: str = SIGNATURE_NAMESPACE) -> bytes:
    """Return an index that somebody signed."""
    return index_bytes(manifests, sign(signed_bytes(index_bytes(manifests), "index"), key, namespace))
