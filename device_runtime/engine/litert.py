"""TFLite interpreters: LiteRT, and the older tflite-runtime. The only importer of either."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.contract.model import TensorSpec
from device_runtime.engine.interface import DELEGATE_NODE, Node
from device_runtime.errors import ModelError, UnfitError, UsageError
from device_runtime.files import refused
from device_runtime.vision.frame import Tensor

ENGINES = {"litert": ("ai_edge_litert", "ai-edge-litert"), "tflite-runtime": ("tflite_runtime", "tflite-runtime")}
"""Engine names: the module and the distribution of each, the preferred one first."""

DELEGATES = ("auto", "xnnpack", "none")
"""What may be asked to run operators: what the engine takes by itself, XNNPACK, or the engine's own kernels."""

_WITHOUT_DELEGATES = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
"""Of the enumeration ``OpResolverType`` that both engines have."""

_TFLITE_MAGIC = b"TFL3"
_LOADING = threading.Lock()
"""The process has one stderr: models that are loaded in several threads silence it one after the other."""


def installed_engines() -> list[str]:
    """Return the names of the engines that this Python has, the preferred one first."""
    return [name for name, (module, _) in ENGINES.items() if importlib.util.find_spec(module)]


def open_engine(model: Path, engine: str = "auto", threads: int = 1, delegate: str = "auto") -> TfliteEngine:
    """Load a ``.tflite`` file and allocate its tensors.

    Args:
        model: the file.
        engine: ``auto`` (the preferred one that is installed), ``litert`` or ``tflite-runtime``.
        threads: how many CPU threads one invocation may use.
        delegate: one of ``DELEGATES``.

    Raises:
        UnfitError: the engine is not installed, or not with a NumPy that it works with; or XNNPACK is asked for, and
            runs nothing of the model.
        ModelError: the file is not a TFLite model, or the engine cannot run it.
        EdgeError: the file cannot be read.
    """
    if delegate not in DELEGATES:
        raise UsageError(f"delegate: expected auto, xnnpack or none, got {delegate!r}")
    return TfliteEngine(model, _choose(engine), threads, delegate)


class TfliteEngine:
    """A model in a TFLite ``Interpreter``; see ``interface.Engine``.

    ``Interpreter`` and not ``CompiledModel``: the latter's ``run`` holds Python's global lock (measured with
    ai-edge-litert 2.3), so that capture would stand still while the model runs.
    """

    def __init__(self, model: Path, name: str, threads: int, delegate: str = "auto") -> None:
        if threads < 1:
            raise UsageError(f"threads: expected 1 or more, got {threads}")
        _check_magic(model)
        module, distribution = ENGINES[name]
        self.name = name
        self.version = _version(module, distribution)
        self.threads = threads
        self._model = model
        self._interpreter = self._load(module, delegate)
        # Not what it logs: it names its delegate for the first model of a process only.
        self.delegate = "xnnpack" if self._delegated() else "none"
        if delegate == "xnnpack" and self.delegate == "none":
            raise UnfitError(
                f"{model}: delegate xnnpack of {name} {self.version} runs nothing of this model here",
                hint="leave the delegate to the engine: auto",
            )
        self._input_details = self._interpreter.get_input_details()
        self._output_details = self._interpreter.get_output_details()
        self.inputs = tuple(self._describe(detail) for detail in self._input_details)
        self.outputs = tuple(self._describe(detail) for detail in self._output_details)
        # The function objects are kept, the views are not: an arena may move between invocations.
        self._views = [self._interpreter.tensor(detail["index"]) for detail in self._input_details]

    def input_view(self, index: int = 0) -> Tensor:
        """Return the memory of an input tensor, to be written into and dropped before ``invoke``."""
        view: Tensor = self._views[index]()
        return view

    def invoke(self) -> None:
        """Run the model. Raises ModelError when an operator fails."""
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise ModelError(f"{self._model}: the model fails when it runs on {self.name}: {_first(error)}") from error

    def output(self, index: int) -> Tensor:
        """Return a copy of an output tensor, in its stored dtype."""
        tensor: Tensor = self._interpreter.get_tensor(self._output_details[index]["index"])
        return tensor

    def nodes(self) -> tuple[Node, ...]:
        """Return the operators of the graph, and then a ``DELEGATE_NODE`` for each piece that a delegate runs."""
        # What the interpreter's own _get_ops_details calls; that one fails for types that NumPy does not have.
        inner = self._interpreter._interpreter  # noqa: SLF001 - neither package has a public way
        return tuple(
            Node(
                str(inner.NodeName(index)),
                tuple(int(tensor) for tensor in inner.NodeInputs(index)),
                tuple(int(tensor) for tensor in inner.NodeOutputs(index)),
            )
            for index in range(inner.NumNodes())
        )

    def _delegated(self) -> bool:
        """Whether a delegate runs a piece of the graph: such nodes come after the graph's own."""
        inner = self._interpreter._interpreter  # noqa: SLF001 - see ``nodes``
        count = int(inner.NumNodes())
        return count > 0 and str(inner.NodeName(count - 1)) == DELEGATE_NODE

    def _load(self, module: str, delegate: str) -> Any:
        with _LOADING, _silenced_stderr():
            try:
                interpreters = importlib.import_module(f"{module}.interpreter")
                kinds = interpreters.OpResolverType
                made = interpreters.Interpreter(
                    model_path=str(self._model),
                    num_threads=self.threads,
                    experimental_op_resolver_type=kinds[_WITHOUT_DELEGATES] if delegate == "none" else kinds.AUTO,
                )
                made.allocate_tensors()
            except (RuntimeError, ValueError) as error:
                raise ModelError(
                    f"{self._model}: {self.name} {self.version} cannot load the model: {_first(error)}",
                    hint=f"see its operators: edgekit inspect {self._model}",
                ) from error
            return made

    def _describe(self, detail: dict[str, Any]) -> TensorSpec:
        quantisation = detail["quantization_parameters"]
        single = len(quantisation["scales"]) == 1
        dtype = np.dtype(detail["dtype"]).name
        try:
            return TensorSpec(
                str(detail["name"]),
                tuple(int(side) for side in detail["shape"]),
                dtype,
                float(quantisation["scales"][0]) if single else 0.0,
                int(quantisation["zero_points"][0]) if single else 0,
            )
        except ValueError as error:
            raise ModelError(f"{self._model}: {error}") from error


def _choose(engine: str) -> str:
    present = installed_engines()
    if engine != "auto" and engine not in ENGINES:
        raise UsageError(f"engine: expected auto, {' or '.join(ENGINES)}, got {engine!r}")
    if engine == "auto" and present:
        engine = present[0]
    if engine not in present:
        wanted = "no engine" if engine == "auto" else f"engine {engine}"
        package = ENGINES["litert" if engine == "auto" else engine][1]
        missing = "is" if engine == "auto" else "is not"
        raise UnfitError(
            f"{wanted} {missing} installed for {sys.executable}", hint=f"{sys.executable} -m pip install {package}"
        )
    if engine == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        # It imports, and then crashes the process when an Interpreter is made.
        raise UnfitError(
            f"engine tflite-runtime needs numpy < 2, got {np.__version__}",
            hint=f'{sys.executable} -m pip install "numpy<2"',
        )
    return engine


def _check_magic(model: Path) -> None:
    """Refuse what is certainly not a TFLite file before native code reads it."""
    try:
        with model.open("rb") as stream:
            head = stream.read(8)
    except FileNotFoundError as error:
        raise ModelError(f"no such model: {model}") from error
    except OSError as error:
        raise refused(error, model, "read") from error
    if head[4:8] != _TFLITE_MAGIC:
        got = "an empty file" if not head else f"{head[4:8]!r}"
        raise ModelError(
            f"{model}: expected a TFLite model ({_TFLITE_MAGIC!r} at byte 4), got {got}",
            hint="a trained model becomes one by: edgekit convert MODEL",
        )


def _first(error: Exception) -> str:
    """The first line of a native error message; the rest repeats it."""
    return str(error).strip().split("\n")[0]


def _version(module: str, distribution: str) -> str:
    """Return an engine's version: as its module says it, because asking the package's metadata takes 10 ms."""
    said = getattr(importlib.import_module(module), "__version__", None)
    if said is not None:
        return str(said)
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version(distribution)


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Drop what native code writes to stderr while a model loads: its chatter is not the user's."""
    sys.stderr.flush()
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(nothing)
        os.close(saved)
