"""What can go wrong while a model is converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_runtime.errors import EdgeError, ModelError

if TYPE_CHECKING:
    from converters.interface import SearchReport


class ConversionError(EdgeError):
    """A conversion failed, or its result is not the trained model any more; nothing was written."""

    code = "conversion-failed"
    exit_code = 4


class BudgetMissedError(EdgeError):
    """A search found no model within the budget; nothing was written. ``report`` is all that it tried."""

    code = "budget-missed"
    exit_code = 8

    def __init__(self, message: str, *, hint: str = "", report: SearchReport | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


def spoilt_weights(where: object, name: str) -> ModelError:
    """Return the error for a trained model some of whose weights are not finite."""
    return ModelError(
        f"{where}: weights {name} hold NaN or infinity",
        hint="train the model again; a lower learning rate or clipped gradients help",
    )
