"""What a run's watch sees, from files as the kernel has them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Moment
from device_runtime.watch import MAX_MOMENTS, Watch, thinned, waiting_share
from tests.support.waiting import wait_for

NEVER_S = 3600.0
"""Between two looks: the first and the last one only."""


@pytest.fixture
def proc(tmp_path):
    """A /proc whose process has a child with a child."""
    folder = tmp_path / "proc"
    for process, task, children in (("self", "10", "20 "), ("20", "20", "30 "), ("30", "31", "")):
        (folder / process / "task" / task).mkdir(parents=True)
        (folder / process / "task" / task / "children").write_text(children)
        times(folder, process)
    cores(folder)
    return folder


def times(proc, process, user=0, system=0, ended_user=0, ended_system=0):
    head = f"{process} (a) name (S) S 1 2 3 4 -1 0 1 2 3 4"
    (proc / process / "stat").write_text(f"{head} {user} {system} {ended_user} {ended_system} 20 0 1\n")


def cores(proc, user=1000, idle=1000, waits=0, interrupts=0, steal=0):
    (proc / "stat").write_text(f"cpu  {user} 0 0 {idle} {waits} {interrupts} 0 {steal} 500 0\ncpu0 1 2 3\n")


def watched(proc, change, **options):
    """Return the moments of a watch, between whose looks ``change()`` is called."""
    with Watch(NEVER_S, proc=proc, sys=proc.parent / "sys", throttled=lambda: None, **options) as watch:
        change()
    return watch.moments


def test_a_machine_that_tells_nothing_gives_moments_of_nothing(tmp_path):
    first, last = watched(tmp_path / "proc", lambda: None)
    assert first == Moment(first.at_s)
    assert last == Moment(last.at_s)
    assert 0 <= first.at_s <= last.at_s


@pytest.mark.parametrize(
    ("now", "share"),
    [
        ({"idle": 1100}, 0.0),
        ({"user": 1025, "idle": 1075}, 0.25),
        ({"steal": 50, "idle": 1050}, 0.5),
        ({"interrupts": 10, "idle": 1090}, 0.1),
        ({"waits": 100}, 0.0),  # the disk works, and not the cores
        ({"user": 1010}, None),  # too few ticks to tell
    ],
)
def test_others_are_all_that_is_not_idle(proc, now, share):
    assert [each.others for each in watched(proc, lambda: cores(proc, **now))] == [None, share]


@pytest.mark.parametrize(
    "mine",
    [
        {"process": "self", "user": 20, "system": 5},
        {"process": "20", "user": 25},
        {"process": "30", "system": 25},
        {"process": "self", "ended_user": 15, "ended_system": 10},
        {"process": "20", "ended_user": 25},
    ],
)
def test_this_process_and_those_that_it_started_are_not_others(proc, mine):
    def work():
        cores(proc, user=1040, idle=1060)
        times(proc, **mine)

    assert watched(proc, work)[1].others == 0.15


def test_a_child_that_leaves_does_not_make_work_of_others(proc):
    times(proc, "20", user=50)

    def leave():
        cores(proc, idle=1100)
        (proc / "self" / "task" / "10" / "children").write_text("")

    assert watched(proc, leave)[1].others == 0.0


def test_the_slowest_core_the_temperature_and_waiting_are_told(proc):
    sys = proc.parent / "sys"
    for policy, clock in ((0, 1_800_000), (4, 2_400_000)):
        (sys / "devices/system/cpu/cpufreq" / f"policy{policy}").mkdir(parents=True)
        (sys / "devices/system/cpu/cpufreq" / f"policy{policy}" / "scaling_cur_freq").write_text(f"{clock}\n")
    for zone, (kind, temperature) in enumerate((("battery", 20_000), ("cpu-thermal", 61_500))):
        (sys / "class/thermal" / f"thermal_zone{zone}").mkdir(parents=True)
        (sys / "class/thermal" / f"thermal_zone{zone}" / "type").write_text(f"{kind}\n")
        (sys / "class/thermal" / f"thermal_zone{zone}" / "temp").write_text(f"{temperature}\n")
    (proc / "pressure").mkdir()
    (proc / "pressure" / "memory").write_text("some avg10=12.50 avg60=1.00 avg300=0.00 total=9\nfull avg10=3.00\n")
    first, _ = watched(proc, lambda: None)
    assert first == Moment(first.at_s, 1800.0, 61.5, None, None, 0.125)


@pytest.mark.parametrize("text", ["", "some\n", "some avg10=much\n", "full avg10=1.00\n"])
def test_what_is_no_pressure_file_tells_nothing(tmp_path, text):
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "memory").write_text(text)
    assert waiting_share(tmp_path) is None


def test_the_firmware_is_asked_at_the_beginning_and_at_the_end_but_not_at_each_look(proc):
    answers = itertools.count(0x50000)
    with Watch(0.001, proc=proc, sys=proc.parent / "sys", throttled=lambda: next(answers)) as watch:
        wait_for(lambda: len(watch.moments) >= 20)
    told = [each.throttled for each in watch.moments]
    assert (told[0], told[-1]) == (0x50000, 0x50001)
    assert set(told[1:-1]) == {None}


def test_a_long_watch_keeps_a_bounded_number_of_moments_over_all_of_its_time(proc):
    with Watch(0.0001, proc=proc, sys=proc.parent / "sys", throttled=lambda: None) as watch:
        wait_for(lambda: len(watch.moments) >= MAX_MOMENTS // 2 + 20)
        wait_for(lambda: len(watch.moments) <= MAX_MOMENTS // 2 + 10)  # it has thinned them
    assert len(watch.moments) <= MAX_MOMENTS
    assert watch.moments[0].at_s < 0.5
    assert [each.at_s for each in watch.moments] == sorted(each.at_s for each in watch.moments)


def test_a_look_costs_something_and_is_told():
    watch = Watch(NEVER_S)
    assert watch.cost_s == 0.0
    watch.start()
    watch.stop()
    watch.stop()
    assert watch.cost_s > 0.0
    assert len(watch.moments) == 2


shares = st.none() | st.floats(0, 1)
moments = st.lists(
    st.tuples(
        st.integers(1, 1000),
        st.none() | st.integers(600, 2400),
        st.none() | st.integers(20, 100),
        st.none() | st.integers(0, 0xFFFFF),
        shares,
        shares,
    ),
    max_size=41,
).map(
    lambda rows: [
        Moment(at / 100, clock, celsius, bits, others, waiting)
        for at, (_, clock, celsius, bits, others, waiting) in zip(
            itertools.accumulate(row[0] for row in rows), rows, strict=True
        )
    ]
)


@given(moments)
def test_thinned_moments_keep_the_ends_the_worst_and_what_others_took(seen):
    kept = thinned(seen)
    assert len(kept) == len(seen) // 2 + (1 if seen else 0)
    assert kept[:1] == seen[:1]
    assert [each.at_s for each in kept[-1:]] == [each.at_s for each in seen[-1:]]
    for name, worst in (("frequency_mhz", min), ("temperature_c", max), ("waiting", max)):
        told = [
            [getattr(each, name) for each in each_of if getattr(each, name) is not None] for each_of in (seen, kept)
        ]
        assert worst(told[0], default=None) == worst(told[1], default=None)
    assert bits_of(seen) == bits_of(kept)
    if all(each.others is not None for each in seen):
        assert taken_by_others(kept) == pytest.approx(taken_by_others(seen), abs=1e-4 * (seen[-1].at_s if seen else 0))


def bits_of(seen):
    bits = 0
    for each in seen:
        bits |= each.throttled or 0
    return bits


def taken_by_others(seen):
    return sum(now.others * (now.at_s - last.at_s) for last, now in itertools.pairwise(seen))
