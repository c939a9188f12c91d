import dataclasses

import pytest

from device_runtime.contract.pulse import Pulse
from device_runtime.contract.status import (
    BadRelease,
    JournalEntry,
    MachineFacts,
    ReleaseInfo,
    SafeMode,
    ServiceStatus,
    Trial,
)
from tests.support.bundles import release_of, tiny_bundle
from tests.support.scripted_board import STATUS, greets, put_ssh

NOW = "2026-01-01T00:00:00Z"
PULSE = Pulse(1, 2.0, 7300.0, "ok", predictions=9000, fps=14.83, p95_ms=70.2)
PI = dataclasses.replace(
    STATUS,
    facts=MachineFacts("aarch64", "cp311", "2.36", "Raspberry Pi 4 Model B Rev 1.5", 4_000_000_000),
    scope="system",
    current=ReleaseInfo("a" * 64, "belt", "0.2.0", "current", NOW),
    previous=ReleaseInfo("b" * 64, "belt", "0.1.0", "previous"),
    bad=(BadRelease("c" * 64, "golden-mismatch", "output scores: got 9 steps", NOW),),
    journal=(JournalEntry(NOW, "golden-mismatch", "c" * 64, "output scores: got 9 steps"),),
    service=ServiceStatus("systemd", "running", restarts=2, pulse=PULSE),
    signed_only=True,
)


@pytest.fixture
def says(tmp_path, monkeypatch, edgekit):
    """Ask a board of some status how it is doing."""

    def ask(status, *options):
        put_ssh(tmp_path, greets(status), monkeypatch)
        return edgekit("status", "pi@line-3", *options)

    return ask


def test_a_board_that_does_its_work_is_told_in_words(says):
    answer = says(PI)
    assert (answer.code, answer.out.splitlines()[0]) == (0, "pi@line-3: healthy")
    for words in (
        "belt 0.2.0 (release aaaaaaaaaaaa), installed 2026",
        "belt 0.1.0 (release bbbbbbbbbbbb)",
        "systemd, running, 2 restarts, for 2 h, 14.8 fps, p95 70 ms, 9000 predictions",
        "release cccccccccccc: output scores: got 9 steps (golden-mismatch)",
        "Raspberry Pi 4 Model B Rev 1.5, aarch64, cp311, glibc 2.36, 4.0 GB of memory",
        "1.00 GB free on /srv/board",
        "system, takes signed bundles only",
    ):
        assert words in answer.out.replace("4.00 GB", "4.0 GB"), words


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"service": ServiceStatus("systemd", "failed", detail="killed by SIGSEGV")}, "failing: killed by SIGSEGV"),
        (
            {
                "service": dataclasses.replace(
                    PI.service, pulse=dataclasses.replace(PULSE, health="failing", reasons=("no frames",))
                )
            },
            "failing: no frames",
        ),
        ({"safe_mode": SafeMode("crash-loop", "both crashed", NOW)}, "safe mode: both crashed (crash-loop)"),
        ({"current": None}, "nothing installed"),
    ],
)
def test_a_board_that_does_not_do_its_work_ends_with_1(says, change, word):
    answer = says(dataclasses.replace(PI, **change))
    assert (answer.code, answer.out.splitlines()[0]) == (1, f"pi@line-3: {word}")


def test_a_trial_and_an_installer_at_work_are_told(says):
    answer = says(dataclasses.replace(PI, trial=Trial("d" * 64, "a" * 64, NOW), busy=True))
    assert "release dddddddddddd since 2026-01-01T00:00:00Z; if it fails, goes back to aaaaaaaaaaaa" in answer.out
    assert "an installer is at work" in answer.out


def test_json_has_the_health_and_all_of_the_status(says):
    document = says(PI, "--json").json
    assert document["health"] == {"ok": True, "word": "healthy", "reasons": []}
    assert document["status"]["service"]["pulse"]["fps"] == 14.83
    assert document["target"] == "pi@line-3"


def test_an_unchanged_deployment_says_that_what_runs_is_not_well(tmp_path, monkeypatch, edgekit):
    bundle = tiny_bundle(tmp_path, "1.0")
    current = ReleaseInfo(release_of(bundle), "app", "1.0", "current")
    failing = ServiceStatus("systemd", "failed", detail="no camera")
    put_ssh(tmp_path, greets(dataclasses.replace(PI, current=current, service=failing, signed_only=False)), monkeypatch)
    answer = edgekit.ok("deploy", bundle, "pi@line-3")
    assert "unchanged" in answer.out
    assert "but it is not well: failing: no camera; see: edgekit status pi@line-3" in answer.out
    table = edgekit.ok("deploy", bundle, "pi@line-3", "pi@line-4")
    assert table.out.count("it is not well: failing: no camera") == 2
