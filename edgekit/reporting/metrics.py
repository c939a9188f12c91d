"""How the metrics of an evaluation are called in reports."""

from __future__ import annotations

_NAMES = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "map": "mAP@0.5",
    "map50": "mAP@0.5",
    "miou": "Mean IoU",
    "mae": "Mean absolute error",
    "agreement": "Agreement",
}


def metric_name(metric: str) -> str:
    """Return a metric's name for people; one that is not known keeps its own."""
    return _NAMES.get(metric, metric)
