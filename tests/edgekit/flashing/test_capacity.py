from itertools import pairwise
from random import SystemRandom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.events import Progress, silent
from edgekit.flashing.capacity import MARK_BYTES, check_capacity, judge, mark, plan_places, recognise
from edgekit.flashing.medium import CardError

MIB = 1 << 20


class Memory:
    """A card in memory. What is written from ``real`` on lands at the beginning (``wraps``), or is lost."""

    block = 512

    def __init__(self, size, real=None, *, wraps=False, lost=b"\0"):
        self.size, self._real, self._wraps, self._lost = size, real or size, wraps, lost
        self._sectors = {}
        self.flushed = False

    def write(self, at, content):
        assert at >= MIB
        assert at + len(content) <= self.size
        for start in range(0, len(content), 512):
            sector = (at + start) // 512
            if (at + start) < self._real or self._wraps:
                self._sectors[sector % (self._real // 512)] = content[start : start + 512]

    def read(self, at, size):
        assert self.flushed
        return b"".join(self._sector((at + start) // 512) for start in range(0, size, 512))

    def flush(self):
        self.flushed = True

    def _sector(self, sector):
        if self._wraps:
            sector %= self._real // 512
        return self._sectors.get(sector, self._lost * 512)


sizes = st.integers(3 * MIB // 512, (2 << 40) // 512).map(lambda sectors: sectors * 512)


@settings(max_examples=50)
@given(sizes)
def test_an_honest_card_of_any_size_is_believed(size):
    check_capacity(Memory(size), "/dev/sdx", silent)


@settings(max_examples=50)
@given(st.integers(20, 38).map(lambda bits: 1 << bits), st.data())
def test_a_card_that_begins_again_is_found_and_its_real_size_told(real, data):
    size = data.draw(st.integers((real + 2 * MIB) // 512, 16 * real // 512)) * 512
    with pytest.raises(CardError, match=f"/dev/sdx is a fake or broken: it says {size} bytes and keeps {real} bytes"):
        check_capacity(Memory(size, real, wraps=True), "/dev/sdx", silent)


@settings(max_examples=50)
@given(sizes, st.data())
def test_a_card_that_loses_what_is_beyond_its_end_is_found(size, data):
    real = data.draw(st.integers(1, size // 512 - 1)) * 512
    lost = data.draw(st.sampled_from([b"\0", b"\xff"]))
    with pytest.raises(CardError, match="fake or broken") as error:
        check_capacity(Memory(size, real, lost=lost), "/dev/sdx", silent)
    assert "what is written beyond them is lost" in str(error.value)
    words = str(error.value).split()
    least, most = (int(words[words.index("to") + offset]) for offset in (-1, 1))
    assert least <= real < most + MARK_BYTES


@settings(max_examples=50)
@given(sizes, st.sampled_from([512, 4096]), st.randoms(use_true_random=False))
def test_marks_lie_all_over_the_card_and_do_not_meet(size, block, chance):
    size -= size % block
    places = plan_places(size, block, chance)
    assert {1 << bits for bits in range(20, (size - 2 * MARK_BYTES).bit_length())} <= {*places}
    assert all(place % block == 0 for place in places)
    assert places[0] >= MIB
    assert all(after - before >= MARK_BYTES for before, after in pairwise(places))
    assert size - block < places[-1] + MARK_BYTES <= size


def test_a_device_without_room_for_marks_gets_none():
    assert plan_places(MIB, 512, SystemRandom()) == ()
    check_capacity(Memory(MIB), "/dev/sdx", silent)


def test_a_mark_is_of_its_place_and_run():
    nonce, other = bytes(16), b"\1" * 16
    assert recognise(nonce, mark(nonce, 4096)) == 4096
    assert recognise(other, mark(nonce, 4096)) is None
    torn = mark(nonce, 4096)[:-1] + b"?"
    assert recognise(nonce, torn) is None
    assert recognise(nonce, bytes(MARK_BYTES)) is None


def test_a_hole_in_the_middle_is_no_smaller_card():
    assert judge(100, {10: 10, 20: None, 30: 30}) == "what was written at byte 20 was not there any more"


def test_progress_counts_marks_written_and_read():
    heard = []
    check_capacity(Memory(64 * MIB), "/dev/sdx", heard.append)
    assert heard[0] == Progress(1, heard[0].total, "marks")
    assert heard[-1] == Progress(heard[0].total, heard[0].total, "marks")
