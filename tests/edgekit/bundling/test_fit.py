import dataclasses

import pytest

from converters.tflite_reader import OperatorInfo, SubgraphInfo, TensorInfo, TfliteInfo
from device_runtime.contract.service import PageSpec, ServiceSpec
from device_runtime.errors import UnfitError
from edgekit.boards.catalog import find_boards
from edgekit.bundling.fit import PAGE_BYTES, RUNTIME_BYTES, memory_needed, require_memory, require_operators

MIB = 1 << 20
(ZERO,) = find_boards(("zero2w-bookworm",))


def model(size_bytes=1000, version=1, weights="int8"):
    tensors = (
        TensorInfo("input", (1, 100, 10), "float32"),
        TensorInfo("weights", (10, 10), weights, constant_bytes=100),
        TensorInfo("output", (1, 50), "uint8"),
    )
    operator = OperatorInfo("CONV_2D", version, custom=False, inputs=(0, 1, -1), outputs=(2,))
    return TfliteInfo(size_bytes, "", (SubgraphInfo("main", tensors, (operator,), (0,), (2,)),), {})


def test_memory_is_the_runtime_two_models_and_the_largest_step():
    assert memory_needed(model(), ServiceSpec()) == RUNTIME_BYTES + 2000 + 4000 + 50
    assert memory_needed(model(), ServiceSpec(page=PageSpec())) == RUNTIME_BYTES + PAGE_BYTES + 6050
    assert memory_needed(model(), ServiceSpec(workers=3)) == RUNTIME_BYTES + 3 * 6050


def test_a_type_that_numpy_does_not_have_counts_as_bytes():
    info = model()
    odd = dataclasses.replace(info.main, tensors=(TensorInfo("input", (8,), "int4"), *info.main.tensors[1:]))
    assert memory_needed(dataclasses.replace(info, subgraphs=(odd,)), ServiceSpec()) == RUNTIME_BYTES + 2000 + 58


def test_an_application_may_take_three_quarters_of_a_boards_memory():
    require_memory(ZERO, 384 * MIB)
    with pytest.raises(
        UnfitError, match=r"zero2w-bookworm has too little memory: .* 385 MiB, .*512 MiB .* 384"
    ) as caught:
        require_memory(ZERO, 385 * MIB)
    assert (caught.value.exit_code, "edgekit boards" in caught.value.hint) == (6, True)


def test_of_a_board_whose_memory_is_not_known_nothing_is_said():
    require_memory(find_boards(("aarch64-bookworm",))[0], 1 << 40)


def test_an_operator_that_the_engine_does_not_have_is_named_with_the_way_out():
    require_operators(ZERO, "litert", model(), "m.tflite")
    with pytest.raises(
        UnfitError, match=r"pi-bookworm-32 cannot run m\.tflite: CONV_2D \(output\): tflite-runtime .*up to"
    ) as caught:
        require_operators(find_boards(("pi-bookworm-32",))[0], "tflite-runtime", model(version=99), "m.tflite")
    assert caught.value.hint
    with pytest.raises(UnfitError, match="int4"):
        require_operators(find_boards(("pi-bookworm-32",))[0], "tflite-runtime", model(weights="int4"), "m.tflite")
