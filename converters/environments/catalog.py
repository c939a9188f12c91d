"""Which environments there are: what each is for, its lock, and the Pythons that it can be made with."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from converters.cache import cache_folder

_LOCKS = Path(__file__).parent
_DIGITS = 12


@dataclass(frozen=True)
class Environment:
    """A set of pinned packages in a folder of its own.

    ``lock`` is a requirements file in which every file has a hash. ``oldest`` and ``newest`` are the minor versions of
    Python 3 that its packages exist for. ``imports`` are imported once to see that they work. ``index`` is a package
    index that some of the packages are in beside the usual one; ``disk_mb`` is what a made one takes.
    """

    name: str
    purpose: str
    lock: Path
    oldest: int
    newest: int
    imports: tuple[str, ...]
    disk_mb: int
    index: str = ""

    @property
    def folder(self) -> Path:
        """Where it is or will be: another lock, another folder."""
        return environments_folder() / f"{self.name}-{self.digest}"

    @property
    def digest(self) -> str:
        """The first digits of its lock's SHA-256."""
        return hashlib.sha256(self.lock.read_bytes()).hexdigest()[:_DIGITS]

    @property
    def python(self) -> Path:
        """Its interpreter, once it is made."""
        return self.folder / "bin" / "python"


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment(
            "onnx",
            "reads ONNX models",
            _LOCKS / "onnx.txt",
            oldest=12,  # onnx2tf 2 says so
            newest=13,
            imports=("onnx2tf", "onnxruntime", "onnxsim"),
            disk_mb=600,
        ),
        Environment(
            "torch",
            "reads PyTorch programs",
            _LOCKS / "torch.txt",
            oldest=11,
            newest=13,
            imports=("torch", "litert_torch"),
            disk_mb=1800,
            index="https://download.pytorch.org/whl/cpu",  # PyPI's torch brings CUDA: 4 GB more
        ),
    )
}


def environments_folder() -> Path:
    """Return where environments are kept: ``EDGEKIT_ENVIRONMENTS``, or a folder of the user's cache."""
    told = os.environ.get("EDGEKIT_ENVIRONMENTS")
    if told:
        return Path(told).absolute()
    return cache_folder() / "environments"
