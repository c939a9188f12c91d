"""What people write into [service] is checked, and the message says what was expected."""

import pytest

from device_runtime.contract.decode import decode
from device_runtime.contract.service import MqttSpec, Region, ServiceSpec, WebhookSpec
from device_runtime.errors import BadFileError


def read(data):
    return decode(ServiceSpec, data, "edgekit.toml: service", unknown="error")


def test_a_region_in_pixels_is_the_same_as_one_in_fractions():
    assert Region(((0, 0), (320, 0), (320, 480)), size=(640, 480)).corners == ((0, 0), (0.5, 0), (0.5, 1))


def test_everything_can_be_written():
    spec = read(
        {
            "tracking": True,
            "regions": {"gate": {"points": [[0, 0], [1, 0], [1, 1]]}},
            "rules": [{"name": "stays", "labels": ["gear"], "region": "gate", "dwell_s": 2}],
            "mqtt": {"host": "broker.local", "topic": "belt/1", "tls": True, "qos": "0"},
            "webhook": {"url": "https://example.org:8443/hook?id=1", "token_file": "token"},
            "snapshots": {"folder": "snapshots"},
            "clips": {"folder": "clips", "before_s": 2},
            "jsonl": {"path": "predictions.jsonl", "what": "events"},
        }
    )
    assert spec.rules[0].dwell_s == 2.0
    assert spec.regions["gate"].corners[2] == (1.0, 1.0)


TRIANGLE = [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"regions": {"a": {"points": [[0, 0], [1, 0]]}}}, "regions: a: points: expected 3–256 corners, got 2"),
        ({"regions": {"a": {"points": [[0, 0]] * 300}}}, "expected 3–256 corners, got 300"),
        ({"regions": {"a": {"points": [[0, 0], [1.5, 0], [1, 1]]}}}, r"got \[1.5, 0\]: outside the frame"),
        ({"regions": {"a": {"points": [[0, 0], [float("nan"), 0], [1, 1]]}}}, "outside the frame"),
        (
            {"regions": {"a": {"points": [[0, 0], [700, 0], [1, 1]], "size": [640, 480]}}},
            r"expected pixels of 640x480, got \[700, 0\]: outside the frame",
        ),
        ({"regions": {"a": {"points": [[0, 0], [0.5, 0.5], [1, 1]]}}}, "got corners on one line"),
        ({"regions": {"a": {"points": TRIANGLE, "size": [0, 9]}}}, "size: expected a width and a height"),
        ({"regions": {"a b": {"points": TRIANGLE}}}, "regions: expected letters, digits"),
        (
            {"regions": {"gate": {"points": TRIANGLE}}, "rules": [{"name": "r", "region": "gaet"}]},
            r'rule "r": expected a region of \[service.regions\] \(gate\), got "gaet"',
        ),
        ({"rules": [{"name": "r", "region": "gate"}]}, r"\(there is none\)"),
        ({"rules": [{"name": "r"}, {"name": "r"}]}, 'rules: two are named "r"'),
        ({"rules": [{"name": "r/../x"}]}, "name: expected letters, digits"),
        ({"rules": [{"name": "r", "score": 80}]}, "score: expected 0–1, got 80"),
        ({"rules": [{"name": "r", "area": -1}]}, "area: expected 0–1, got -1"),
        ({"rules": [{"name": "r", "dwell_s": -1}]}, "dwell_s: expected 0–86400 s, got -1"),
        ({"rules": [{"name": "r", "anchor": "top"}]}, "anchor: expected one of center, bottom, got 'top'"),
        ({"rules": [{"name": "r", "dwel_s": 1}]}, 'unknown key "dwel_s"'),
        ({"track_score": 50}, "track_score: expected 0–1, got 50"),
        ({"mqtt": {"host": "h", "topic": "a/#"}}, "topic: expected 1–200 letters without wildcards, got 'a/#'"),
        ({"mqtt": {"host": "h", "topic": "$SYS/a"}}, "topic: expected no"),
        ({"mqtt": {"host": "h", "topic": "a/"}}, "topic: expected no"),
        ({"mqtt": {"host": "mqtt://h", "topic": "a"}}, "host: expected a name or an address, got 'mqtt://h'"),
        ({"mqtt": {"host": "h", "topic": "a", "port": 99999}}, "port: expected 1–65535, got 99999"),
        ({"mqtt": {"host": "h", "topic": "a", "password_file": "p"}}, "password_file: expected a username beside it"),
        ({"mqtt": {"host": "h", "topic": "a", "ca_file": "p"}}, "ca_file: expected tls = true beside it"),
        ({"webhook": {"url": "ftp://h/x"}}, "url: expected http://… or https://… in ASCII, got 'ftp://h/x'"),
        ({"webhook": {"url": "http:///x"}}, "url: expected"),
        ({"webhook": {"url": "http://h:99999/x"}}, "url: expected"),
        ({"webhook": {"url": "http://h/a b"}}, "url: expected"),
        ({"webhook": {"url": "http://h/\r\nX: y"}}, "url: expected"),
        ({"webhook": {"url": "http://h", "timeout_s": 0}}, "timeout_s: expected more than 0"),
        ({"snapshots": {"folder": "../else"}}, "folder: expected a path without .., got '../else'"),
        ({"jsonl": {"path": ""}}, "path: expected a path without .., got ''"),
        ({"clips": {"folder": "c", "before_s": 90}}, "before_s: expected 0–30 s, got 90"),
        ({"clips": {"folder": "c", "budget_mb": 0}}, "budget_mb: expected 1 MB or more, got 0"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(data, message):
    with pytest.raises(BadFileError, match=message) as caught:
        read(data)
    assert str(caught.value).startswith("edgekit.toml: service")


@pytest.mark.parametrize("url", ["https://user:geheim@example.org/hook", "ftp://user:geheim@example.org/hook"])
def test_a_password_in_a_url_is_refused_and_not_shown(url):
    with pytest.raises(ValueError, match="url: expected") as caught:
        WebhookSpec(url)
    assert "geheim" not in str(caught.value)


def test_events_are_delivered_once_or_more_unless_told_otherwise():
    assert MqttSpec("broker", "belt").qos == "1"


@pytest.mark.parametrize("source", ["rtsp://pi:geheim@cam/stream", "rtsps://pi:geheim@cam:554/stream"])
def test_a_password_in_a_source_is_refused_and_not_shown(source):
    with pytest.raises(ValueError, match="EDGEKIT_RTSP_AUTH=USER:PASSWORD") as caught:
        ServiceSpec(source=source)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("source", ["rtsp://cam:554/stream", "rtsp://pi@cam/stream", "file:a:b@c.mp4", "v4l2:0"])
def test_sources_without_a_password_are_taken(source):
    assert ServiceSpec(source=source).source == source
