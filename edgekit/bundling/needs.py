"""Which packages an application needs on a board, by what its service is."""

from __future__ import annotations

from device_runtime.contract.service import ServiceSpec
from edgekit.boards.catalog import Board

ENGINE_PACKAGES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
"""What brings an engine."""

_ALWAYS = ("numpy", "opencv-python-headless", "pillow")
_PAGE = ("prometheus-client", "starlette", "uvicorn")
_MQTT = ("paho-mqtt",)

_MODULES = {"numpy": "numpy", "cv2": "opencv-python-headless", "PIL": "pillow"}
"""Modules that a system may have, and the packages that are not needed then."""


def engine_on(board: Board, service: ServiceSpec) -> str:
    """Return the engine that runs models on a board; empty where nothing says."""
    return board.engine if service.engine == "auto" else service.engine


def packages_for(engine: str, service: ServiceSpec) -> tuple[str, ...]:
    """Return the packages that an application asks for, without those that they ask for."""
    wanted = [ENGINE_PACKAGES[engine], *_ALWAYS]
    wanted += _PAGE if service.page is not None else ()
    wanted += _MQTT if service.mqtt is not None else ()
    return tuple(sorted(wanted))


def provided_by(board: Board) -> frozenset[str]:
    """Return the packages that a board has from its system."""
    return frozenset(_MODULES[item.module] for item in board.system_packages)
