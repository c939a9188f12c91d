"""Writes the ONNX models that tests open; run by the Python of the environment that reads them.

    python make_onnx.py FOLDER

None is trained: what matters is that an export answers as they do.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
_GENERATOR = np.random.default_rng(0)


def main(folder):
    for name, make in {**GOOD, **BAD}.items():
        onnx.save(make(), folder / f"{name}.onnx")
    apart = external()
    onnx.save(apart, folder / "external.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").unlink()


def weights(name, *shape, dtype=np.float32):
    return numpy_helper.from_array((_GENERATOR.normal(size=shape) * 0.3).astype(dtype), name)


def whole(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def positive(name, count):
    return numpy_helper.from_array(_GENERATOR.uniform(0.5, 1.5, count).astype(np.float32), name)


def tensor(name, *shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, initializers, opset=17):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(","), output.split(","), **attributes)


def classifier(batch=1, height=SIDE, width=SIDE):
    nodes = [
        node("Conv", "image,w,b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "c,scale,offset,mean,variance", "n"),
        node("Relu", "n", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f,fw,fb", "logits", transB=1),
        node("Softmax", "logits", "scores", axis=1),
    ]
    values = [weights("w", 8, 3, 3, 3), weights("b", 8), weights("fw", 5, 8), weights("fb", 5)]
    values += [positive("scale", 8), weights("offset", 8), weights("mean", 8), positive("variance", 8)]
    return model(nodes, [tensor("image", batch, 3, height, width)], [tensor("scores", batch, 5)], values)


def mobile_block():
    """A block as MobileNetV3 has it: hard-swish, depthwise, squeeze and excite; its output is an image."""
    nodes = [
        node("Conv", "image,w", "c", pads=[0, 0, 1, 1], strides=[2, 2]),
        node("HardSwish", "c", "d"),
        node("Conv", "d,dw", "e", pads=[2, 2, 2, 2], group=8),
        node("HardSwish", "e", "f"),
        node("GlobalAveragePool", "f", "p"),
        node("Conv", "p,s1", "q"),
        node("Relu", "q", "r"),
        node("Conv", "r,s2", "s"),
        node("HardSigmoid", "s", "t", alpha=1 / 6, beta=0.5),
        node("Mul", "f,t", "u"),
        node("Conv", "u,pw", "v"),
        node("Add", "v,d", "features"),
    ]
    values = [weights("w", 8, 3, 3, 3), weights("dw", 8, 1, 5, 5), weights("s1", 4, 8, 1, 1)]
    values += [weights("s2", 8, 4, 1, 1), weights("pw", 8, 8, 1, 1)]
    return model(nodes, [tensor("image", 1, 3, SIDE, SIDE)], [tensor("features", 1, 8, 8, 8)], values)


def gated(kind, gate="Sigmoid", *, last=True):
    """Squeeze and excite behind an activation, as MobileNetV3 and EfficientNet have it."""
    nodes = [
        node("Conv", "image,w", "c", pads=[1, 1, 1, 1]),
        node(kind, "c", "d"),
        node("GlobalAveragePool", "d", "p"),
        node("Conv", "p,s,sb", "q"),
        node(gate, "q", "r"),
        node("Mul", "d,r", "u"),
        node("Conv", "u,pw", "features") if last else node("Identity", "u", "features"),
    ]
    values = [weights("w", 8, 3, 3, 3), weights("s", 8, 8, 1, 1), weights("sb", 8), weights("pw", 8, 8, 1, 1)]
    return model(nodes, [tensor("image", 1, 3, SIDE, SIDE)], [tensor("features", 1, 8, SIDE, SIDE)], values)


def two_outputs():
    nodes = [
        node("Conv", "image,w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "d"),
        node("GlobalAveragePool", "d", "p"),
        node("Flatten", "p", "kind"),
        node("Conv", "d,bw", "b"),
        node("Transpose", "b", "bt", perm=[0, 2, 3, 1]),
        node("Reshape", "bt,rows", "boxes"),
    ]
    values = [weights("w", 8, 3, 3, 3), weights("bw", 4, 8, 1, 1), whole("rows", 1, -1, 4)]
    outputs = [tensor("kind", 1, 8), tensor("boxes", 1, SIDE * SIDE, 4)]
    return model(nodes, [tensor("image", 1, 3, SIDE, SIDE)], outputs, values)


def concat_resize():
    nodes = [
        node("Conv", "image,w", "c", pads=[1, 1, 1, 1]),
        node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
        node(
            "Resize",
            "d,,twice",
            "near",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        node("Resize", "d,,twice", "soft", mode="linear"),
        node("Concat", "c,near,soft", "k", axis=1),
        node("Conv", "k,w2", "map", pads=[1, 1, 1, 1]),
    ]
    values = [weights("w", 8, 3, 3, 3), weights("w2", 6, 24, 3, 3)]
    values.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    return model(nodes, [tensor("image", 1, 3, 12, 20)], [tensor("map", 1, 6, 12, 20)], values)


def two_inputs():
    nodes = [
        node("Conv", "image,w", "c"),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "f"),
        node("Concat", "f,vector", "k", axis=1),
        node("MatMul", "k,m", "value"),
    ]
    inputs = [tensor("vector", 1, 4), tensor("image", 1, 3, SIDE, SIDE)]
    return model(nodes, inputs, [tensor("value", 1, 2)], [weights("w", 8, 3, 3, 3), weights("m", 12, 2)])


def channels_last():
    """An image model as TensorFlow's exporter writes it: it turns its input itself."""
    nodes = [
        node("Transpose", "image", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t,w", "c"),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "scores"),
    ]
    return model(nodes, [tensor("image", 1, SIDE, SIDE, 3)], [tensor("scores", 1, 8)], [weights("w", 8, 3, 3, 3)])


def even_sides():
    """Height, width and channels are the same, and it mixes channels: whoever guesses by sizes is wrong."""
    nodes = [
        node("Conv", "image,w", "c", pads=[1, 1, 1, 1]),
        node("Reshape", "c,groups", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "t,back", "u"),
        node("Conv", "u,w2", "map", pads=[1, 1, 1, 1], group=2),
    ]
    values = [
        weights("w", 8, 3, 3, 3),
        weights("w2", 8, 4, 3, 3),
        whole("groups", 1, 2, 4, 8, 8),
        whole("back", 1, 8, 8, 8),
    ]
    return model(nodes, [tensor("image", 1, 3, 8, 8)], [tensor("map", 1, 8, 8, 8)], values)


def recurrent(*, batch_first=True):
    nodes = [
        node("Transpose", "steps", "x", perm=[1, 0, 2]) if batch_first else node("Identity", "steps", "x"),
        node("LSTM", "x,w,r,b", "every,last", hidden_size=5),
        node("Squeeze", "last,axis", "state"),
    ]
    values = [weights("w", 1, 20, 4), weights("r", 1, 20, 5), weights("b", 1, 40), whole("axis", 0)]
    shape = (1, 6, 4) if batch_first else (6, 1, 4)
    return model(nodes, [tensor("steps", *shape)], [tensor("state", 1, 5)], values)


def tensors():
    nodes = [node("MatMul", "x,m", "a"), node("Tanh", "a", "y")]
    return model(nodes, [tensor("x", "n", 7)], [tensor("y", "n", 3)], [weights("m", 7, 3)])


def steps():
    """A product with one constant matrix at each of six steps."""
    nodes = [node("MatMul", "x,m", "a"), node("Add", "a,b", "y")]
    return model(nodes, [tensor("x", 1, 6, 7)], [tensor("y", 1, 6, 3)], [weights("m", 7, 3), weights("b", 3)])


def listed_weights():
    """Weights among the inputs, as exporters wrote them up to ONNX's version 1.3."""
    made = classifier()
    made.graph.input.extend(tensor(item.name, *item.dims) for item in made.graph.initializer)
    return made


def of_type(dtype, kind):
    nodes = [node("MatMul", "x,m", "a"), node("Relu", "a", "y")]
    return model(
        nodes, [tensor("x", 1, 7, dtype=kind)], [tensor("y", 1, 3, dtype=kind)], [weights("m", 7, 3, dtype=dtype)]
    )


def not_a_number():
    made = classifier()
    values = numpy_helper.to_array(made.graph.initializer[0]).copy()
    values.flat[0] = np.nan
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
    return made


def unknown_operator(kind, domain=""):
    nodes = [helper.make_node(kind, ["x"], ["y"], name="strange", domain=domain)]
    return model(nodes, [tensor("x", 1, 7)], [tensor("y", 1, 7)], [])


def newer_operators():
    made = classifier()
    made.opset_import[0].version = 99
    return made


def text():
    return model(
        [node("Identity", "x", "y")],
        [tensor("x", 1, dtype=TensorProto.STRING)],
        [tensor("y", 1, dtype=TensorProto.STRING)],
        [],
    )


def external():
    return classifier()


def inconvertible():
    """ONNX Runtime can run it, and TFLite has nothing like it."""
    nodes = [node("Conv", "image,w", "c"), node("Flatten", "c", "f"), node("Unique", "f", "y")]
    return model(nodes, [tensor("image", 1, 3, SIDE, SIDE)], [tensor("y", "found")], [weights("w", 2, 3, 3, 3)])


def norm_of_channels():
    """A layer norm over channels at the end, which onnx2tf 2.6.9 writes with its axes in another order."""
    nodes = [
        node("Conv", "image,w", "c", pads=[1, 1, 1, 1]),
        node("Transpose", "c", "t", perm=[0, 2, 3, 1]),
        node("LayerNormalization", "t,scale,offset", "n"),
        node("Transpose", "n", "features", perm=[0, 3, 1, 2]),
    ]
    values = [weights("w", 8, 3, 3, 3), weights("scale", 8), weights("offset", 8)]
    return model(nodes, [tensor("image", 1, 3, SIDE, SIDE)], [tensor("features", 1, 8, SIDE, SIDE)], values)


GOOD = {
    "classifier": classifier,
    "mobile-block": mobile_block,
    "gated-hardswish": lambda: gated("HardSwish", "HardSigmoid"),
    "gated-tanh": lambda: gated("Tanh"),
    "gated-at-the-end": lambda: gated("Elu", last=False),
    "two-outputs": two_outputs,
    "concat-resize": concat_resize,
    "two-inputs": two_inputs,
    "channels-last": channels_last,
    "even-sides": even_sides,
    "recurrent": recurrent,
    "tensors": tensors,
    "steps": steps,
    "listed-weights": listed_weights,
    "open-batch": lambda: classifier(batch="n"),
    "open-size": lambda: classifier(batch="n", height="h", width="w"),
    "half": lambda: of_type(np.float16, TensorProto.FLOAT16),
    "double": lambda: of_type(np.float64, TensorProto.DOUBLE),
}
BAD = {
    "not-a-number": not_a_number,
    "unknown-operator": lambda: unknown_operator("Frobnicate"),
    "custom-operator": lambda: unknown_operator("Gelu", "com.microsoft"),
    "newer-operators": newer_operators,
    "text": text,
    "batch-of-4": lambda: classifier(batch=4),
    "steps-first": lambda: recurrent(batch_first=False),
    "inconvertible": inconvertible,
    "norm-of-channels": norm_of_channels,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
