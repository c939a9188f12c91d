"""What a SavedModel says of itself before it is loaded: its signatures, and operators that a model must not have.

A TensorFlow graph is a program: its operators can read and write files, run Python functions that the process knows,
and talk to the network. Child process only: TensorFlow has the format's definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # TensorFlow's; no stubs here
from tensorflow.core.protobuf import saved_model_pb2

from converters.backends.interface import InputFacts
from converters.jobs import ReadSignatures, Signature, Signatures
from converters.natural_order import natural_key
from converters.tflite_reader import MAX_BYTES
from device_runtime.contract.events import Events
from device_runtime.errors import ModelError, UsageError
from device_runtime.files import refused

DEFAULT_SIGNATURE = "serving_default"
_GRAPH_FILE = "saved_model.pb"
_TAG = "serve"
_INIT = "__saved_model_init_op"
_MAX_SHOWN = 5

_UNSAFE = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|PyFunc\w*|EagerPyFunc|PyFuncStateless|\w*Reader(V2)?|\w*Dataset(V\d)?"
    r"|InitializeTableFromTextFile(V2)?|\w*Summary\w*|DebugIdentity(V\d)?|DebugNanCount|DebugNumericSummary(V2)?"
    r"|Rpc\w*|TryRpc|_?(Host)?Send|_?(Host)?Recv|DeleteFile|RenameFile|Bigtable\w*|CloudBigtable\w*|LMDB\w*|SqlDataset"
    r"|ImportEvent|PrintV2|LogMessage"
)
_SAVER = re.compile(r"SaveV2|Save|SaveSlices|MergeV2Checkpoints|RestoreV2|Restore|RestoreSlice|ShardedFilename")
"""Every SavedModel holds these for its own weights: in functions of these names, or in nodes of this name scope."""
_SAVER_FUNCTION = re.compile(r"__inference__traced_(save|restore)_\d+")
_SAVER_SCOPE = re.compile(r"save(_\d+)?/")


def read_graph(folder: Path) -> Any:
    """Return the graph (``MetaGraphDef``) of a SavedModel that is meant for use; nothing is loaded.

    Raises:
        ModelError: it is missing, damaged or too large, or has an operator that reaches out of the model.
    """
    try:
        content = (folder / _GRAPH_FILE).read_bytes()
        size = sum(path.stat().st_size for path in (folder / "variables").glob("variables.data-*"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: expected a SavedModel, got a folder without {_GRAPH_FILE}") from error
    except OSError as error:
        raise refused(error, folder / _GRAPH_FILE, "read") from error
    if size > MAX_BYTES:
        raise ModelError(
            f"{folder}: expected weights of less than 2 GB, the most that a TFLite file holds, got {size / 1e9:.1f} GB",
            hint="save it without the optimizer: model.export(FOLDER); or split it into parts",
        )
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(
            f"{folder}: damaged SavedModel: {_GRAPH_FILE}: {error}", hint="copy or save it again"
        ) from error
    graphs = [graph for graph in saved.meta_graphs if _TAG in graph.meta_info_def.tags]
    if not graphs:
        found = [", ".join(graph.meta_info_def.tags) or "no tag" for graph in saved.meta_graphs]
        raise ModelError(
            f'{folder}: expected a graph with the tag "{_TAG}", got {"; ".join(found) or "none"}',
            hint="save it with tf.saved_model.save or model.export",
        )
    _require_safe(graphs[0], folder)
    return graphs[0]


def read_signatures(job: ReadSignatures, events: Events) -> Signatures:
    """Return what each signature of a SavedModel takes and gives. Raises ModelError as ``read_graph``."""
    del events
    found = read_graph(Path(job.source)).signature_def
    return Signatures(
        tuple(
            Signature(name, _tensors(found[name].inputs), _tensors(found[name].outputs))
            for name in sorted(found)
            if name != _INIT
        )
    )


def choose_signature(graph: Any, wanted: str | None, folder: Path) -> str:
    """Return the name of the signature to convert: the one that is wanted, the default, or the only one.

    Raises:
        UsageError: it has none of that name, or several and no default.
        ModelError: it has none, or one without inputs or outputs.
    """
    known = {name: item for name, item in sorted(graph.signature_def.items()) if name != _INIT}
    if not known:
        raise ModelError(
            f"{folder}: the SavedModel has no signature, which tells inputs and outputs",
            hint="save it with model.export(FOLDER), or tf.saved_model.save(model, FOLDER, signatures=FUNCTION)",
        )
    listed = ", ".join(known)
    if wanted is not None and wanted not in known:
        raise UsageError(f"{folder}: it has no signature {wanted!r}", hint=f"it has: {listed}")
    name = wanted or (DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in known else None)
    if name is None and len(known) > 1:
        raise UsageError(
            f"{folder}: which of its signatures to convert? {listed}", hint=f"--signature {next(iter(known))}"
        )
    name = name or next(iter(known))
    for what, tensors in (("inputs", known[name].inputs), ("outputs", known[name].outputs)):
        if not tensors:
            raise ModelError(
                f"{folder}: signature {name} has no {what}",
                hint=f"choose another one with --signature: {listed}"
                if len(known) > 1
                else "save it again with a function that takes and returns tensors",
            )
    return name


def _tensors(infos: Any) -> tuple[InputFacts, ...]:
    return tuple(
        InputFacts(
            name,
            tuple(None if side.size < 0 else int(side.size) for side in infos[name].tensor_shape.dim),
            tf.as_dtype(infos[name].dtype).name,
        )
        for name in sorted(infos, key=natural_key)
    )


def _require_safe(graph: Any, folder: Path) -> None:
    """Refuse operators that reach out of the model, wherever in the file they are."""
    loose = set(graph.object_graph_def.concrete_functions)
    found = set()
    for function, node in _nodes(graph.graph_def):
        if function:
            saver = bool(_SAVER_FUNCTION.fullmatch(function)) and function not in loose
        else:
            saver = bool(_SAVER_SCOPE.match(node.name))
        if _UNSAFE.fullmatch(node.op) or (_SAVER.fullmatch(node.op) and not saver):
            found.add(node.op)
        if node.op in ("PartitionedCall", "StatefulPartitionedCall") and function:
            called = node.attr["f"].func.name
            if _SAVER_FUNCTION.fullmatch(called):
                found.add(called)
    if found:
        shown = sorted(found)[:_MAX_SHOWN]
        raise ModelError(
            f"{folder}: its graph has operators that reach out of the model (files, Python, network): "
            f"{', '.join(shown)}{', …' if len(found) > _MAX_SHOWN else ''}",
            hint="save only the part between prepared tensors and answers; reading, look-up files and logs go outside",
        )


def _nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield every node with the function that it is in, empty for the graph itself."""
    for node in graph.node:
        yield "", node
    for function in graph.library.function:
        for node in function.node_def:
            yield function.signature.name, node
