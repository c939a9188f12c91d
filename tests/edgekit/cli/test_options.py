import click
import pytest
from click.testing import CliRunner

from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.model import BoxFormat, BoxUnit, Colour, Resize, ScoreActivation, SsdAnchors
from device_runtime.errors import EdgeError, UsageError
from edgekit.cli.options import merge, prep_options, task_options


@click.command()
@prep_options
@task_options
@click.pass_context
def command(ctx, prep, task):
    ctx.obj["given"] = (prep, task)


def given(*arguments):
    found = {}
    result = CliRunner().invoke(command, list(arguments), obj=found, standalone_mode=False)
    if result.exception:
        raise result.exception
    return found["given"]


def test_nothing_said_is_left_to_the_model():
    assert given() == (PrepOptions(), TaskOptions())


def test_every_option_arrives_typed():
    prep, task = given(
        "--normalise", "-1..1", "--resize", "letterbox", "--pad", "114", "--colour", "bgr", "--crop-fraction", "0.875",
        "--interpolation", "area", "--task", "detection", "--decoder", "boxes-scores", "--score-threshold", "0.3",
        "--max-items", "7", "--iou-threshold", "0.6", "--box-format", "cxcywh", "--label-offset", "1",
    )  # fmt: skip
    assert (prep.resize, prep.pad, prep.colour, prep.crop_fraction) == (Resize.LETTERBOX, 114, Colour.BGR, 0.875)
    assert (prep.mean, prep.std) == ((127.5,), (127.5,))
    assert task == TaskOptions("detection", "boxes-scores", 0.3, 7, 0.6, BoxFormat.CXCYWH, 1)


def test_what_a_head_needs_arrives_typed(tmp_path):
    anchors = tmp_path / "anchors.json"
    anchors.write_text('{"strides": [8, 16], "min_scale": 0.1}')
    _, task = given(
        "--decoder", "ssd", "--box-unit", "pixel", "--score-activation", "sigmoid", "--background",
        "--anchors", str(anchors),
    )  # fmt: skip
    assert (task.box_unit, task.score_activation, task.background) == (BoxUnit.PIXEL, ScoreActivation.SIGMOID, True)
    assert task.anchors == SsdAnchors((8, 16), 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "anchors.json"),
        ("{", "not JSON"),
        ('{"stride": [8]}', 'unknown key "stride"'),
        ('{"strides": []}', "strides: expected one or more"),
        ('{"min_scale": "small"}', "expected a number"),
    ],
)
def test_a_file_that_describes_no_anchors_is_refused(tmp_path, text, message):
    anchors = tmp_path / "anchors.json"
    if text is not None:
        anchors.write_text(text)
    with pytest.raises(EdgeError, match=message):
        given("--anchors", str(anchors))


def test_american_spelling_is_understood():
    prep, _ = given("--normalize", "0..1", "--color", "gray")
    assert (prep.mean, prep.std, prep.colour) == ((0.0,), (255.0,), Colour.GRAY)


def test_an_unknown_normalisation_is_a_usage_error():
    with pytest.raises(UsageError, match='unknown normalisation "0-1"'):
        given("--normalise", "0-1")


def test_an_option_wins_over_the_project_file():
    project = PrepOptions(resize=Resize.LETTERBOX, pad=114)
    assert merge(PrepOptions(pad=0), project) == PrepOptions(resize=Resize.LETTERBOX, pad=0)
