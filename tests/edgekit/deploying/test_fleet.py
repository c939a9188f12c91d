import os
import signal
import threading

import pytest

from device_runtime.contract.events import LogLine, Notice, Progress, Step, silent
from device_runtime.errors import EdgeError, Interrupted, UnfitError
from edgekit.boards.errors import UnreachableError
from edgekit.boards.target import find_places
from edgekit.deploying.fleet import for_each, worst
from tests.support.waiting import wait_for

PLACES = find_places(["local:a", "ssh://b", "local:c"], None)


def test_each_board_comes_to_its_own_end_in_the_order_of_the_words():
    def job(place, _events, _stopper):
        if str(place) == "local:a":
            raise UnfitError("too small", hint="a larger one")
        return str(place).upper()

    outcomes = for_each(PLACES, job, silent, parallel=3)
    assert [(each.target, each.exit_code, each.done) for each in outcomes] == [
        ("local:a", 6, None),
        ("ssh://b", 0, "SSH://B"),
        ("local:c", 0, "LOCAL:C"),
    ]
    assert (outcomes[0].error.code, outcomes[0].error.hint) == ("unfit", "a larger one")


def test_the_code_of_all_is_the_highest():
    def job(place, _events, _stopper):
        raise {"local:a": UnreachableError, "ssh://b": UnfitError, "local:c": EdgeError}[str(place)]("no")

    assert worst(for_each(PLACES, job, silent, parallel=1)) == 6
    assert worst(()) == 0


@pytest.mark.parametrize(("parallel", "expected"), [(1, 1), (2, 2), (8, 3)])
def test_so_many_are_at_work_at_a_time(parallel, expected):
    lock, at_work, most = threading.Lock(), set(), []
    together = threading.Barrier(expected)

    def job(place, _events, _stopper):
        with lock:
            at_work.add(place)
            most.append(len(at_work))
        if parallel != 2 or str(place) != "local:c":
            together.wait(20)
        with lock:
            at_work.discard(place)

    for_each(PLACES, job, silent, parallel=parallel)
    assert max(most) == expected


def test_events_say_of_which_board_they_are():
    heard = []

    def job(_place, events, _stopper):
        for event in (Step("check"), Progress(1, 2, "bytes"), Notice("odd", "warning"), LogLine("text")):
            events(event)

    for_each(PLACES[:1], job, heard.append, parallel=2)
    assert heard == [Step("local:a: check"), Notice("local:a: odd", "warning"), LogLine("text")]


def test_ctrl_c_stops_all_of_them():
    stopped = []

    def job(place, _events, stopper):
        if str(place) == "ssh://b":
            os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: stopper.stopped)
        stopped.append(str(place))

    with pytest.raises(Interrupted, match="go on by themselves"):
        for_each(PLACES[:2], job, silent, parallel=2)
    wait_for(lambda: sorted(stopped) == ["local:a", "ssh://b"])


def test_a_bug_is_not_hidden_and_stops_no_other_board():
    done = []

    def job(place, _events, _stopper):
        if str(place) == "local:a":
            raise ZeroDivisionError
        done.append(str(place))

    with pytest.raises(ZeroDivisionError):
        for_each(PLACES, job, silent, parallel=1)
    assert done == ["ssh://b", "local:c"]
