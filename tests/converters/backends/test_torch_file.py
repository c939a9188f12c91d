"""PyTorch programs' files as they look before torch reads them: plain ones pass, ones that bring code do not."""

import json
import os
import pickle
import warnings
import zipfile

import pytest

from converters.backends.torch_file import check_file
from device_runtime.errors import ModelError

WEIGHT = {"path_name": "weight_0", "is_param": True, "use_pickle": False}
SIZE = "Mul(Integer(4), Symbol('s39', positive=True, integer=True))"


def node(target="torch.ops.aten.conv2d.default"):
    return {"target": target, "inputs": []}


def program(nodes=None, sizes=(SIZE,), constraints=("4*s39",)):
    values = [{"as_expr": {"expr_str": size}} for size in sizes]
    return {
        "graph_module": {"graph": {"nodes": [node()] if nodes is None else nodes, "sym_int_values": values}},
        "range_constraints": {name: {"min_val": 8} for name in constraints},
    }


@pytest.fixture
def save(tmp_path):
    """Write an archive as ``torch.export.save`` lays it out, with some of it changed."""

    def write(*, model=None, weights=None, constants=None, more=(), without=()):
        files = {
            "archive_format": "pt2",
            "models/model.json": json.dumps(program() if model is None else model),
            "data/weights/model_weights_config.json": json.dumps({"config": weights or {"w": WEIGHT}}),
            "data/constants/model_constants_config.json": json.dumps({"config": constants or {}}),
            "data/weights/weight_0": "0000",
            "data/sample_inputs/model.pt": "",
            ".data/version": "3",
            "byteorder": "little",
            **dict(more),
        }
        path = tmp_path / "model.pt2"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                if name not in without:
                    archive.writestr(f"any-name/{name}", content)
        return path

    return write


def refused(path):
    with pytest.raises(ModelError) as caught:
        check_file(path)
    assert "torch.export.save(" in caught.value.hint
    return str(caught.value)


def test_a_plain_program_passes(save):
    check_file(save())


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.add.Tensor",
        "torch.ops.higher_order.wrap_with_set_grad_enabled",
        "_operator.getitem",
        "torch.sym_min",
    ],
)
def test_operators_of_pytorch_pass(save, target):
    check_file(save(model=program([node(target)])))


def test_a_pickled_weight_is_refused(save):
    message = refused(save(weights={"w": {**WEIGHT, "use_pickle": True}}))
    assert "w is pickled; reading it could run code" in message


def test_a_pickled_constant_is_refused(save):
    assert "c is pickled" in refused(save(constants={"c": {**WEIGHT, "use_pickle": True}}))


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/constants/model.pt",
        "data/weights/model.pt",
        "data/aotinductor/model/x.so",
        "code/run.py",
        "models/other.json",
    ],
)
def test_what_is_no_tensor_is_refused(save, name):
    assert name in refused(save(more={name: pickle.dumps(os.getcwd)}.items()))


@pytest.mark.parametrize(
    "target",
    ["torch.hub.load", "torch.load", "torch.ops.load_library", "_operator.methodcaller", "#mine", "math.__doc__"],
)
def test_functions_that_are_no_operators_are_refused(save, target):
    with pytest.raises(ModelError, match="expected PyTorch's own operators"):
        check_file(save(model=program([node(target)])))


@pytest.mark.parametrize(
    "size",
    [
        "__import__('os').system('true')",
        "exec('1')",
        "Symbol('s0').__class__",
        "(lambda: 1)()",
        "[1 for s0 in Max]",
        "Symbol('__import__')",
        "open(s0)",
    ],
)
def test_sizes_that_are_computed_by_more_than_arithmetic_are_refused(save, size):
    assert "a size in it is computed by" in refused(save(model=program(sizes=[size])))
    assert "a size in it is computed by" in refused(save(model=program(constraints=[size])))


@pytest.mark.parametrize("size", [SIZE, "4*s39 + 1", "Max(1, s0 // 2)", "Ne(Symbol('u0', integer=True), 1)", "-int_oo"])
def test_arithmetic_of_sizes_passes(save, size):
    check_file(save(model=program(sizes=[size])))


@pytest.mark.parametrize("name", ["any-name/models/model.json", "any-name/DATA/Weights/weight_0"])
def test_two_parts_of_one_name_are_refused(save, name):
    path = save()
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr(name, "another")
    assert "two of its parts have the same name" in refused(path)


def test_a_part_outside_of_the_programs_folder_is_refused(save):
    path = save()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("models/model.json", "{}")
    assert "models/model.json" in refused(path)


def test_a_program_of_the_older_format_is_refused(tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    assert "which pickles weights" in refused(path)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x80\x02}q\x00."])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    assert "not a program of torch.export" in refused(path)


def test_another_archive_is_refused(tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x02}q\x00.")
    assert "it has no archive_format" in refused(path)


@pytest.mark.parametrize("part", ["models/model.json", "data/weights/model_weights_config.json"])
def test_an_archive_that_lacks_a_part_is_refused(save, part):
    assert part in refused(save(without=[part]))
