"""What a Keras file says of itself before it is loaded: enough to refuse what is unsafe, and to describe the rest."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runtime.errors import ModelError
from device_runtime.files import refused

_MAX_CONFIG_BYTES = 64 << 20
_ZIP_MAGIC = b"PK\x03\x04"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_OWN_MODULES = ("keras", "tensorflow", "tf_keras", "builtins")


@dataclass(frozen=True)
class KerasArchive:
    """A Keras file's description of itself.

    ``layers`` counts the layers by class; ``custom`` are the classes of others, whose code the file does not hold;
    ``lambdas`` the names of Lambda layers, which hold code as bytes.
    """

    kind: str
    keras_version: str
    class_name: str
    name: str
    size_bytes: int
    layers: dict[str, int]
    custom: tuple[str, ...]
    lambdas: tuple[str, ...]

    @property
    def major(self) -> int:
        """The major version of the Keras that wrote the file; 2 where it does not say."""
        head = self.keras_version.partition(".")[0]
        return int(head) if head.isdigit() else 2


def read_archive(path: Path) -> KerasArchive:
    """Read the configuration of a ``.keras`` or ``.h5`` file. No code in it is run.

    Raises:
        ModelError: it is missing, empty, damaged, something else, or has weights only.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise ModelError(f"no such model: {path}") from error
    except IsADirectoryError as error:
        raise ModelError(
            f"{path}: expected a .keras or .h5 file, got a folder",
            hint='save a model with model.save("model.keras")',
        ) from error
    except OSError as error:
        raise refused(error, path, "read") from error
    if head.startswith(_ZIP_MAGIC):
        kind, (config, version) = "keras", _from_zip(path)
    elif head == _HDF5_MAGIC:
        kind, (config, version) = "hdf5", _from_hdf5(path)
    else:
        got = "an empty file" if not head else f"one that begins with {head[:4]!r}"
        raise ModelError(
            f"{path}: expected a Keras model (.keras or .h5), got {got}",
            hint='save the trained model with model.save("model.keras")',
        )
    return _archive(kind, version, config, size)


def require_loadable(archive: KerasArchive, path: Path) -> None:
    """Refuse what cannot be loaded safely, or not at all.

    Raises:
        ModelError: there is a Lambda layer, or a layer whose code is elsewhere.
    """
    if archive.lambdas:
        raise ModelError(
            f"{path}: layer {', '.join(archive.lambdas)} is a Lambda, which holds program code that would be run",
            hint="use a layer of Keras in its place (Rescaling, Activation, keras.ops in a functional model), "
            "load the weights into that model and save it again",
        )
    if archive.custom:
        raise ModelError(
            f"{path}: the code of custom layers is not in the file: {', '.join(archive.custom)}",
            hint="build the model from layers of Keras, load the weights into it and save it again",
        )


def _from_zip(path: Path) -> tuple[dict[str, Any], str]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ModelError(f"{path}: damaged Keras model: the checksum of {damaged} is wrong")
            config = _json(_member(archive, "config.json", path), path)
            names = archive.namelist()
            metadata = _json(_member(archive, "metadata.json", path), path) if "metadata.json" in names else {}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: damaged Keras model: {error}", hint="copy or save it again") from error
    return config, str(metadata.get("keras_version", ""))


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        if archive.getinfo(name).file_size > _MAX_CONFIG_BYTES:
            raise ModelError(f"{path}: {name}: expected at most {_MAX_CONFIG_BYTES >> 20} MB")
        return archive.read(name)
    except KeyError as error:
        raise ModelError(
            f"{path}: a ZIP without {name}, so no Keras model", hint='save one with model.save("model.keras")'
        ) from error


def _from_hdf5(path: Path) -> tuple[dict[str, Any], str]:
    import h5py  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; 0.2 s, for those who have such a file

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: damaged HDF5 file: {error}", hint="copy or save it again") from error
    if config is None:
        raise ModelError(
            f"{path}: weights without the model that they belong to",
            hint='build the model, model.load_weights(…), then model.save("model.keras")',
        )
    return _json(_as_bytes(config), path), _as_bytes(version).decode("utf-8", errors="replace")


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _json(content: bytes, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its configuration is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a table as its configuration, got {type(data).__name__}")
    return data


def _archive(kind: str, version: str, config: dict[str, Any], size: int) -> KerasArchive:
    objects = list(_objects(config))
    inner = config.get("config")
    layers = Counter(str(item["class_name"]) for item in _layers(config))
    custom = sorted({_full_name(item) for item in objects if _is_custom(item)})
    # A Lambda layer holds its function as "__lambda__"; an activation can be one too.
    layer_names = {_name(item) for item in objects if item["class_name"] == "Lambda"}
    lambdas = sorted(layer_names or {_name(item) for item in objects if item["class_name"] == "__lambda__"})
    name = str(inner.get("name", "")) if isinstance(inner, dict) else ""
    class_name = str(config.get("class_name", ""))
    return KerasArchive(kind, version, class_name, name, size, dict(layers), tuple(custom), tuple(lambdas))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object in a configuration, at any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class_name"), str):
                yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _layers(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the layers of a model and of the models inside it."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict) or "class_name" not in layer:
            continue
        nested = layer.get("config")
        if isinstance(nested, dict) and "layers" in nested:
            yield from _layers(layer)
        else:
            yield layer


def _is_custom(item: dict[str, Any]) -> bool:
    """Whether an object is neither of Keras nor a plain function name. Keras 2 files do not tell."""
    module, registered = item.get("module"), item.get("registered_name")
    if isinstance(module, str):
        return module.split(".")[0] not in _OWN_MODULES
    return isinstance(registered, str)


def _full_name(item: dict[str, Any]) -> str:
    return str(item.get("registered_name") or f"{item.get('module')}.{item['class_name']}")


def _name(item: dict[str, Any]) -> str:
    config = item.get("config")
    return str(config.get("name", "lambda")) if isinstance(config, dict) else "lambda"
