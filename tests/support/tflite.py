"""Small models that run, with their ModelSpec beside them, so that tests of the runtime need no framework."""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from device_runtime.contract.decode import dumps
from device_runtime.contract.model import ImagePrep, ModelSpec, Resize, TaskSpec, TensorSpec
from tests.support.tiny_tflite import Net, Op, Tensor, build


def brightness_model(path: Path, size: int = 8, labels=("dark", "red", "green", "blue"), bias: float = 0.25):
    """Write a float classifier whose answer can be computed by hand: the mean of each channel picks the class.

    Input (1, size, size, 3) float32 in 0–1; logits: a constant ``bias`` for ``dark``, and each channel's mean.
    Returns its ModelSpec, which is written beside it.
    """
    weights = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    tensors = [
        Tensor("image", (1, size, size, 3)),
        Tensor("axes", (2,), "int32", values=np.array([1, 2], np.int32)),
        Tensor("means", (1, 3)),
        Tensor("weights", weights.shape, values=weights),
        Tensor("bias", (4,), values=np.array([bias, 0, 0, 0], np.float32)),
        Tensor("logits", (1, 4)),
    ]
    operators = [
        Op("MEAN", [0, 1], [2], options=(schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT())),
        Op(
            "FULLY_CONNECTED",
            [2, 3, 4],
            [5],
            options=(schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()),
        ),
    ]
    path.write_bytes(build(Net(tensors, operators)))
    spec = ModelSpec(
        path.stem,
        TaskSpec("classification", "logits"),
        ImagePrep(size, size, mean=(0.0,), std=(255.0,)),
        (TensorSpec("image", (1, size, size, 3), "float32"),),
        (TensorSpec("logits", (1, 4), "float32"),),
        tuple(labels),
    )
    path.with_suffix(".json").write_text(dumps(spec))
    return spec


def constant_model(path: Path, outputs, size=(8, 8), dtype="uint8", scale=1 / 255, zero_point=0):
    """Write a model that answers the same whatever it sees.

    ``outputs`` are (name, array, scale, zero_point) tuples; the input is (1, height, width, 3).
    Returns (input spec, output specs).
    """
    width, height = size
    in_scale = 0.0 if dtype == "float32" else scale
    tensors = [Tensor("image", (1, height, width, 3), dtype, in_scale, zero_point)]
    operators, results, specs = [], [], []
    options = (schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT())
    for name, array, out_scale, out_zero in outputs:
        stored = np.asarray(array)
        first = len(tensors)
        kind = (stored.shape, stored.dtype.name, out_scale, out_zero)
        tensors += [
            Tensor(f"{name}-answer", *kind, values=stored),
            Tensor(f"{name}-shape", (stored.ndim,), "int32", values=np.array(stored.shape, np.int32)),
            Tensor(name, *kind),
        ]
        operators.append(Op("RESHAPE", [first, first + 1], [first + 2], options=options))
        results.append(first + 2)
        specs.append(TensorSpec(name, *kind))
    path.write_bytes(build(Net(tensors, operators, outputs=results)))
    return TensorSpec("image", (1, height, width, 3), dtype, in_scale, zero_point), tuple(specs)


def segmenter_model(path: Path, ids, labels=(), size=(8, 8), resize=Resize.STRETCH):
    """Write a segmenter that always answers the class map ``ids`` (h, w)."""
    image, outputs = constant_model(path, [("ids", np.asarray(ids, np.int32)[None], 0.0, 0)], size)
    prep = ImagePrep(size[0], size[1], resize=resize, mean=(0.0,), std=(255.0,))
    spec = ModelSpec(path.stem, TaskSpec("segmentation", "class-map"), prep, (image,), outputs, tuple(labels))
    path.with_suffix(".json").write_text(dumps(spec))
    return spec


def regressor_model(path: Path, numbers, labels=(), size=(8, 8)):
    """Write a regressor that always answers ``numbers``."""
    image, outputs = constant_model(path, [("out", np.asarray([numbers], np.float32), 0.0, 0)], size)
    prep = ImagePrep(size[0], size[1], mean=(0.0,), std=(255.0,))
    spec = ModelSpec(path.stem, TaskSpec("regression", "values"), prep, (image,), outputs, tuple(labels))
    path.with_suffix(".json").write_text(dumps(spec))
    return spec


def pose_model(path: Path, points, labels=(), size=(8, 8), **task):
    """Write a model that always answers one pose of ``points`` (k, 3) y x score, as MoveNet does."""
    tensor = np.asarray(points, np.float32)[None, None]
    image, outputs = constant_model(path, [("points", tensor, 0.0, 0)], size)
    task = TaskSpec("pose", "movenet", **({"score_threshold": 0.3} | task))
    prep = ImagePrep(size[0], size[1], mean=(0.0,), std=(255.0,))
    spec = ModelSpec(path.stem, task, prep, (image,), outputs, tuple(labels))
    path.with_suffix(".json").write_text(dumps(spec))
    return spec


def tensor_model(path: Path):
    """Write a model of two inputs that are no pictures: (1, 2) and (1, 2) float32; it answers their sum."""
    tensors = [Tensor("left", (1, 2)), Tensor("right", (1, 2)), Tensor("sum", (1, 2))]
    options = (schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
    path.write_bytes(build(Net(tensors, [Op("ADD", [0, 1], [2], options=options)], inputs=[0, 1])))
    inputs = (TensorSpec("left", (1, 2), "float32"), TensorSpec("right", (1, 2), "float32"))
    outputs = (TensorSpec("sum", (1, 2), "float32"),)
    spec = ModelSpec(path.stem, TaskSpec("regression", "values"), None, inputs, outputs)
    path.with_suffix(".json").write_text(dumps(spec))
    return spec


def detector_model(path: Path, boxes, scores, labels=(), size=(64, 48), **task):
    """Write a detector that always answers ``boxes`` (n, 4) fractions x1 y1 x2 y2 and ``scores`` (n, classes)."""
    boxes = np.asarray(boxes, np.float32)[None]
    scores = np.asarray(scores, np.float32)[None]
    image, outputs = constant_model(path, [("boxes", boxes, 0.0, 0), ("scores", scores, 0.0, 0)], size)
    spec = ModelSpec(
        path.stem,
        TaskSpec("detection", "boxes-scores", **({"score_threshold": 0.5, "max_items": 100} | task)),
        ImagePrep(size[0], size[1], resize=Resize.STRETCH, mean=(0.0,), std=(255.0,)),
        (image,),
        outputs,
        tuple(labels),
    )
    path.with_suffix(".json").write_text(dumps(spec))
    return spec
