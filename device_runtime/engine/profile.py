"""Where the time of a model goes, operator by operator: measured in a process of its own, which may crash alone.

``python -m device_runtime.engine.profile`` is that process: a line of JSON on stdin and then the inputs' bytes, a line
of JSON on stdout.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device_runtime.child import own_environment
from device_runtime.contract.bench import EngineFacts, OperatorProfile, OperatorTime
from device_runtime.contract.decode import decode, encode
from device_runtime.engine.interface import DELEGATE_NODE, Engine, Node
from device_runtime.engine.litert import open_engine
from device_runtime.engine.native import DELEGATED_EVENT, OPERATOR_EVENT, Event, ProfiledModel, find_library
from device_runtime.errors import EdgeError, UnfitError
from device_runtime.signals import signal_name

if TYPE_CHECKING:
    from device_runtime.vision.frame import Tensor

_MODULE = "device_runtime.engine.profile"
_LEAST_INFERENCES = 10
_ROUND = 10
_ROUND_S = 0.2
"""So many inferences in a row run without the profile, and then with it: all meet the same machine."""

_MOST_EVENTS = 5000
"""Of a round: the profiler keeps 10,240 (``LiteRtProfilerT``)."""

_OTHER_EVENTS = 8
"""Of an inference, at most: they are not operators."""

_LIMIT_S = 600.0

_RUNS_AS: Mapping[str, frozenset[str]] = {
    "Convolution": frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"}),
    "Fully Connected": frozenset({"CONV_2D", "FULLY_CONNECTED"}),
    "Dynamic Fully Connected": frozenset({"FULLY_CONNECTED", "BATCH_MATMUL"}),
    "Deconvolution": frozenset({"TRANSPOSE_CONV"}),
    "Batch Matrix Multiply": frozenset({"BATCH_MATMUL"}),
    "Average Pooling": frozenset({"AVERAGE_POOL_2D", "MEAN"}),
    "Max Pooling": frozenset({"MAX_POOL_2D"}),
    "Mean": frozenset({"MEAN", "AVERAGE_POOL_2D"}),
    "Sum": frozenset({"SUM", "MEAN"}),
    "Resize Bilinear": frozenset({"RESIZE_BILINEAR"}),
    "Softmax": frozenset({"SOFTMAX"}),
    "Sigmoid": frozenset({"LOGISTIC"}),
    "TanH": frozenset({"TANH"}),
    "HardSwish": frozenset({"HARD_SWISH"}),
    "GELU": frozenset({"GELU"}),
    "ELU": frozenset({"ELU"}),
    "Leaky ReLU": frozenset({"LEAKY_RELU"}),
    "PReLU": frozenset({"PRELU"}),
    "Clamp": frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"}),
    "Square": frozenset({"SQUARE", "MUL"}),  # of a tensor by itself
    "Square Root": frozenset({"SQRT"}),
    "Reciprocal Square Root": frozenset({"RSQRT"}),
    "Exp": frozenset({"EXP"}),
    "Abs": frozenset({"ABS"}),
    "Negate": frozenset({"NEG"}),
    "Add": frozenset({"ADD"}),
    "Subtract": frozenset({"SUB"}),
    "Multiply": frozenset({"MUL"}),
    "Divide": frozenset({"DIV"}),
    "Maximum": frozenset({"MAXIMUM"}),
    "Minimum": frozenset({"MINIMUM"}),
    "Squared Difference": frozenset({"SQUARED_DIFFERENCE"}),
    "Depth To Space": frozenset({"DEPTH_TO_SPACE"}),
    "Space To Depth": frozenset({"SPACE_TO_DEPTH"}),
    "Slice": frozenset({"SLICE", "STRIDED_SLICE", "SPLIT"}),
}
"""XNNPACK's words, up to their bracket, and the operators that run as that. Words that are not here, such as Copy and
Convert, run for many operators, or for none: XNNPACK puts them in."""


@dataclass(frozen=True)
class Profiled:
    """An ``OperatorProfile``, or in ``reason`` why there is none."""

    profile: OperatorProfile | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Request:
    model: str
    engine: EngineFacts
    seconds: float
    inputs: tuple[int, ...]


def profile_operators(
    model: Path, engine: EngineFacts, seconds: float = 1.0, inputs: Sequence[Tensor] = ()
) -> Profiled:
    """Profile a model as ``engine`` runs it: its version, threads and delegate.

    Args:
        model: a ``.tflite`` file that the engine runs.
        engine: what ran the model.
        seconds: how long, about; at least some inferences are made.
        inputs: what each input tensor shall hold; zeros when there are none.

    Returns:
        The profile; or why there is none, for an engine that has none, and whatever happens to that process.
    """
    if engine.name != "litert":
        return Profiled(reason=f"{engine.name} tells no times of operators; ai-edge-litert does")
    contents = [each.tobytes() for each in inputs]
    request = _Request(str(model), engine, seconds, tuple(len(each) for each in contents))
    try:
        find_library(engine.version)
        done = subprocess.run(
            [sys.executable, "-P", "-m", _MODULE],
            input=json.dumps(encode(request)).encode() + b"\n" + b"".join(contents),
            capture_output=True,
            timeout=_LIMIT_S,
            check=False,
            env=own_environment(),
        )
    except UnfitError as error:
        return Profiled(reason=str(error))
    except OSError as error:
        return Profiled(reason=f"cannot start {sys.executable}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Profiled(reason=f"the profile took longer than {_LIMIT_S:.0f} s")
    try:
        return decode(Profiled, json.loads(done.stdout.splitlines()[-1]), "profile")
    except (IndexError, ValueError, EdgeError):
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    if done.returncode < 0:
        return Profiled(reason=f"LiteRT ended with {signal_name(-done.returncode)} while it profiled the model")
    return Profiled(reason=f"the profile failed with code {done.returncode}: {said}")


def match_words(words: Sequence[str], operators: Sequence[str]) -> list[int | None]:
    """Tell which operator each step of XNNPACK belongs to; None where that is not certain.

    Both are in the order in which they run. XNNPACK folds operators into others and puts in steps of its own: a step
    is certain when all correspond one to one, or when the order leaves it one place only.

    Args:
        words: XNNPACK's, as in ``Convolution (NHWC, F32) IGEMM``.
        operators: types of the graph's operators that it runs, as in ``CONV_2D``.
    """
    kinds = [_RUNS_AS.get(word.partition(" (")[0]) for word in words]
    if len(words) == len(operators) and all(
        kind is None or operator in kind for kind, operator in zip(kinds, operators, strict=True)
    ):
        return list(range(len(words)))
    known = [(step, kind) for step, kind in enumerate(kinds) if kind is not None]
    first = _embedded([kind for _, kind in known], operators)
    last = _embedded([kind for _, kind in reversed(known)], operators[::-1])
    found: list[int | None] = [None] * len(words)
    if first is not None and last is not None:
        for (step, _), early, late in zip(known, first, reversed(last), strict=True):
            found[step] = early if early == len(operators) - 1 - late else None
    return found


def _embedded(kinds: Sequence[frozenset[str]], operators: Sequence[str]) -> list[int] | None:
    """Return the leftmost places of the kinds among the operators, in order; None when they do not fit."""
    places: list[int] = []
    place = 0
    for kind in kinds:
        while place < len(operators) and operators[place] not in kind:
            place += 1
        if place == len(operators):
            return None
        places.append(place)
        place += 1
    return places


def middle_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half of 1 or more values.

    What others interrupt is not charged to the operator that it hit, and times that are counted in whole µs average to
    parts of one.
    """
    ordered = sorted(values)
    aside = len(ordered) // 4
    return statistics.fmean(ordered[aside : len(ordered) - aside])


def name_steps(steps: Sequence[Event], nodes: Sequence[Node], tensors: Sequence[str]) -> list[str]:
    """Return the tensor that each step of an inference writes; an empty name where that is not certain.

    Args:
        steps: the events of one inference that are operators, in order.
        nodes: the engine's: the graph's operators, and then a node for each piece that a delegate runs.
        tensors: the tensor that each operator of the graph writes.
    """
    operators = nodes[: len(tensors)]
    pieces = [_members(piece, operators) for piece in nodes[len(tensors) :] if piece.name == DELEGATE_NODE]
    runs = list(_runs(steps))
    own = {step.node for step in steps if step.type == OPERATOR_EVENT}
    certain = len(runs) == len(pieces) and own.isdisjoint(member for piece in pieces for member in piece)
    names = [tensors[step.node] if step.type == OPERATOR_EVENT and step.node < len(tensors) else "" for step in steps]
    if certain:
        for run, piece in zip(runs, pieces, strict=True):
            words = [steps[place].tag.decode(errors="replace") for place in run]
            for place, found in zip(run, match_words(words, [operators[each].name for each in piece]), strict=True):
                names[place] = "" if found is None else tensors[piece[found]]
    return names


def _members(piece: Node, operators: Sequence[Node]) -> list[int]:
    """Return the operators that a delegate's piece of the graph is made of, in order."""
    writers = {tensor: index for index, node in enumerate(operators) for tensor in node.outputs}
    found: set[int] = set()
    wanted = list(piece.outputs)
    while wanted:
        tensor = wanted.pop()
        writer = writers.get(tensor)
        if writer is not None and writer not in found and tensor not in piece.inputs:
            found.add(writer)
            wanted += operators[writer].inputs
    return sorted(found)


def _runs(steps: Sequence[Event]) -> Iterator[list[int]]:
    """Give the places of each delegate's steps: they stand together, and count from 0."""
    run: list[int] = []
    for place, step in enumerate(steps):
        inside = step.type == DELEGATED_EVENT
        if run and (not inside or step.node == 0):
            yield run
            run = []
        if inside:
            run.append(place)
    if run:
        yield run


def _split(events: Sequence[Event]) -> list[tuple[Event, list[Event]]]:
    """Return each inference's own event, and its operators'."""
    found: list[tuple[Event, list[Event]]] = []
    for event in events:
        if event.spans_inference:
            found.append((event, []))
        elif found and event.type in (OPERATOR_EVENT, DELEGATED_EVENT):
            found[-1][1].append(event)
    return found


def _shape(steps: Sequence[Event]) -> list[tuple[bytes, int, int]]:
    return [(step.tag, step.type, step.node) for step in steps]


def _measure(request: _Request, inputs: Sequence[bytes]) -> OperatorProfile:
    """Let the engine and the profiled model take turns on the same inputs.

    Raises:
        EdgeError: the model cannot be run, or not profiled.
    """
    path, facts = Path(request.model), request.engine
    library = find_library(facts.version)
    engine = open_engine(path, facts.name, facts.threads, "none" if facts.delegate == "none" else "auto")
    _fill(engine, inputs)
    engine.invoke()
    sizes = {tensor.name: engine.output(index).nbytes for index, tensor in enumerate(engine.outputs)}
    delegated = facts.delegate != "none"
    with ProfiledModel(library, path, facts.threads, delegated=delegated, output_bytes=sizes) as profiled:
        for index, tensor in enumerate(engine.inputs):
            profiled.fill(tensor.name, engine.input_view(index).tobytes())
        profiled.run()
        steps = _first_steps(profiled.profile(1), delegated=delegated)
        names = name_steps(steps, engine.nodes(), profiled.tensors)
        taken = _take_turns(engine, profiled, steps, request.seconds)
    means = [middle_mean(mine) / 1e3 for mine in taken.steps_us]
    total = sum(means)
    if not total:
        raise UnfitError("each operator takes less than the 1 µs that the profiler tells")
    return OperatorProfile(
        operators=tuple(
            OperatorTime(index, step.tag.decode(errors="replace"), name, mean, mean / total)
            for index, (step, name, mean) in enumerate(zip(steps, names, means, strict=True))
        ),
        inferences=len(taken.invoke_us),
        covered=min(1.0, middle_mean([sum(each) / max(1, whole) for whole, each in taken.inferences()])),
        overhead=statistics.median(taken.invoke_us) / statistics.median(taken.plain_us) - 1,
    )


@dataclass(frozen=True)
class _Taken:
    """Times of inferences in µs: the engine's, the profiled model's, and of each step of the latter's."""

    plain_us: list[float]
    invoke_us: list[int]
    steps_us: list[list[int]]

    def inferences(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Give each profiled inference's own time and its steps'."""
        return zip(self.invoke_us, zip(*self.steps_us, strict=True), strict=True)


def _take_turns(engine: Engine, profiled: ProfiledModel, steps: Sequence[Event], seconds: float) -> _Taken:
    taken = _Taken([], [], [[] for _ in steps])
    started = time.perf_counter()
    engine.invoke()
    one_s = time.perf_counter() - started
    inferences = max(1, min(_ROUND, _MOST_EVENTS // (len(steps) + _OTHER_EVENTS), int(_ROUND_S / one_s)))
    end = started + seconds
    while len(taken.invoke_us) < _LEAST_INFERENCES or time.perf_counter() < end:
        for _ in range(inferences):
            started = time.perf_counter()
            engine.invoke()
            taken.plain_us.append((time.perf_counter() - started) * 1e6)
        for invoke, found in _split(profiled.profile(inferences)):
            if _shape(found) != _shape(steps):
                raise UnfitError("the model runs other operators each time: they have no common profile")
            taken.invoke_us.append(invoke.elapsed_us)
            for mine, step in zip(taken.steps_us, found, strict=True):
                mine.append(step.elapsed_us)
    return taken


def _fill(engine: Engine, inputs: Sequence[bytes]) -> None:
    for index, tensor in enumerate(engine.inputs):
        view = engine.input_view(index)
        if not inputs:
            view[...] = 0
        elif index < len(inputs) and len(inputs[index]) == view.nbytes:
            view[...] = np.frombuffer(inputs[index], view.dtype).reshape(view.shape)
        else:
            got = f"{len(inputs[index])} bytes" if index < len(inputs) else "nothing"
            raise UnfitError(f"input {tensor.name}: expected {view.nbytes} bytes, got {got}")


def _first_steps(events: Sequence[Event], *, delegated: bool) -> list[Event]:
    """Return the steps of the one inference that the events are of; raises UnfitError when they tell no profile."""
    inferences = _split(events)
    steps = inferences[0][1] if inferences else []
    if not steps:
        raise UnfitError("the library tells nothing of this model's operators")
    if len({step.graph for step in steps if step.type == OPERATOR_EVENT}) > 1:
        raise UnfitError("the model has branches or loops: the times of what they run are in those of others")
    if not delegated and any(step.type == DELEGATED_EVENT for step in steps):
        raise UnfitError("the library runs the model on XNNPACK, and the engine does not")
    return steps


def main() -> None:
    """Answer the request on stdin; what native code writes to stdout goes to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    stream = sys.stdin.buffer
    request = decode(_Request, json.loads(stream.readline()), "request")
    try:
        profiled = Profiled(_measure(request, [stream.read(size) for size in request.inputs]))
    except EdgeError as error:
        profiled = Profiled(reason=str(error))
    with os.fdopen(answer, "w") as out:
        json.dump(encode(profiled), out)
        out.write("\n")


if __name__ == "__main__":
    main()
