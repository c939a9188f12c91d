"""The last changes to a model: smaller without loss, then its description, which any later rewrite would drop."""

from __future__ import annotations

from pathlib import Path

from converters.jobs import Done, Finish
from converters.metadata_writer import with_metadata
from converters.shrink import shrink
from device_runtime.contract.events import Events
from device_runtime.files import write_bytes

_REFERENCE = "float32"


def finish(job: Finish, events: Events) -> Done:
    """Write the final bytes of a model.

    Raises:
        ConversionError: it is too large to be rewritten.
        EdgeError: the disk is full.
    """
    del events
    made = job.spec.provenance
    # The float model is what others are compared with, layer by layer and by name.
    content = shrink(Path(job.model).read_bytes(), keep_names=made is not None and made.recipe == _REFERENCE)
    write_bytes(Path(job.target), with_metadata(content, job.spec))
    return Done()
