"""What every engine does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from device_runtime.contract.model import TensorSpec
from device_runtime.vision.frame import Tensor

DELEGATE_NODE = "DELEGATE"
"""What an interpreter calls a piece of the graph that a delegate runs."""


@dataclass(frozen=True)
class Node:
    """A step of a loaded model: an operator of its graph, or a piece of the graph that a delegate runs.

    ``inputs`` and ``outputs`` are numbers of tensors, -1 for an input that is left out.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Engine(Protocol):
    """A loaded model. An engine serves one thread.

    ``delegate`` says what runs the operators (``xnnpack`` or ``none``).
    """

    name: str
    version: str
    threads: int
    delegate: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input_view(self, index: int = 0) -> Tensor:
        """Return the memory of an input tensor, to be written into.

        The caller drops the view before ``invoke``: memory may move then.
        """

    def invoke(self) -> None:
        """Run the model on what the inputs hold; other Python threads go on meanwhile.

        Raises:
            ModelError: the model fails.
        """

    def output(self, index: int) -> Tensor:
        """Return a copy of an output tensor of the last ``invoke``, in its stored dtype."""
