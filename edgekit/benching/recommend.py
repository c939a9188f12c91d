"""Which point of a sweep to take, by a rule that can be said in a sentence; and how it gets into ``edgekit.toml``."""

from __future__ import annotations

from collections.abc import Sequence

from device_runtime.errors import UsageError
from edgekit.benching.compare import BETWEEN_RUNS
from edgekit.benching.pareto import Cost, accuracy_cost, comparable, latency_cost
from edgekit.benching.sweep_report import Accuracy, Recommendation, SweepPoint, SweepReport
from edgekit.project.config import Project
from edgekit.project.edit import Change, Value, change_project
from edgekit.reporting.axes import milliseconds

POINT = 0.01
"""Of a share; of an error, a point is a hundredth of the best one."""


def recommend(report: SweepReport) -> Recommendation | None:
    """Return the point to take, or None when none was measured.

    Of the points whose accuracy is at most ``max_drop`` points below the best, the fastest. Those that none is faster
    than beyond the noise count as equal: of them the one with the fewest threads is taken, then the smallest file,
    then the most accurate. Disturbed points come into it only when there are no others, and then that is said.
    """
    compared = comparable(report.points, report.percentile)
    if not compared:
        return None
    good = _accurate(compared, report.max_drop)
    costs = [_latency(point, report) for point in good]
    equal = [point for point, own in zip(good, costs, strict=True) if not any(_faster(each, own) for each in costs)]
    chosen = min(equal, key=lambda point: _preference(point, report))
    fastest = min(good, key=lambda point: (_latency(point, report).value, *_preference(point, report)))
    return Recommendation(chosen.number, _reason(report, chosen, fastest, compared, good))


def settings_of(report: SweepReport) -> dict[tuple[str, str], Value]:
    """Return what the recommended point says for a project file, by table and key: of what was varied, and no more.

    Raises:
        UsageError: nothing is recommended.
    """
    if report.recommended is None:
        raise UsageError(
            "no point of the sweep was measured: there is nothing to write", hint="see each point's error above"
        )
    setting = report.point(report.recommended.point).setting
    values: dict[str, tuple[tuple[str, str], Value | None]] = {
        "recipe": (("model", "recipe"), setting.recipe),
        "size": (("model", "input_size"), setting.input_size),
        "engine": (("service", "engine"), setting.engine),
        "delegate": (("service", "delegate"), setting.delegate),
        "threads": (("service", "threads"), setting.threads),
    }
    varied = [axis.name for axis in report.axes]
    return {place: value for axis, (place, value) in values.items() if axis in varied and value}


def project_to_write(project: Project | None) -> Project:
    """Return the project whose file a recommendation goes to. Raises UsageError where there is none."""
    if project is None:
        raise UsageError(
            "--write: the model is not a project's, so that there is no edgekit.toml to write to",
            hint="leave MODEL out, in the folder of a project",
        )
    return project


def write_recommendation(project: Project | None, report: SweepReport) -> tuple[Change, ...]:
    """Write the recommended point's settings to the project file, and return what changed; comments and order stay.

    The project's model is not converted again: with another recipe or size, ``edgekit convert`` is next.

    Raises:
        UsageError: there is no project, nothing is recommended, or the sweep was stopped.
        BadFileError: the file is written in a way in which its values cannot be changed; nothing was.
        EdgeError: it cannot be written.
    """
    project = project_to_write(project)
    if not report.complete:
        raise UsageError("--write: the sweep was stopped before it was complete", hint="let it run to its end")
    return change_project(project.path, settings_of(report))


def needs_conversion(changes: Sequence[Change]) -> bool:
    """Tell whether the project's model is no longer what its file says."""
    return any(change.table == "model" for change in changes)


def within(accuracy: Accuracy, best: Accuracy, max_drop: float) -> bool:
    """Tell whether an accuracy is at most ``max_drop`` points below the best; of errors, so many per cent above it."""
    if accuracy.higher_is_better:
        return accuracy.value >= best.value - max_drop * POINT - 1e-12
    return accuracy.value <= best.value * (1 + max_drop * POINT) + 1e-12


def accuracy_in_words(accuracy: Accuracy) -> str:
    """Return an accuracy for people: ``97.5%``, or an error in its own unit."""
    return f"{accuracy.value:.1%}" if accuracy.higher_is_better else f"{accuracy.value:.4g}"


def ends_of(accuracy: Accuracy) -> str:
    """Return where an accuracy lies, in the unit of ``shown`` without its sign: ``95.0–98.8``; empty when not known."""
    ends = accuracy.interval
    if ends is None:
        return ""
    if accuracy.higher_is_better:
        return f"{100 * ends.low:.1f}–{100 * ends.high:.1f}"
    return f"{ends.low:.4g}–{ends.high:.4g}"


def _latency(point: SweepPoint, report: SweepReport) -> Cost:
    found = latency_cost(point, report.percentile)
    if found is None:
        raise ValueError(f"point {point.number} was not measured")
    return found


def _best(points: Sequence[SweepPoint]) -> Accuracy | None:
    known = [point for point in points if point.accuracy is not None]
    return min(known, key=_lack).accuracy if known else None


def _accurate(points: Sequence[SweepPoint], max_drop: float) -> list[SweepPoint]:
    best = _best(points)
    if best is None:
        return list(points)
    return [point for point in points if point.accuracy is not None and within(point.accuracy, best, max_drop)]


def _lack(point: SweepPoint) -> float:
    found = accuracy_cost(point)
    return 0.0 if found is None else found.value


def _faster(one: Cost, two: Cost) -> bool:
    """Whether one is faster beyond the noise; where that is not known, beyond what two runs may differ by."""
    if one.interval is None or two.interval is None:
        return two.value > one.value * (1 + BETWEEN_RUNS)
    return one.surely_below(two)


def _preference(point: SweepPoint, report: SweepReport) -> tuple[float, ...]:
    size = point.model.size_bytes if point.model is not None else 0
    return point.setting.threads, size, _lack(point), _latency(point, report).value, point.number


def _reason(
    report: SweepReport,
    chosen: SweepPoint,
    fastest: SweepPoint,
    compared: Sequence[SweepPoint],
    good: Sequence[SweepPoint],
) -> str:
    speed = f"{milliseconds(_latency(chosen, report).value)} ms {report.percentile}"
    best = _best(compared)
    if chosen.number == fastest.number:
        told = f"the fastest ({speed})"
    else:
        told = (
            f"as fast within the noise ({speed}) as the fastest, {report.label(fastest)} "
            f"({milliseconds(_latency(fastest, report).value)} ms), {_advantage(chosen, fastest)},"
        )
    if best is None or chosen.accuracy is None:
        told += f" of {_points(len(good))}; accuracy was not measured"
    else:
        unit = "point" if best.higher_is_better else "per cent"
        unit += "" if report.max_drop == 1 or unit == "per cent" else "s"
        told += (
            f" of {_points(len(good))} whose {chosen.accuracy.metric} is within {report.max_drop:g} {unit} of the best "
            f"({accuracy_in_words(chosen.accuracy)} of {accuracy_in_words(best)})"
        )
    if chosen.disturbed:
        return f"{told}; but every point was disturbed ({chosen.disturbed[0]}): measure again before relying on it"
    left_out = [point for point in report.points if point.disturbed]
    if left_out:
        told += f"; {_points(len(left_out))} that {'was' if len(left_out) == 1 else 'were'} disturbed did not count"
    return told


def _advantage(chosen: SweepPoint, fastest: SweepPoint) -> str:
    """Say what was preferred, by the first thing in which the two differ."""
    if chosen.setting.threads < fastest.setting.threads:
        return "with fewer threads"
    if chosen.model is not None and fastest.model is not None and chosen.model.size_bytes < fastest.model.size_bytes:
        return "with a smaller file"
    if _lack(chosen) < _lack(fastest):
        return "with a better accuracy"
    return "and named first"


def _points(count: int) -> str:
    return f"{count} point{'' if count == 1 else 's'}"
