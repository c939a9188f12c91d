"""The whole way, mostly through a backend of another package, which needs no training framework."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters import convert
from converters.arrays import ArrayWriter, open_array
from converters.calibration import collect_samples
from converters.candidate import Made, verify
from converters.describe import describe_tflite, spec_beside
from converters.errors import ConversionError
from converters.interface import ConvertRequest, PrepOptions, TaskOptions
from converters.jobs import InputEncoding
from converters.recipe import recipe_named
from converters.source_stage import Evidence
from converters.tflite_reader import read_tflite
from device_runtime.contract.decode import read_json
from device_runtime.contract.events import Notice, silent
from device_runtime.contract.model import ModelSpec, Resize
from device_runtime.engine.litert import open_engine
from device_runtime.engine.values import real
from device_runtime.errors import BadFileError, EdgeError, ModelError, UsageError
from device_runtime.vision.frame import Frame
from device_runtime.vision.picture import list_pictures, read_picture
from device_runtime.vision.prepare import Preparer
from tests.support.colours import LABELS
from tests.support.quantising import quantise

_NUMPY_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
}
SIGNED = PrepOptions(mean=(127.5,), std=(127.5,))


@pytest.fixture
def request_for(trained, tmp_path):
    def make(source, **changes):
        settings = {"prep": SIGNED, "calibration": trained / "pictures", **changes}
        return ConvertRequest(Path(source), tmp_path / "out.tflite", **settings)

    return make


@pytest.fixture(scope="session", params=["float32", "float16", "dynamic-int8", "static-int8"])
def converted(request, trained, tmp_path_factory):
    """A model converted by each recipe in turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent.parent / "support" / "fake_backend"))
        folder = tmp_path_factory.mktemp(request.param)
        source = folder / "model.fake"
        source.write_text(json.dumps({"model": str(trained / "plain.tflite")}))
        labels = folder / "labels.txt"
        labels.write_text("\n".join(LABELS))
        wanted = ConvertRequest(
            source, folder / "out.tflite", request.param, trained / "pictures", labels, SIGNED, samples=16
        )
        return convert(wanted, silent)


def left_over(folder):
    """What a conversion left beside the source."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".fake")


def accuracy(result, pictures, engine):
    """The share of pictures that the board's own code classifies right on ``engine``."""
    model = open_engine(result.tflite, engine)
    preparer = Preparer(result.spec.prep, model.inputs[0])
    right = 0
    for path in list_pictures(pictures):
        preparer.write(read_picture(path), model.input_view())
        model.invoke()
        best = int(real(model.output(0), model.outputs[0]).argmax())
        right += LABELS[best] in path.name
    return right / len(list_pictures(pictures))


def test_every_recipe_keeps_the_trained_models_answers_on_both_engines(converted, trained, engine):
    assert converted.parity["litert"].agreement == 1.0
    assert accuracy(converted, trained / "pictures", engine) == 1.0


def test_the_files_are_what_the_result_says(converted):
    assert read_json(ModelSpec, converted.spec_path) == converted.spec
    assert describe_tflite(converted.tflite, PrepOptions(), TaskOptions(), None) == converted.spec
    assert converted.tflite.stat().st_size == converted.tflite_bytes
    made = converted.spec.provenance
    assert (made.recipe, made.source) == (converted.recipe, "model.fake")
    assert all(len(digest) == 64 for digest in (made.source_sha256, made.calibration_sha256))
    assert made.tools["fake"] == "1.0"


def test_weights_take_the_room_that_the_recipe_says(converted, trained):
    factor = _weight_bytes(converted.tflite) / _weight_bytes(trained / "plain.tflite")
    assert factor == {"float32": 1, "float16": 0.5, "dynamic-int8": 0.25, "static-int8": 0.25}[converted.recipe]


def _weight_bytes(path):
    tensors = read_tflite(path).main.tensors
    return sum(tensor.constant_bytes for tensor in tensors if len(tensor.shape) in (2, 4))


def test_camera_bytes_go_straight_into_every_static_model(converted):
    spec = converted.spec
    straight = Preparer(spec.prep, spec.inputs[0]).straight
    assert straight == (converted.recipe == "static-int8")
    assert (spec.inputs[0].dtype == "uint8") == straight


def test_a_centre_is_cut_out_of_each_picture_once(fake, request_for):
    cropping = PrepOptions(Resize.CENTER_CROP, 0.5, mean=(127.5,), std=(127.5,))
    result = convert(request_for(fake(), recipe="float32", prep=cropping), silent)
    assert result.parity["litert"].outputs[0].snr_db > 100


def test_the_same_request_gives_the_same_bytes(fake, request_for):
    source = fake()
    first = convert(request_for(source), silent).tflite.read_bytes()
    assert convert(request_for(source), silent).tflite.read_bytes() == first


@pytest.mark.parametrize(
    ("mean", "std", "scale", "zero_point"),
    [(0.0, 255.0, 1 / 255, 0), (128.0, 64.0, 1 / 64, 128), (127.5, 127.5, 1 / 127.5, 128), (0.0, 1.0, 1.0, 0)],
)
def test_a_byte_of_a_static_input_means_its_normalised_value(trained, tmp_path, mean, std, scale, zero_point):
    samples = collect_samples(trained / "pictures", _prep(mean, std), 8, 0, tmp_path / "samples.npy", silent)
    target = tmp_path / "static.tflite"
    encoding = InputEncoding(1 / std, zero_point)
    quantise(trained / "plain.tflite", target, "static-int8", samples.paths, _prep(mean, std), encoding=encoding)
    (image,) = read_tflite(target).inputs
    assert (image.dtype, image.zero_points) == ("uint8", (zero_point,))
    assert image.scales == pytest.approx((scale,), rel=1e-6)
    bytes_ = np.arange(256)
    wanted = (bytes_ - mean) / std
    got = image.scales[0] * (bytes_ - image.zero_points[0])
    assert np.abs(wanted - got).max() <= (0.5 if mean % 1 else 1e-4) / std * 1.001
    inner = read_tflite(target).main.tensors[read_tflite(target).main.operators[0].outputs[0]]
    assert (inner.dtype, inner.zero_points, inner.scales) == ("int8", (zero_point - 128,), image.scales)


def _prep(mean, std):
    from device_runtime.contract.model import ImagePrep  # noqa: PLC0415 - beside its one use

    return ImagePrep(16, 16, mean=(mean,), std=(std,))


def test_without_pictures_generated_ones_are_compared_and_it_is_said(fake, request_for):
    heard = []
    result = convert(request_for(fake(), recipe="float16", calibration=None), heard.append)
    assert result.parity["litert"].generated
    assert result.parity["litert"].outputs[0].snr_db > 40
    assert any(isinstance(event, Notice) and "generated" in event.message for event in heard)


def test_a_recipe_that_calibrates_asks_for_pictures(fake, request_for):
    with pytest.raises(UsageError, match="measures value ranges") as caught:
        convert(request_for(fake(), calibration=None), silent)
    assert "--calibration" in caught.value.hint


def test_an_unknown_recipe_is_answered_with_the_right_one(fake, request_for):
    with pytest.raises(UsageError, match='unknown recipe "static-int-8"') as caught:
        convert(request_for(fake(), recipe="static-int-8"), silent)
    assert caught.value.hint == 'did you mean "static-int8"?'


def test_an_unknown_normalisation_asks_for_the_option(fake, request_for, tmp_path):
    with pytest.raises(UsageError) as caught:
        convert(request_for(fake(), prep=PrepOptions()), silent)
    assert "--normalise" in caught.value.hint
    assert left_over(tmp_path) == []


def test_a_label_file_that_does_not_fit_is_refused(fake, request_for, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("dark\nred\n")
    with pytest.raises(BadFileError, match=r"labels\.txt: expected 4 labels, got 2"):
        convert(request_for(fake(), labels=labels), silent)


def test_a_bad_picture_is_named_skipped_and_counted(fake, request_for, trained, tmp_path):
    pictures = tmp_path / "pictures"
    shutil.copytree(trained / "pictures", pictures)
    (pictures / "bad.png").write_bytes(b"no picture at all")
    heard = []
    result = convert(request_for(fake(), calibration=pictures), heard.append)
    assert result.skipped_pictures == ("bad.png",)
    assert result.parity["litert"].samples == 24
    assert any("bad.png" in event.message for event in heard if isinstance(event, Notice))


@pytest.mark.parametrize(("content", "says"), [(None, "has no pictures"), (b"broken", "none of its 1 samples")])
def test_a_folder_without_a_readable_picture_is_an_error(fake, request_for, tmp_path, content, says):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    if content:
        (pictures / "bad.png").write_bytes(content)
    with pytest.raises(BadFileError, match=says):
        convert(request_for(fake(), calibration=pictures), silent)
    assert left_over(tmp_path) == ["pictures"]


def test_a_missing_folder_of_pictures_is_an_error(fake, request_for, tmp_path):
    with pytest.raises(BadFileError, match="expected a folder of pictures"):
        convert(request_for(fake(), calibration=tmp_path / "absent"), silent)


def test_an_output_that_cannot_be_written_is_an_error_before_any_work(fake, tmp_path):
    heard = []
    wanted = ConvertRequest(fake(), tmp_path / "absent" / "out.tflite", calibration=tmp_path)
    with pytest.raises(EdgeError, match="does not exist") as caught:
        convert(wanted, heard.append)
    assert caught.value.exit_code == 1
    assert heard == []


def test_an_unknown_kind_of_source_is_a_usage_error(tmp_path, request_for):
    source = tmp_path / "model.pth"
    source.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"\.pth"):
        convert(request_for(source), silent)


def test_an_old_output_survives_a_failure(fake, request_for, tmp_path):
    (tmp_path / "out.tflite").write_bytes(b"old model")
    (tmp_path / "out.json").write_text("old spec")
    with pytest.raises(ConversionError):
        convert(request_for(fake(export="raise")), silent)
    assert (tmp_path / "out.tflite").read_bytes() == b"old model"
    assert (tmp_path / "out.json").read_text() == "old spec"


def test_an_exception_in_a_framework_is_a_conversion_error_with_its_words(fake, request_for, capfd):
    with pytest.raises(ConversionError, match="RuntimeError: the framework is unhappy") as caught:
        convert(request_for(fake(export="raise")), silent)
    assert caught.value.exit_code == 4
    assert capfd.readouterr().out == ""


def test_a_killed_worker_is_a_conversion_error_with_its_last_lines(fake, request_for, tmp_path):
    with pytest.raises(ConversionError, match=r"SIGKILL.*the last words of the framework") as caught:
        convert(request_for(fake(export="die")), silent)
    assert caught.value.exit_code == 4
    assert "memory" in caught.value.hint
    assert left_over(tmp_path) == []


# What goes wrong in silence elsewhere is caught before a file is written.


def test_dropped_weights_are_caught(fake, request_for, trained, tmp_path):
    emptied = tmp_path / "emptied.bin"
    emptied.write_bytes(_without_weights((trained / "plain.tflite").read_bytes()))
    with pytest.raises(ConversionError, match="float32 model that the framework exported is not the trained model"):
        convert(request_for(fake(exported=str(emptied))), silent)
    assert left_over(tmp_path) == ["emptied.bin"]


@pytest.fixture
def proven(converted, trained, tmp_path):
    """A finished model and all that ``verify`` needs to judge it again: (model, judge)."""
    source_prep = _prep(127.5, 127.5)
    samples = collect_samples(trained / "pictures", source_prep, 16, 0, tmp_path / "samples.npy", silent)
    target = tmp_path / "source.npy"
    engine = open_engine(trained / "plain.tflite")
    preparer = Preparer(source_prep, engine.inputs[0])
    with ArrayWriter(target, (4,), np.float32) as writer:
        for pixels in open_array(samples.paths[0]):
            preparer.write(Frame(np.array(pixels), source_prep.colour), engine.input_view())
            engine.invoke()
            writer.append(engine.output(0)[0])
    evidence = Evidence(samples, [open_array(target)])

    def judge(model):
        made = Made(recipe_named(converted.recipe), model, converted.spec)
        return verify(made, evidence, "litert", tmp_path, silent)

    copy = tmp_path / "copy.tflite"
    shutil.copyfile(converted.tflite, copy)
    return copy, judge


def test_a_finished_model_is_judged_right_again(proven, converted):
    model, judge = proven
    assert judge(model).outputs[0].snr_db == pytest.approx(converted.parity["litert"].outputs[0].snr_db, abs=3.0)


def test_an_operator_version_that_is_too_low_is_caught(proven, converted):
    model, judge = proven
    if converted.recipe == "float32":
        pytest.skip("all its versions are 1")
    changed = _changed(model.read_bytes(), _lower_versions)
    model.write_bytes(changed)
    with pytest.raises(ConversionError, match="states version 1, its types need"):
        judge(model)


def test_a_corrupt_weight_is_caught(proven):
    model, judge = proven
    model.write_bytes(_changed(model.read_bytes(), _scramble_weights))
    with pytest.raises(ConversionError, match="is not the trained model any more"):
        judge(model)


def test_a_truncated_model_is_caught(proven):
    model, judge = proven
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    with pytest.raises(ModelError, match="damaged TFLite model"):
        judge(model)


def _without_weights(content):
    def empty(model):
        for tensor in model.subgraphs[0].tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and tensor.type == schema.TensorType.FLOAT32:
                model.buffers[tensor.buffer].data = np.zeros_like(data)

    return _changed(content, empty)


def _lower_versions(model):
    for code in model.operatorCodes:
        code.version = 1


def _scramble_weights(model):
    generator = np.random.default_rng(0)
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and tensor.shape is not None and len(tensor.shape) == 4:
            values = np.array(data, np.uint8).view(_NUMPY_TYPES[tensor.type])
            model.buffers[tensor.buffer].data = generator.permutation(values).view(np.uint8)


def _changed(content, change):
    import flatbuffers  # noqa: PLC0415 - beside its one use

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# The machine gets in the way.


def test_a_full_disk_leaves_nothing_half_written(fake, trained, small_disk):
    (small_disk / "filler").write_bytes(b"\0" * ((1 << 20) - 8192))
    wanted = ConvertRequest(fake(), small_disk / "out.tflite", calibration=trained / "pictures", prep=SIGNED)
    with pytest.raises(EdgeError, match="no space left") as caught:
        convert(wanted, silent)
    assert caught.value.exit_code == 1
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_full_disk_for_temporary_files_is_said_to_be_one(fake, request_for, small_disk, tmp_path, monkeypatch):
    (small_disk / "filler").write_bytes(b"\0" * ((1 << 20) - 16384))
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(EdgeError, match="no space left"):
        convert(request_for(fake()), silent)
    assert left_over(tmp_path) == ["small-disk"]
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_conversion_leaves_no_process_and_no_file(fake, trained, tmp_path, number):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    started = tmp_path / "started"
    source = fake(export="hang", started=str(started))
    out = tmp_path / "out.tflite"
    command = [sys.executable, "-m", "edgekit", "convert", source, "-o", out, "--normalise", "-1..1"]
    process = subprocess.Popen(
        [*command, "--calibration", trained / "pictures"],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not started.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert list(temporary.iterdir()) == []
    assert not out.exists()
    assert not spec_beside(out).exists()
    assert _processes_that_mention(str(temporary)) == []


def _processes_that_mention(text):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found
