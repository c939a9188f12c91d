"""What `edgekit bench` says, held against the engine's own tool, against itself, and against a known slow-down.

python benchmarks/harness.py MODEL.tflite [--pairs 100] [--only agreement|alarms|slowed|cost]

- agreement: ``invoke`` p50 and the median of litert-benchmark (in ai-edge-litert's wheel), in turns.
- alarms: pairs of runs of the same; how many of them are said to differ, which none does.
- slowed: pairs of which the second has an ``invoke`` that takes 10% longer; how many are found.
- cost: what measuring itself adds to a frame.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from camera_loop.table import Line, at_most, machine, shown

from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.bench import BenchReport
from device_runtime.errors import EdgeError
from edgekit.benching.compare import Comparison, compare_runs
from edgekit.benching.run import RUNTIME, BenchCall, measure
from edgekit.project.locate import LocatedModel, located_model

_ROUNDS = 9
_AGREE_S, _PAIR_S = 3.0, 2.0
_FACTOR = 1.1
_FOUND, _ALARMS, _APART = 95.0, 5.0, 5.0
_SLOWED = (sys.executable, str(Path(__file__).with_name("slowed.py")), str(_FACTOR))


class Subject:
    """A model that is measured again and again."""

    def __init__(self, located: LocatedModel) -> None:
        self.model = located.model
        self._spec = located.spec_path

    def run(self, duration_s: float, runtime: Sequence[str] = RUNTIME) -> BenchReport:
        """Measure it as ``edgekit bench`` does, in a process of its own, with one thread."""
        return measure(BenchCall(self.model, self._spec, duration_s=duration_s), runtime=runtime)

    def tool_ms(self, runs: int) -> float:
        """Return the median that the engine's own tool measures, in ms, with one thread."""
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "result.json"
            module = "from ai_edge_litert.tools.benchmark_litert_model import main; main()"
            words = ["--model", self.model, "--num_runs", runs, "--num_threads", 1, "--result_json", told]
            done = [sys.executable, "-c", module, *map(str, words)]
            subprocess.run(done, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            return float(_found(json.loads(told.read_text()), "median_ms"))


def agreement(subject: Subject, _pairs: int) -> Iterable[Line]:
    """Compare both tools, in turns, each of which begins with the other one."""
    ratios, ours, theirs = [], [], []
    for number in range(_ROUNDS):
        first = subject.tool_ms(300) if number % 2 else None
        ours.append(subject.run(_AGREE_S).stages["invoke"].p50)
        theirs.append(first if first is not None else subject.tool_ms(300))
        ratios.append(ours[-1] / theirs[-1])
    apart = abs(median(ratios) - 1) * 100
    spread = f"rounds {min(ratios):.3f} to {max(ratios):.3f}"
    yield Line("edgekit bench, invoke p50", f"{median(ours):.3f} ms")
    yield Line("litert-benchmark, median", f"{median(theirs):.3f} ms")
    yield at_most(f"apart (median of {_ROUNDS} ratios; {spread})", f"{median(ratios):.3f}×", apart, _APART, "%")


def alarms(subject: Subject, pairs: int) -> Iterable[Line]:
    """Compare equal runs."""
    said = [_pair(subject, RUNTIME) for _ in range(pairs)]
    yield from _words(said)
    wrong = sum(each.word != "same" for each in said)
    yield at_most("said to differ", f"{wrong} of {pairs}", 100 * wrong / pairs, _ALARMS, "%")
    slower = sum(each.word == "slower" for each in said)
    yield at_most("said to be slower, as a gate reads it", f"{slower} of {pairs}", 100 * slower / pairs, _ALARMS, "%")


def slowed(subject: Subject, pairs: int) -> Iterable[Line]:
    """Compare a run with one whose model takes longer."""
    said = [_pair(subject, _SLOWED) for _ in range(pairs)]
    yield from _words(said)
    missed = sum(each.figure("invoke", "p50").word != "slower" for each in said)  # type: ignore[union-attr]
    yield at_most(
        f"a model that is {100 * (_FACTOR - 1):.0f}% slower, missed",
        f"{missed} of {pairs}",
        100 * missed / pairs,
        100 - _FOUND,
        "%",
    )


def cost(subject: Subject, _pairs: int) -> Iterable[Line]:
    """Tell what the harness says of itself."""
    report = subject.run(_AGREE_S)
    share = (report.harness_us or 0.0) / 1e3 / report.stages["total"].p50
    yield Line("measuring, per frame", f"{report.harness_us or 0.0:.1f} µs", f"{100 * share:.2f}% of total p50")


def _pair(subject: Subject, runtime: Sequence[str]) -> Comparison:
    before = subject.run(_PAIR_S)
    return compare_runs(before, subject.run(_PAIR_S, runtime))


def _words(said: Sequence[Comparison]) -> Iterable[Line]:
    ratios = [figure.ratio for each in said if (figure := each.figure("invoke", "p50")) and figure.ratio]
    yield Line("invoke p50, second against first", f"{median(ratios):.3f}×", f"{min(ratios):.3f} to {max(ratios):.3f}")
    yield Line("words", ", ".join(f"{word} {count}" for word, count in Counter(each.word for each in said).items()))


def _found(told: dict[str, object], name: str) -> float:
    for key, value in told.items():
        if key == name:
            return float(str(value))
        if isinstance(value, dict) and name in value:
            return float(str(value[name]))
    raise KeyError(name)


ROWS = {"cost": cost, "agreement": agreement, "slowed": slowed, "alarms": alarms}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .tflite file that describes itself")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of runs: 8 s each")
    parser.add_argument("--only", choices=list(ROWS), action="append", help="a row; several are allowed")
    options = parser.parse_args()
    print(machine(), flush=True)
    try:
        with located_model(options.model, PrepOptions(), TaskOptions(), None) as located:
            subject = Subject(located)
            for name in options.only or ROWS:
                print(shown(name, ROWS[name](subject, options.pairs)), flush=True)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
