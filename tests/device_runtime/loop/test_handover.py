"""What passes from thread to thread: nothing is lost that must not be, and nobody waits for ever."""

import threading

import pytest

from device_runtime.loop.handover import Handover


def test_nobody_waits_for_the_other_side_after_the_end():
    handover = Handover(1, newest_wins=False)
    assert handover.put(1)
    waiting = threading.Thread(target=handover.put, args=(2,))
    waiting.start()
    handover.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert handover.take() == 1  # what was handed over is not lost
    assert handover.take() is None
    assert not handover.put(3)


def test_the_oldest_of_a_full_queue_is_dropped_and_the_order_kept():
    handover = Handover(3, newest_wins=True)
    assert all(handover.put(item) for item in range(5))
    handover.close()
    assert [handover.take() for _ in range(4)] == [2, 3, 4, None]
    assert handover.dropped == 2
    assert handover.contended == 2


def test_takers_together_get_every_item_once_and_numbers_in_its_order():
    handover = Handover(4, newest_wins=False)
    taken = []

    def take():
        while (found := handover.take_numbered()) is not None:
            taken.append(found)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for item in range(500):
        handover.put(item)
    handover.close()
    for taker in takers:
        taker.join(5)
    assert sorted(taken) == [(item, item) for item in range(500)]


def test_what_the_other_side_failed_with_is_raised_to_every_taker_after_the_last_item():
    handover = Handover(2, newest_wins=False)
    handover.put(1)
    handover.close(ValueError("broken"))
    assert handover.take() == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            handover.take()


def test_waiting_for_room_counts_as_contention():
    handover = Handover(1, newest_wins=False)
    assert handover.wait_for_room()
    assert handover.contended == 0
    handover.put(1)
    waiting = threading.Thread(target=handover.wait_for_room)
    waiting.start()
    while handover.contended == 0:
        pass
    handover.take()
    waiting.join(5)
    assert not waiting.is_alive()
