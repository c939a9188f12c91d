from edgekit.flashing.drives import find_drive
from edgekit.flashing.medium import open_medium
from tests.support.loop_devices import loop_device, plain_card, require_loop_devices

MIB = 1 << 20


def test_what_ends_within_a_block_is_filled_up_with_zeros_not_with_what_was_written_before(tmp_path, monkeypatch):
    require_loop_devices(monkeypatch)
    card = plain_card(tmp_path / "card", 4 * MIB, b"what was on it \n")
    with loop_device(card) as device, open_medium(find_drive(device)) as medium:
        medium.write(MIB, b"\xff" * 4096)
        medium.write(0, b"short")
        medium.flush()
        assert medium.read(0, 512) == b"short".ljust(512, b"\0")
        assert medium.read(MIB, 4096) == b"\xff" * 4096
    assert card.read_bytes()[512:528] == b"what was on it \n"
