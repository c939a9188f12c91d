"""LiteRT's C library, ``libLiteRt.so`` of ai-edge-litert's wheels, as far as a profile needs it.

Declared after ``litert/c/*.h`` of github.com/google-ai-edge/LiteRT, and tried with the wheels of ``KNOWN_VERSIONS`` on
x86-64, and of 2.3 on arm64. A wrong declaration crashes the process: only for processes that may crash.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from device_runtime.errors import UnfitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KNOWN_VERSIONS = ("2.1", "2.2", "2.3")
"""Of ai-edge-litert; the functions and the layout of events are those of 2.1.6, 2.2.0 and 2.3.0."""

OPERATOR_EVENT = 1 << 1
"""An operator that LiteRT's own kernels run, or all of a delegate that tells no more (``OPERATOR_INVOKE_EVENT``)."""

DELEGATED_EVENT = 1 << 3
"""An operator inside a delegate (``DELEGATE_PROFILED_OPERATOR_INVOKE_EVENT``)."""

INVOKE_TAG = b"Invoke"
"""Of the event that spans an inference, as ``Interpreter.invoke`` does."""

_DEFAULT_EVENT = 1
_CPU = 1  # kLiteRtHwAcceleratorCpu
_HOST_MEMORY = 1  # kLiteRtTensorBufferTypeHostMemory
_LOCK_WRITE = 1  # kLiteRtTensorBufferLockModeWrite
_TENSOR_TYPE_BYTES = 512
"""More than ``LiteRtRankedTensorType``: it is passed on, and never looked into."""

_UNTOUCHED = 0xA5


class _Event(ctypes.Structure):
    """``ProfiledEventData``; each of the memory usages is three numbers (``tflite/profiling/memory_info.h``)."""

    _fields_ = (
        ("tag", c_char_p),
        ("type", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory_before", c_int64 * 3),
        ("memory_after", c_int64 * 3),
        ("node", c_uint64),
        ("graph", c_uint64),
        ("source", c_int),
    )


@dataclass(frozen=True)
class Event:
    """Something that took ``elapsed_us`` during an inference.

    ``node`` is the operator's number in its graph ``graph``, or in its delegate.
    """

    tag: bytes
    type: int
    elapsed_us: int
    node: int
    graph: int

    @property
    def spans_inference(self) -> bool:
        """Whether this is a whole inference: its operators follow."""
        return self.type == _DEFAULT_EVENT and self.tag == INVOKE_TAG


def find_library(version: str) -> Path:
    """Return the path of the library of the installed ai-edge-litert, whose version is ``version``.

    Raises:
        UnfitError: there is none, or its functions may be others than those that are declared here.
    """
    if not version.startswith(tuple(f"{known}." for known in KNOWN_VERSIONS)):
        raise UnfitError(f"the profile knows ai-edge-litert {', '.join(KNOWN_VERSIONS)}, got {version}")
    if sys.maxsize <= 1 << 32:
        raise UnfitError("the profile knows the library's 64-bit form only")
    found = importlib.util.find_spec("ai_edge_litert")
    for folder in (found.submodule_search_locations if found is not None else None) or ():
        library = Path(folder) / "libLiteRt.so"
        if library.is_file():
            return library
    raise UnfitError(f"ai-edge-litert {version} brings no libLiteRt.so here")


class ProfiledModel:
    """A model that runs with LiteRT's profiler; to be entered, and used in one thread.

    Args:
        library: of ``find_library``.
        model: a ``.tflite`` file.
        threads: how many CPU threads one inference may use.
        delegated: whether operators may go to XNNPACK, as they do by default.
        output_bytes: sizes of outputs by their tensors' names, where the model does not state them: those of detections
            are known when it has run.

    Raises:
        UnfitError: a function of the library fails, or is not there.
    """

    def __init__(
        self, library: Path, model: Path, threads: int, *, delegated: bool, output_bytes: Mapping[str, int]
    ) -> None:
        self._library = ctypes.CDLL(str(library))
        self._model_path = model
        self._threads = threads
        self._delegated = delegated
        self._output_bytes = output_bytes
        self._closing: list[tuple[str, c_void_p]] = []
        self._compiled = c_void_p()
        self._profiler = c_void_p()
        self._inputs: dict[str, c_void_p] = {}
        self._buffers: tuple[Any, Any] = ((), ())
        self.tensors: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def fill(self, name: str, content: bytes) -> None:
        """Write the input tensor ``name``; one that is not there is left out."""
        buffer = self._inputs.get(name)
        if buffer is None:
            return
        size, memory = c_size_t(), c_void_p()
        self._call("GetTensorBufferPackedSize", buffer, byref(size))
        if size.value != len(content):
            raise UnfitError(f"input {name}: expected {size.value} bytes, got {len(content)}")
        self._call("LockTensorBuffer", buffer, byref(memory), c_int(_LOCK_WRITE))
        ctypes.memmove(memory, content, len(content))
        self._call("UnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Run the model once, without the profiler."""
        inputs, outputs = self._buffers
        self._call(
            "RunCompiledModel",
            self._compiled,
            c_size_t(0),
            c_size_t(len(inputs)),
            inputs,
            c_size_t(len(outputs)),
            outputs,
        )

    def profile(self, inferences: int) -> list[Event]:
        """Run the model with the profiler, and return what happened, in order."""
        self._call("ResetProfiler", self._profiler)
        self._call("StartProfiler", self._profiler)
        for _ in range(inferences):
            self.run()
        self._call("StopProfiler", self._profiler)
        count = c_int()
        self._call("GetNumProfilerEvents", self._profiler, byref(count))
        if count.value <= 0:
            return []
        # Twice as much as they take: what another layout writes too much shall be seen, and harm nothing.
        events = (_Event * (2 * count.value))()
        ctypes.memset(events, _UNTOUCHED, ctypes.sizeof(events))
        self._call("GetProfilerEvents", self._profiler, count, events)
        used = count.value * ctypes.sizeof(_Event)
        rest = memoryview(events).cast("B")[used:]
        last = memoryview(events).cast("B")[used - ctypes.sizeof(_Event) : used]
        if any(byte != _UNTOUCHED for byte in rest) or all(byte == _UNTOUCHED for byte in last):
            raise UnfitError("the profiler's events have another layout than is known")
        return [
            Event(event.tag or b"", event.type, event.elapsed_us, event.node, event.graph)
            for event in events[: count.value]
        ]

    def _open(self) -> None:
        environment = self._made("CreateEnvironment", "DestroyEnvironment", c_int(0), None)
        model = self._made("CreateModelFromFile", "DestroyModel", environment, str(self._model_path).encode())
        options = self._made("CreateOptions", "DestroyOptions")
        self._call("SetOptionsHardwareAccelerators", options, c_int(_CPU))
        self._add(options, b"runtime_options_string", b"enable_profiling = true\n")
        kernels = b"" if self._delegated else b'kernel_mode = "builtin"\n'
        self._add(options, b"xnnpack", b"num_threads = %d\n%s" % (self._threads, kernels))
        self._compiled = self._made("CreateCompiledModel", "DestroyCompiledModel", environment, model, options)
        self._call("CompiledModelGetProfiler", self._compiled, byref(self._profiler))
        signature = self._got("GetModelSignature", model, c_size_t(0))
        names, inputs = self._tensors(environment, signature, "Input")
        self._inputs = dict(zip(names, inputs, strict=True))
        _, outputs = self._tensors(environment, signature, "Output")
        self._buffers = (_array(inputs), _array(outputs))
        self.tensors = self._written(self._got("GetSignatureSubgraph", signature))

    def _tensors(self, environment: c_void_p, signature: c_void_p, side: str) -> tuple[list[str], list[c_void_p]]:
        """Return the names of the inputs or outputs, and a buffer for each."""
        names, buffers = [], []
        count = c_size_t()
        self._call(f"GetNumSignature{side}s", signature, byref(count))
        for index in range(count.value):
            tensor = self._got(f"GetSignature{side}TensorByIndex", signature, c_size_t(index))
            names.append(self._name(tensor))
            kind = ctypes.create_string_buffer(_TENSOR_TYPE_BYTES)
            self._call("GetRankedTensorType", tensor, kind)
            wanted = self._got(
                f"GetCompiledModel{side}BufferRequirements", self._compiled, c_size_t(0), c_size_t(index)
            )
            size = c_size_t()
            self._call("GetTensorBufferRequirementsBufferSize", wanted, byref(size))
            if side == "Output":
                size.value = max(size.value, self._output_bytes.get(names[-1], 0))
            buffers.append(
                self._made(
                    "CreateManagedTensorBuffer", "DestroyTensorBuffer", environment, c_int(_HOST_MEMORY), kind, size
                )
            )
        return names, buffers

    def _written(self, graph: c_void_p) -> tuple[str, ...]:
        """Return the name of the first tensor that each operator of the graph writes."""
        count = c_size_t()
        self._call("GetNumSubgraphOps", graph, byref(count))
        names = []
        for index in range(count.value):
            operator = self._got("GetSubgraphOp", graph, c_size_t(index))
            outputs = c_size_t()
            self._call("GetNumOpOutputs", operator, byref(outputs))
            names.append(self._name(self._got("GetOpOutput", operator, c_size_t(0))) if outputs.value else "")
        return tuple(names)

    def _name(self, tensor: c_void_p) -> str:
        name = c_char_p()
        self._call("GetTensorName", tensor, byref(name))
        return (name.value or b"").decode(errors="replace")

    def _add(self, options: c_void_p, kind: bytes, toml: bytes) -> None:
        """Add options as the library's own wrappers write them: TOML, which the library frees."""
        system = ctypes.CDLL(None)
        system.strdup.restype = c_void_p
        added = self._got(
            "CreateOpaqueOptions", kind, c_void_p(system.strdup(toml)), ctypes.cast(system.free, c_void_p)
        )
        self._call("AddOpaqueOptions", options, added)

    def _made(self, create: str, destroy: str, *arguments: object) -> c_void_p:
        made = self._got(create, *arguments)
        self._closing.append((destroy, made))
        return made

    def _got(self, name: str, *arguments: object) -> c_void_p:
        """Call a function whose last argument is where it puts its result."""
        result = c_void_p()
        self._call(name, *arguments, byref(result))
        return result

    def _call(self, name: str, *arguments: object) -> None:
        status = self._function(name)(*arguments)
        if status:
            raise UnfitError(f"LiteRt{name} fails with status {status}")

    def _function(self, name: str) -> Any:
        try:
            return getattr(self._library, f"LiteRt{name}")
        except AttributeError:
            raise UnfitError(f"libLiteRt.so has no LiteRt{name}") from None

    def _close(self) -> None:
        while self._closing:
            destroy, made = self._closing.pop()
            function = self._function(destroy)
            function.restype = None
            function(made)


def _array(pointers: Sequence[c_void_p]) -> Any:
    return (c_void_p * len(pointers))(*[each.value for each in pointers])
