"""What the fault suite cuts off: commands of the installer, the boards they begin with, and what must come of it."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from tests.support.fault_points import in_own_process

_ON_TRIAL = frozenset({"bad"})


@dataclass(frozen=True)
class Scenario:
    """A command that is cut off.

    ``base`` is the board it begins with, ``command`` its words, in which names of bundles stand for their paths, and
    ``conversation`` the bundle that a host sends to it on stdin. ``may`` are the bundles of which one has to be
    current, and whole, at any moment and after settling (None: nothing runs), ``after`` the one that is current when
    the command was given again, which ended with ``code``. On a ``damaged`` board, what is current need not be whole
    before that.
    """

    base: str
    command: tuple
    may: tuple
    after: Collection
    code: int = 0
    conversation: str = ""
    damaged: bool = False


SCENARIOS = {
    "a first installation": Scenario("none", ("apply", "first"), (None, "first"), ("first",)),
    # It brings a third wheel and pushes a release out with its own: unpacking, compiling and removing are on the way.
    "an update": Scenario("two wheels", ("apply", "third"), ("update", "third"), ("third",)),
    "a failed check": Scenario("two", ("apply", "worse"), ("second",), ("second",), 7),
    "a failed trial": Scenario("two", ("apply", "bad"), ("second",), ("second",), 7),
    "a rollback": Scenario("two wheels", ("rollback",), ("first", "update"), ("first", "update")),
    "a repair": Scenario("damaged", ("apply", "second"), ("second",), ("second",), damaged=True),
    "a removal": Scenario("two wheels", ("remove",), ("update", None), (None,)),
    "a first deployment": Scenario("none", ("session",), (None, "first"), ("first",), conversation="first"),
    "a deployment": Scenario("two wheels", ("session",), ("update", "third"), ("third",), conversation="third"),
}
"""By name; ``recovery_of`` makes more."""


def recovery_of(name: str) -> Scenario:
    """Return the recovery of what a scenario's command left, as a scenario."""
    cut = SCENARIOS[name]
    return Scenario(cut.base, ("recover",), cut.may, cut.may, damaged=cut.damaged)


def fail(boards, scenario: Scenario, fault: str, folder, **options) -> list:
    """Fail a scenario's command at each of its calls, and return what was left."""
    return in_own_process("fault_points", {**_plan(boards, scenario, folder), "fault": fault, **options})


def cut_power(boards, scenario: Scenario, folder, **options) -> list:
    """Cut the power at each call of a scenario's command, and return what was left."""
    return in_own_process("power_cuts", {**_plan(boards, scenario, folder), **options})


def before(boards, name: str, point: int) -> list:
    """Return the option with which a scenario's command is killed before another one begins."""
    scenario = SCENARIOS[name]
    return [[boards.words(scenario), "kill", point, _stdin(boards, scenario)]]


def assert_safe(boards, scenario: Scenario, records) -> None:
    """Check what failed commands left."""
    for record in records:
        assert_cut_well(boards, scenario, record["at_once"], record, failed=True)


def assert_safe_without_power(boards, scenario: Scenario, records) -> None:
    """Check what power cuts left; what was said to be done is done."""
    for record in records:
        for disk in ("at_once", "after_a_flush"):
            assert_cut_well(boards, scenario, record[disk]["found"], {**record, **record[disk]}, failed=True)
    ended = records[-1]
    assert ended["code"] == scenario.code, ended
    for disk in ("at_once", "after_a_flush"):
        found = ended[disk]["found"] or {"current": None, "trial": False}
        assert found["current"] in boards.ids(scenario.after), ended
        assert not found["trial"], ended


def assert_cut_well(boards, scenario: Scenario, at_once, record, *, failed: bool) -> None:
    """Check one record: what was there at once, after settling, and after the same command."""
    may = boards.ids(scenario.may)
    if at_once is not None:
        # Killed in its trial, a bad release may still be what ``current`` shows; recovery ends that.
        assert at_once["current"] in may | (boards.ids(_ON_TRIAL) if failed else set()), record
        assert scenario.damaged or at_once["damage"] == [], record
        # It could be made again from the links, but what is quarantined would be forgotten.
        assert not at_once["state_lost"], record
    settled, again = record["settled"], record["again"]
    if settled is not None:
        assert settled["current"] in may, record
        assert settled["link"] == (settled["current"] is not None), record
        assert scenario.damaged or settled["damage"] == settled["fallback_damage"] == [], record
        undecided = {name: settled[name] for name in ("left", "trial", "way_back")}
        assert undecided == {"left": [], "trial": False, "way_back": False}, record
    assert again["code"] == scenario.code, record
    assert again["current"] in boards.ids(scenario.after), record
    assert [again[name] for name in ("damage", "fallback_damage", "left")] == [[], [], []], record


def outcomes(boards, records) -> Counter:
    """Count which release was current after settling."""
    disks = [
        record if "settled" in record else record[disk] for record in records for disk in ("at_once", "after_a_flush")
    ]
    return Counter(boards.name(disk["settled"]["current"]) if disk["settled"] else "no root" for disk in disks)


def _plan(boards, scenario: Scenario, folder) -> dict:
    name, *arguments = boards.words(scenario)
    return {
        "base": str(boards.path(scenario.base)),
        "root": str(folder / "root"),
        "folder": str(folder),
        "command": name,
        "arguments": arguments,
        "stdin": _stdin(boards, scenario),
    }


def _stdin(boards, scenario: Scenario):
    return str(boards.said(scenario.conversation)) if scenario.conversation else None
