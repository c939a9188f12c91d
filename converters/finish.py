"""The last changes to a model: smaller without loss, then its description, which any later rewrite would drop."""

from __future__ import annotations

from pathlib import Path

from converters.jobs import Done, Finish
from converters.metadata_writer import with_metadata
from converters.shrink import shrink
from device_runtime.contract.events import Events
from device_runtime.files import write_bytes


def finish(job: Finish, events: Events) -> Done:
    """Write the final bytes of a model.

    Raises:
        ConversionError: it is too large to be rewritten.
        EdgeError: the disk is full.
    """
    del events
    write_bytes(Path(job.target), with_metadata(shrink(Path(job.model).read_bytes()), job.spec))
    return Done()
