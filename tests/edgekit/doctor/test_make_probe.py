"""The committed model is what its script makes."""

from edgekit.doctor.make_probe import PROBE, probe_model


def test_the_committed_probe_is_what_the_script_makes():
    assert PROBE.read_bytes() == probe_model()
    assert PROBE.stat().st_size < 2048
