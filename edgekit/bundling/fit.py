"""Whether a kind of board can run a model at all: its engine's operators, and its memory."""

from __future__ import annotations

import math

import numpy as np

from converters.runtimes import unsupported
from converters.tflite_reader import TensorInfo, TfliteInfo
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import UnfitError
from edgekit.boards.catalog import Board

RUNTIME_BYTES = 96 << 20
"""Python, NumPy, OpenCV, LiteRT and the camera loop with one worker: measured 93 MB resident with a model of 4 KB."""
PAGE_BYTES = 32 << 20
"""The page: measured 22 MB for its packages, and pictures on their way to those who look."""
COPIES = 2
"""Of a model: its file, which is mapped, and its weights as XNNPACK packs them."""
SHARE = 0.75
"""Of a board's memory, what an application may take; the system and its caches have the rest."""


def memory_needed(info: TfliteInfo, service: ServiceSpec) -> int:
    """Return the bytes of memory that an application takes at least.

    The runtime, the page if there is one, and for each worker two copies of the model and the tensors of its largest
    operator. Measured with five models of 1–4 MB, one worker took 13–35 MB beside the runtime, 1.5 to 4 times what
    this says: it is for refusing what cannot be.
    """
    page = PAGE_BYTES if service.page is not None else 0
    return RUNTIME_BYTES + page + max(1, service.workers) * (COPIES * info.size_bytes + _largest_step(info))


def require_memory(board: Board, needed: int) -> None:
    """Check that an application fits into a board's memory. Raises UnfitError: it does not."""
    room = int(board.memory_bytes * SHARE)
    if board.memory_bytes and needed > room:
        raise UnfitError(
            f"{board.id} has too little memory: the application takes {needed >> 20} MiB, and of the "
            f"{board.memory_bytes >> 20} MiB of such a board it may take {room >> 20}",
            hint="take a smaller model, fewer workers or another board; see: edgekit boards. If yours has more memory: "
            "--board aarch64-bookworm or aarch64-trixie",
        )


def require_operators(board: Board, engine: str, info: TfliteInfo, where: str) -> None:
    """Check that a board's engine has what a model needs. Raises UnfitError: it does not."""
    lacking = unsupported(info, engine)
    if lacking:
        first = lacking[0]
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        raise UnfitError(
            f"{board.id} cannot run {where}: {first.operator} ({first.layer}): {first.reason}{more}", hint=first.way_out
        )


def _largest_step(info: TfliteInfo) -> int:
    """Return the bytes of what the largest operator reads and writes; constants are part of the model."""
    return max(
        (
            sum(
                _activation_bytes(graph.tensors[index]) for index in (*operator.inputs, *operator.outputs) if index >= 0
            )
            for graph in info.subgraphs
            for operator in graph.operators
        ),
        default=0,
    )


def _activation_bytes(tensor: TensorInfo) -> int:
    if tensor.constant_bytes:
        return 0
    try:
        item_bytes = np.dtype(tensor.dtype).itemsize
    except TypeError:  # a type that NumPy does not have: smaller than a byte, or of no fixed size
        item_bytes = 1
    return math.prod(max(1, side) for side in tensor.shape) * item_bytes
