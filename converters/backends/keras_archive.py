"""What a Keras file says of itself before it is loaded: enough to refuse what is unsafe, and to describe the rest."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.tflite_reader import MAX_BYTES
from device_runtime.errors import ModelError
from device_runtime.files import refused

_MAX_CONFIG_BYTES = 64 << 20
_ZIP_MAGIC = b"PK\x03\x04"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_WEIGHTS = "model.weights.h5"
_OPTIMIZER = ("optimizer", "optimizer_weights")
_OWN_MODULES = ("keras", "tf_keras", "builtins")
_NOT_LAYERS = ("callbacks", "config", "datasets", "export", "saving", "tree", "utils", "wrappers")
"""Parts of Keras whose functions download, unpack, write or unlock: a model has no use for them."""
_PURE_MODULES = (
    "__operators__.",
    "image.",
    "keras.activations.",
    "keras.backend.",
    "linalg.",
    "math.",
    "nn.",
    "signal.",
)
_PURE_FUNCTIONS = frozenset(
    """
    broadcast_to cast clip_by_value compat.v1.transpose concat convert_to_tensor expand_dims fill gather gather_nd
    identity ones_like one_hot pad range repeat reshape reverse roll shape size slice split squeeze stack
    stop_gradient strided_slice tile transpose unstack where zeros_like
    """.split()  # noqa: SIM905 - words read better without quotes
)
"""Parts and functions of TensorFlow that only compute. A Keras 2 file calls functions by name (class TFOpLambda); one
such as ``load_op_library`` or ``io.write_file`` must not be among them."""


@dataclass(frozen=True)
class KerasArchive:
    """A Keras file's description of itself.

    ``layers`` counts the layers by class; ``custom`` are the classes of others, whose code the file does not hold;
    ``lambdas`` the names of Lambda layers, which hold code as bytes. ``weight_bytes`` is the size of all weights as
    float32, without what an optimizer keeps.
    """

    kind: str
    keras_version: str
    class_name: str
    name: str
    size_bytes: int
    layers: dict[str, int]
    custom: tuple[str, ...]
    lambdas: tuple[str, ...]
    weight_bytes: int = 0

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
        kind, (config, version, weights) = "keras", _from_zip(path)
    elif head == _HDF5_MAGIC:
        kind, (config, version, weights) = "hdf5", _from_hdf5(path)
    else:
        got = "an empty file" if not head else f"one that begins with {head[:4]!r}"
        raise ModelError(
            f"{path}: expected a Keras model (.keras or .h5), got {got}",
            hint='save the trained model with model.save("model.keras")',
        )
    archive = _archive(kind, version, config, size)
    return replace(archive, weight_bytes=weights)


def require_loadable(archive: KerasArchive, path: Path) -> None:
    """Refuse what cannot be loaded safely, or not at all.

    Raises:
        ModelError: it is too large for TFLite, or there is a Lambda layer, or a layer whose code is elsewhere.
    """
    if archive.weight_bytes > MAX_BYTES:
        raise ModelError(
            f"{path}: expected weights of less than 2 GB, the most that a TFLite file holds, "
            f"got {archive.weight_bytes / 1e9:.1f} GB",
            hint="make the model smaller, or split it into parts that are converted each on their own",
        )
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


def _from_zip(path: Path) -> tuple[dict[str, Any], str, int]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            weights = _weights_in_zip(archive, path) if _WEIGHTS in names else 0
            damaged = archive.testzip() if weights <= MAX_BYTES else None
            if damaged is not None:
                raise ModelError(f"{path}: damaged Keras model: the checksum of {damaged} is wrong")
            config = _json(_member(archive, "config.json", path), path)
            metadata = _json(_member(archive, "metadata.json", path), path) if "metadata.json" in names else {}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: damaged Keras model: {error}", hint="copy or save it again") from error
    return config, str(metadata.get("keras_version", "")), weights


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        if archive.getinfo(name).file_size > _MAX_CONFIG_BYTES:
            raise ModelError(f"{path}: {name}: expected at most {_MAX_CONFIG_BYTES >> 20} MB")
        return archive.read(name)
    except KeyError as error:
        raise ModelError(
            f"{path}: a ZIP without {name}, so no Keras model", hint='save one with model.save("model.keras")'
        ) from error


def _weights_in_zip(archive: zipfile.ZipFile, path: Path) -> int:
    import h5py  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; 0.2 s, for those who have such a file

    try:
        with archive.open(_WEIGHTS) as stream, h5py.File(stream, "r") as file:
            return _weight_bytes(file, path)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: damaged weights: {error}", hint="copy or save it again") from error


def _from_hdf5(path: Path) -> tuple[dict[str, Any], str, int]:
    import h5py  # noqa: PLC0415 - as above

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
            weights = _weight_bytes(file, path)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: damaged HDF5 file: {error}", hint="copy or save it again") from error
    if config is None:
        raise ModelError(
            f"{path}: weights without the model that they belong to",
            hint='build the model, model.load_weights(…), then model.save("model.keras")',
        )
    return _json(_as_bytes(config), path), _as_bytes(version).decode("utf-8", errors="replace"), weights


def _weight_bytes(file: Any, path: Path) -> int:
    """Return the size of all weights as float32; none is read. Raises ModelError where one lies in another file."""
    import h5py  # noqa: PLC0415 - as above

    count = 0

    def look(name: str, item: Any) -> None:
        nonlocal count
        links = [item.get(key, getlink=True) for key in item] if isinstance(item, h5py.Group) else []
        if any(isinstance(link, h5py.ExternalLink) for link in links) or getattr(item, "external", None):
            raise ModelError(f"{path}: {name} lies in another file, which a model must not ask for")
        if isinstance(item, h5py.Dataset) and name.partition("/")[0] not in _OPTIMIZER:
            count += item.size or 0

    look("/", file)
    file.visititems(look)  # each object once, whatever its links
    return 4 * count


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
    if item["class_name"] in ("TFOpLambda", "SlicingOpLambda"):
        return not _is_pure(item)
    module, registered = item.get("module"), item.get("registered_name")
    if isinstance(module, str):
        parts = [part for part in module.split(".") if part != "src"]
        return parts[0] not in _OWN_MODULES or any(part in _NOT_LAYERS for part in parts[1:])
    return isinstance(registered, str)


def _is_pure(item: dict[str, Any]) -> bool:
    """Whether a layer of Keras 2 that calls a function of TensorFlow calls one that only computes."""
    config = item.get("config")
    function = config.get("function") if isinstance(config, dict) else None
    return isinstance(function, str) and (function in _PURE_FUNCTIONS or function.startswith(_PURE_MODULES))


def _full_name(item: dict[str, Any]) -> str:
    config = item.get("config")
    if item["class_name"] in ("TFOpLambda", "SlicingOpLambda"):
        return f"tf.{config.get('function') if isinstance(config, dict) else None}"
    return str(item.get("registered_name") or f"{item.get('module')}.{item['class_name']}")


def _name(item: dict[str, Any]) -> str:
    config = item.get("config")
    return str(config.get("name", "lambda")) if isinstance(config, dict) else "lambda"
