"""The sinks that a service asks for."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from device_runtime.contract.service import ServiceSpec
from device_runtime.sinks.interface import Sink


def open_sinks(spec: ServiceSpec, data: Path, name: str) -> list[Sink]:
    """Open all sinks of ``spec`` except the page.

    Args:
        spec: what the service asks for.
        data: the folder that relative paths lie in.
        name: what the application is called where others see it.

    Returns:
        The sinks, to be closed by the caller. Those that are not asked for are not imported.

    Raises:
        EdgeError: a folder or file cannot be written, or a secret cannot be read; none is left open.
        UnfitError: a package that a sink needs is not installed.
    """
    sinks: list[Sink] = []
    with ExitStack() as unused:

        def add(sink: Sink) -> None:
            sinks.append(sink)
            unused.callback(sink.close, failed=True)

        if spec.jsonl is not None:
            from device_runtime.sinks.jsonl import JsonLinesFile  # noqa: PLC0415 - what is not asked for costs nothing

            add(JsonLinesFile(data / spec.jsonl.path, spec.jsonl.what, spec.jsonl.budget_mb))
        if spec.snapshots is not None:
            from device_runtime.sinks.snapshots import Snapshots  # noqa: PLC0415

            add(Snapshots(spec.snapshots, data, spec.regions))
        if spec.clips is not None:
            from device_runtime.sinks.clips import Clips  # noqa: PLC0415

            add(Clips(spec.clips, data, spec.regions))
        if spec.mqtt is not None:
            from device_runtime.sinks.mqtt import Mqtt  # noqa: PLC0415

            add(Mqtt(spec.mqtt, data, name))
        if spec.webhook is not None:
            from device_runtime.sinks.webhook import Webhook  # noqa: PLC0415

            add(Webhook(spec.webhook, data, name))
        unused.pop_all()
    return sinks
