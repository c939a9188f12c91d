import zipfile

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.backends.keras_archive import read_archive, require_loadable
from device_runtime.errors import ModelError


def test_a_saved_model_tells_its_layers_without_being_loaded(trained):
    archive = read_archive(trained / "plain.keras")
    assert (archive.kind, archive.class_name, archive.name, archive.major) == ("keras", "Functional", "plain", 3)
    assert (archive.layers["Conv2D"], archive.layers["Dense"]) == (2, 1)
    assert (archive.custom, archive.lambdas) == ((), ())


def test_an_hdf5_file_tells_the_same(trained):
    assert read_archive(trained / "plain.h5").layers == read_archive(trained / "plain.keras").layers


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_lambda_layer_is_refused_with_the_way_out(trained, name):
    path = trained / name
    with pytest.raises(ModelError, match="is a Lambda") as caught:
        require_loadable(read_archive(path), path)
    assert "Rescaling" in caught.value.hint


def test_a_custom_layer_is_refused_by_name(trained):
    path = trained / "custom.keras"
    with pytest.raises(ModelError, match="not in the file: Mine"):
        require_loadable(read_archive(path), path)


def test_weights_alone_are_refused(trained):
    with pytest.raises(ModelError, match="weights without the model"):
        read_archive(trained / "only.weights.h5")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "got an empty file"),
        (b"\x1c\0\0\0TFL3", "expected a Keras model"),
        (b"PK\3\4 but no more", "damaged Keras model"),
        (b"\x89HDF\r\n\x1a\n and no more", "damaged HDF5 file"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, says):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        read_archive(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        read_archive(tmp_path / "absent.keras")
    with pytest.raises(ModelError, match="got a folder"):
        read_archive(tmp_path)


@pytest.mark.parametrize(("member", "content"), [("else.json", "{}"), ("config.json", "[1]"), ("config.json", "{")])
def test_a_zip_of_something_else_is_refused(tmp_path, member, content):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    with pytest.raises(ModelError):
        read_archive(path)


@settings(max_examples=60)
@given(share=st.floats(0, 0.999), position=st.floats(0, 0.999), value=st.integers(0, 255))
def test_a_truncated_or_damaged_model_is_read_or_refused(trained, tmp_path_factory, share, position, value):
    whole = bytearray((trained / "plain.keras").read_bytes())
    flipped = whole.copy()
    flipped[int(position * len(flipped))] ^= value
    for content in (whole[: int(share * len(whole))], flipped):
        path = tmp_path_factory.mktemp("damaged") / "model.keras"
        path.write_bytes(content)
        try:
            assert read_archive(path).class_name == "Functional"
        except ModelError as error:
            assert "model.keras" in str(error)  # noqa: PT017 - both outcomes are right


@pytest.mark.shared
def test_a_file_of_keras_2_tells_its_version(shared_data):
    archive = read_archive(shared_data / "models" / "vww_96.h5")
    assert (archive.major, archive.keras_version, archive.layers["DepthwiseConv2D"]) == (2, "2.4.0", 13)


def test_an_optimizers_values_are_no_weights(sources):
    assert read_archive(sources / "large-optimizer.h5").weight_bytes == 0
    assert read_archive(sources / "large.h5").weight_bytes == 2_400_000_000


def test_weights_that_lie_in_another_file_are_refused(trained, tmp_path):
    linked, outside = tmp_path / "linked.h5", tmp_path / "outside.h5"
    linked.write_bytes((trained / "plain.h5").read_bytes())
    with h5py.File(linked, "r+") as file:
        file["model_weights"]["more"] = h5py.ExternalLink(str(trained / "plain.h5"), "/model_weights")
    outside.write_bytes((trained / "plain.h5").read_bytes())
    with h5py.File(outside, "r+") as file:
        file.create_dataset("more", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    for path in (linked, outside):
        with pytest.raises(ModelError, match="lies in another file"):
            read_archive(path)


@pytest.mark.parametrize("module", ["keras.utils", "keras.src.utils.file_utils", "keras.config", "os"])
def test_an_object_that_is_no_part_of_a_model_is_refused(trained, tmp_path, module):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(trained / "plain.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                content = content.replace(b'"module": "keras.initializers"', f'"module": "{module}"'.encode())
            target.writestr(name, content)
    with pytest.raises(ModelError, match="custom layers"):
        require_loadable(read_archive(path), path)
