"""The last changes to a model: smaller without loss, then its description, which any later rewrite would drop."""

from __future__ import annotations

from pathlib import Path

from converters.jobs import Done, Finish
from device_runtime.contract.events import Events
from device_runtime.files import write_bytes


def finish(job: Finish, events: Events) -> Done:
    """Write the final bytes of a model. Raises EdgeError when the disk is full."""
    del events
    write_bytes(Path(job.target), Path(job.model).read_bytes())
    return Done()
