"""Which backend reads which file, by suffix: the builtin ones, and those that other packages register."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path

from converters.backends.interface import SourceOpener
from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError

GROUP = "edgekit.backends"
"""Entry points of this group add backends: the name is the suffix without its dot, the object a ``SourceOpener``."""

BUILTIN = {
    ".keras": "converters.backends.keras:open_source",
    ".h5": "converters.backends.keras:open_source",
}


def backends() -> dict[str, str]:
    """Return the backend of every known suffix, as ``module:attribute``; nothing is imported."""
    registered = {f".{point.name.lower()}": point.value for point in entry_points(group=GROUP)}
    return {**registered, **BUILTIN}


def backend_for(source: Path) -> str:
    """Return the backend that reads ``source``, as ``module:attribute``.

    Raises:
        UsageError: no backend knows the suffix.
    """
    known = backends()
    suffix = source.suffix.lower()
    if suffix in known:
        return known[suffix]
    if suffix == ".tflite":
        raise UsageError(
            f"{source} is a TFLite model already; convert reads trained models: {', '.join(sorted(known))}",
            hint=f"see what it is: edgekit inspect {source}",
        )
    got = f'a file that ends in "{source.suffix}"' if source.suffix else "a file without a suffix"
    raise UsageError(f"{source}: no backend reads {got}", hint=suggestion(suffix, known))


def load_opener(backend: str) -> SourceOpener:
    """Import a backend, in the child process."""
    module, _, attribute = backend.partition(":")
    opener: SourceOpener = getattr(importlib.import_module(module), attribute)
    return opener
