"""Rules: what predictions have to show, where and for how long, to be an event."""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from device_runtime.contract.decode import suggestion
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.prediction import POSE_LABEL, Item, Prediction, RuleEvent
from device_runtime.contract.service import Region, Rule, ServiceSpec
from device_runtime.errors import BadFileError
from device_runtime.tracking.extent import BOXLESS_TASKS, extent_of

GAP_S = 0.5
"""For how long a rule may not hold without an event's end: detectors miss an object in a frame or two."""

BLIND_S = 10.0
"""A pause between two frames after which nothing is taken to have gone on: as long as a camera counts as alive."""

_EDGE = 1e-9
"""A fraction of the frame; a point this near to a region's edge is inside: a box that is cut off at the frame's lower
side touches it."""

Points = npt.NDArray[np.float64]


def inside(points: Points, corners: Points) -> npt.NDArray[np.bool_]:
    """Tell which of the points lie in a polygon or on its edge.

    A point is inside when a ray from it crosses the edges an odd number of times (Shimrat, "Algorithm 112", CACM 5(8),
    1962); where a polygon crosses itself, what is covered twice is outside.

    Args:
        points: (n, 2) x y.
        corners: (m, 2) x y, in order, in the same unit.

    Returns:
        (n,) bool.
    """
    x, y = points[:, 0, None], points[:, 1, None]
    x1, y1 = corners.T
    x2, y2 = np.roll(corners, -1, axis=0).T
    rise = np.where(y1 == y2, 1.0, y2 - y1)  # level edges are never crossed
    crossing = x1 + (y - y1) * (x2 - x1) / rise
    odd = (((y1 > y) != (y2 > y)) & (x < crossing)).sum(axis=1) % 2 == 1
    # The nearest point of each edge, for those that lie on it.
    length = (x2 - x1) ** 2 + (y2 - y1) ** 2
    along = np.clip(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    away = (x1 + along * (x2 - x1) - x) ** 2 + (y1 + along * (y2 - y1) - y) ** 2
    found: npt.NDArray[np.bool_] = odd | (away <= _EDGE**2).any(axis=1)
    return found


@dataclass
class _Spell:
    """A time through which a rule held for one object, or for one class."""

    item: Item
    first_ns: int
    last_ns: int
    frame_index: int
    missed: bool = False
    event: str | None = None


@dataclass
class _Watch:
    """A rule, and for whom it holds: by track, or by class where there are no tracks."""

    rule: Rule
    corners: Points | None
    spells: dict[int, _Spell] = field(default_factory=dict)
    rests_until_ns: int | None = None


class Rules:
    """Turns predictions into events: each has one begin, and one end.

    With tracking each object has its own time, otherwise each class. Time is that of the frames' capture.
    """

    def __init__(self, service: ServiceSpec, model: ModelSpec) -> None:
        """Begin without events.

        Raises:
            BadFileError: a rule asks for what the model does not give.
        """
        for rule in service.rules:
            _check(rule, model)
        self._tracking = service.tracking and model.task.name not in BOXLESS_TASKS
        self._watches = [_Watch(rule, _corners(service.regions, rule)) for rule in service.rules]
        # A board that starts again must not give an id again: 48 random bits, and a counter.
        self._run = secrets.token_hex(6)
        self._count = 0
        self._now = (0, 0)

    def apply(self, prediction: Prediction, frame_size: tuple[int, int]) -> Prediction:
        """Return the prediction with the events that begin or end with it; frames come in the order of capture.

        Args:
            prediction: of the next frame, with tracks if there is tracking.
            frame_size: the frame's width and height in px.
        """
        now_ns = prediction.captured_ns
        self._now = (prediction.frame_index, now_ns)
        items = [item for item in prediction.items if not self._tracking or item.track is not None]
        anchors = {anchor: _anchors(items, anchor, frame_size) for anchor in {w.rule.anchor for w in self._watches}}
        events: list[RuleEvent] = []
        for watch in self._watches:
            held = self._held(watch, items, anchors[watch.rule.anchor])
            events += self._end(watch, held, now_ns)
            events += self._go_on(watch, held, prediction)
        return dataclasses.replace(prediction, events=(*prediction.events, *events)) if events else prediction

    def finish(self) -> Prediction | None:
        """End what still holds, because the run ends; None when nothing does.

        The events come in a prediction of the last frame, without items and timings: nothing was run for it.
        """
        events = []
        for watch in self._watches:
            for spell in watch.spells.values():
                events += self._ended(watch, spell)
            watch.spells.clear()
        frame_index, captured_ns = self._now
        return Prediction(frame_index, captured_ns, (), events=tuple(events)) if events else None

    def _held(self, watch: _Watch, items: Sequence[Item], anchors: Points) -> dict[int, Item]:
        """Return for whom the rule holds in this frame, and the best item of each."""
        rule = watch.rule
        right = [
            place
            for place, item in enumerate(items)
            if (not rule.labels or item.label in rule.labels)
            and (item.score is None or item.score >= rule.score)
            and (item.area is None or item.area >= rule.area)
        ]
        if right and watch.corners is not None:
            within = inside(anchors[right], watch.corners)
            right = [place for place, found in zip(right, within.tolist(), strict=True) if found]
        held: dict[int, Item] = {}
        for place in right:
            item = items[place]
            key = item.track if self._tracking and item.track is not None else item.index
            if key not in held or (item.score or 0.0) > (held[key].score or 0.0):
                held[key] = item
        return held

    def _end(self, watch: _Watch, held: dict[int, Item], now_ns: int) -> list[RuleEvent]:
        """End the spells that have gone, and those that nobody watched for too long."""
        events = []
        for key, spell in list(watch.spells.items()):
            since_s = (now_ns - spell.last_ns) / 1e9
            spell.missed |= key not in held
            if since_s > (GAP_S if spell.missed else BLIND_S):
                del watch.spells[key]
                if spell.event is not None:
                    watch.rests_until_ns = spell.last_ns + round(watch.rule.pause_s * 1e9)
                events += self._ended(watch, spell)
        return events

    def _go_on(self, watch: _Watch, held: dict[int, Item], prediction: Prediction) -> list[RuleEvent]:
        """Let spells begin and go on; those that last long enough are events."""
        events = []
        now_ns = prediction.captured_ns
        resting = watch.rests_until_ns is not None and now_ns < watch.rests_until_ns
        for key, item in held.items():
            spell = watch.spells.get(key)
            if spell is None:
                spell = watch.spells[key] = _Spell(item, now_ns, now_ns, prediction.frame_index)
            spell.item, spell.last_ns, spell.frame_index, spell.missed = item, now_ns, prediction.frame_index, False
            if spell.event is None and not resting and now_ns - spell.first_ns >= watch.rule.dwell_s * 1e9:
                self._count += 1
                spell.event = f"{self._run}-{self._count}"
                events.append(_event(watch.rule, spell, spell.event, "begin"))
        return events

    def _ended(self, watch: _Watch, spell: _Spell) -> list[RuleEvent]:
        return [] if spell.event is None else [_event(watch.rule, spell, spell.event, "end")]


def _event(rule: Rule, spell: _Spell, name: str, phase: Literal["begin", "end"]) -> RuleEvent:
    return RuleEvent(
        name,
        rule.name,
        phase,
        _utc(spell.last_ns),
        spell.frame_index,
        spell.item,
        rule.region,
        round((spell.last_ns - spell.first_ns) / 1e9, 3),
    )


def _utc(captured_ns: int) -> str:
    """Return when the monotonic clock showed this, by what the wall clock says now."""
    ago = dt.timedelta(microseconds=(time.monotonic_ns() - captured_ns) / 1e3)
    return (dt.datetime.now(dt.UTC) - ago).isoformat(timespec="milliseconds")


def _corners(regions: dict[str, Region], rule: Rule) -> Points | None:
    return None if rule.region is None else np.array(regions[rule.region].corners, np.float64)


def _anchors(items: Sequence[Item], anchor: str, frame_size: tuple[int, int]) -> Points:
    """Return where the items are, as fractions of the frame: (n, 2) x y 0–1; NaN, which is nowhere, without a place."""
    points = np.full((len(items), 2), np.nan)
    for row, item in enumerate(items):
        extent = extent_of(item)
        if extent is not None:
            x1, y1, x2, y2 = extent
            points[row] = (x1 + x2) / 2, y2 if anchor == "bottom" else (y1 + y2) / 2
    return np.clip(points / np.array(frame_size, np.float64), 0.0, 1.0)


def _check(rule: Rule, model: ModelSpec) -> None:
    """Raise BadFileError when a rule asks for what a model does not give."""
    task = model.task.name
    where = f'rule "{rule.name}"'
    if task == "regression":
        raise BadFileError(f"{where}: expected a model that finds something, got the task regression")
    if rule.region is not None and task in BOXLESS_TASKS:
        raise BadFileError(
            f'{where}: region "{rule.region}" needs a model that finds objects, got the task {task}',
            hint="leave the rule's region out",
        )
    if rule.score and task == "segmentation":
        raise BadFileError(
            f"{where}: score: the task segmentation gives none", hint="say how much of the frame: area = 0.05"
        )
    if rule.area and task != "segmentation":
        raise BadFileError(
            f"{where}: area: expected the task segmentation, got {task}", hint="leave the rule's area out"
        )
    known = (POSE_LABEL,) if task == "pose" else model.labels  # a pose's labels name its points
    for label in rule.labels:
        if known and label not in known:
            raise BadFileError(f'{where}: the model has no label "{label}"', hint=suggestion(label, known))
        if not known and not label.isdecimal():
            raise BadFileError(
                f'{where}: the model has no labels, expected a number of a class, got "{label}"',
                hint="name the classes in the model's labels, or leave the rule's labels out",
            )
