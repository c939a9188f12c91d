"""A card in the machine loses at a power cut what was not flushed, and nothing else."""

import struct

import pytest

from tests.machine.disk import Disk

_SECTOR = 512


class Log:
    """A log as QEMU writes it, for a card of 8 sectors of zeros."""

    def __init__(self, folder) -> None:
        self.card = folder / "card.img"
        self.card.write_bytes(bytes(8 * _SECTOR))
        self.disk = Disk(self.card)
        self.disk.power_on()
        self._log = folder / "card.img.writes"
        self._bytes = struct.pack("<QQQI", 0x6A736677736872, 1, 0, _SECTOR).ljust(_SECTOR, b"\0")

    def write(self, sector, letter, count=1):
        self._bytes += struct.pack("<QQQQ", sector, count, 0, 0).ljust(_SECTOR, b"\0") + letter * _SECTOR * count

    def flush(self):
        self._bytes += struct.pack("<QQQQ", 0, 0, 1, 0).ljust(_SECTOR, b"\0")

    def discard(self, sector, count):
        self._bytes += struct.pack("<QQQQ", sector, count, 4, 0).ljust(_SECTOR, b"\0")

    def cut(self, seed=None, size=None):
        """Cut the power when QEMU has written that much, and return the losses and the card, a letter for a sector."""
        self._log.write_bytes(self._bytes[:size])
        lost = self.disk.power_cut(seed)
        content = self.card.read_bytes()
        return lost, "".join(chr(content[at] or ord(".")) for at in range(0, len(content), _SECTOR))


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def test_what_was_flushed_stays_and_the_rest_is_lost(log):
    log.write(0, b"a")
    log.write(1, b"b", 2)
    log.flush()
    log.write(0, b"c")
    log.write(5, b"d")
    assert log.cut() == (2, "abb.....")


def test_without_a_flush_nothing_stays(log):
    log.write(0, b"a")
    assert log.cut() == (1, "........")


def test_an_empty_log_changes_nothing(log):
    assert log.cut(size=0) == (0, "........")


def test_a_later_write_wins(log):
    log.write(3, b"a")
    log.write(3, b"b")
    log.discard(3, 1)
    log.flush()
    assert log.cut() == (0, "...b....")


def test_a_die_keeps_some_of_the_rest(log):
    log.write(0, b"a")
    log.flush()
    for sector in range(1, 8):
        log.write(sector, b"b")
    lost, content = log.cut(seed=1)
    assert content[0] == "a"
    assert content.count("b") == 7 - lost
    assert 0 < lost < 7


def test_a_record_that_was_being_written_ends_the_log(log):
    log.write(0, b"a")
    log.flush()
    log.write(1, b"b", 2)
    whole = len(log._bytes)
    assert log.cut(size=whole - 1) == (0, "a.......")


def test_at_power_off_everything_stays(log):
    (log.card.with_name("card.img.running")).write_bytes(b"e" * 8 * _SECTOR)
    log.disk.power_off()
    assert log.card.read_bytes() == b"e" * 8 * _SECTOR
