"""The sinks that a service asks for, opened together or not at all."""

import subprocess
import sys

import pytest

from device_runtime.contract.service import ClipSpec, JsonLinesSpec, MqttSpec, ServiceSpec, SnapshotSpec, WebhookSpec
from device_runtime.errors import EdgeError
from device_runtime.sinks.registry import open_sinks
from tests.support.events import event, frame, predicted
from tests.support.mosquitto import free_port


def test_everything_that_is_asked_for_is_opened_below_the_data_folder(tmp_path):
    port = free_port()
    spec = ServiceSpec(
        jsonl=JsonLinesSpec("out/events.jsonl", "events"),
        snapshots=SnapshotSpec("snapshots"),
        clips=ClipSpec(str(tmp_path / "elsewhere")),
        mqtt=MqttSpec("127.0.0.1", "belt", port),
        webhook=WebhookSpec(f"http://127.0.0.1:{port}/"),
    )
    sinks = open_sinks(spec, tmp_path / "data", "my-app")
    assert [sink.name for sink in sinks] == ["jsonl-file", "snapshots", "clips", "mqtt", "webhook"]
    assert not any(sink.vital for sink in sinks)
    assert [sink.events_only for sink in sinks] == [True, True, False, True, True]
    for sink in sinks[:3]:
        sink.take(frame(), predicted(event(1)))
    for sink in sinks:
        sink.close(failed=False)
    assert (tmp_path / "data" / "out" / "events.jsonl").read_text().count("\n") == 1
    assert len(list((tmp_path / "data" / "snapshots").iterdir())) == 2
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_nothing_is_opened_for_nobody(tmp_path):
    assert open_sinks(ServiceSpec(), tmp_path, "app") == []
    assert list(tmp_path.iterdir()) == []


def test_when_one_cannot_be_opened_none_stays_open(tmp_path):
    (tmp_path / "file").write_text("")
    spec = ServiceSpec(jsonl=JsonLinesSpec("p.jsonl"), snapshots=SnapshotSpec("s"), clips=ClipSpec("file"))
    with pytest.raises(EdgeError, match="cannot make"):
        open_sinks(spec, tmp_path, "app")  # a file left open would be a warning, and so a failure


def test_what_is_not_asked_for_is_not_imported(tmp_path):
    code = (
        "import sys; from pathlib import Path; from device_runtime.contract.service import JsonLinesSpec, ServiceSpec\n"
        "from device_runtime.sinks.registry import open_sinks\n"
        "sinks = open_sinks(ServiceSpec(jsonl=JsonLinesSpec('p.jsonl')), Path(sys.argv[1]), 'app')\n"
        "for sink in sinks: sink.close(failed=False)\n"
        "print([name for name in ('paho', 'ssl', 'http.client', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
