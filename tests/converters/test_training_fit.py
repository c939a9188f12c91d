"""The declared normalisation against what a trained model remembers."""

import numpy as np
import pytest

from converters import convert
from converters.arrays import ArrayWriter
from converters.calibration import collect_samples
from converters.interface import ConvertRequest, PrepOptions
from converters.jobs import Fits, MeasureFits
from converters.normalise import parse_normalise
from converters.process import open_worker
from converters.training_fit import judge, other_preps, require_fit
from device_runtime.contract.events import silent
from device_runtime.contract.model import Colour, ImagePrep
from device_runtime.errors import UsageError
from tests.support.colours import SIDE, colour_pictures
from tests.support.exports import opened


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with open_worker(tmp_path_factory.mktemp("worker"), silent) as running:
        yield running


def prep_of(words, side=SIDE, colour=Colour.RGB):
    mean, std = parse_normalise(words)
    return ImagePrep(side, side, colour, mean=mean, std=std)


def fit_of(worker, model, samples, prep):
    opened(worker, model)
    preps = (prep, *other_preps(prep))
    return judge(preps, worker.call(MeasureFits(str(samples), preps), Fits, "look").misfits)


@pytest.fixture
def colours(tmp_path):
    with ArrayWriter(tmp_path / "colours.npy", (SIDE, SIDE, 3), np.uint8) as writer:
        for pixels in colour_pictures(32, seed=5)[0]:
            writer.append(pixels)
    return writer.path


def test_the_normalisation_of_the_training_raises_no_doubt(worker, trained, colours):
    fit = fit_of(worker, trained / "plain.keras", colours, prep_of("-1..1"))
    assert fit.misfit < 0.03
    assert require_fit(fit, "model") == ()


def test_another_normalisation_is_doubted_and_the_training_s_own_is_named(worker, trained, colours):
    fit = fit_of(worker, trained / "plain.keras", colours, prep_of("0..1"))
    assert (fit.best.mean, fit.best.std) == ((127.5,), (127.5,))
    assert (fit.suspicious, fit.blatant) == (True, False)
    (warning,) = require_fit(fit, "model")
    assert warning.endswith("--normalise -1..1")


def test_raw_pixels_into_a_model_of_small_numbers_are_refused_before_any_work(trained, tmp_path):
    wanted = ConvertRequest(
        trained / "plain.keras",
        tmp_path / "out.tflite",
        "static-int8",
        trained / "pictures",
        prep=PrepOptions(mean=(0.0,), std=(1.0,)),
    )
    with pytest.raises(UsageError, match="see other numbers than in training") as caught:
        convert(wanted, silent)
    assert caught.value.hint == "normalise as in training: --normalise -1..1"
    assert not wanted.output.exists()


def test_a_model_that_normalises_itself_takes_pixels(worker, trained, colours):
    assert require_fit(fit_of(worker, trained / "rescaled.keras", colours, prep_of("0..255")), "model") == ()
    (warning,) = require_fit(fit_of(worker, trained / "rescaled.keras", colours, prep_of("0..1")), "model")
    assert warning.endswith("--normalise 0..255")


def test_a_model_that_remembers_nothing_says_nothing(worker, trained, colours):
    assert fit_of(worker, trained / "detector.keras", colours, prep_of("0..255")) is None
    assert require_fit(None, "model") == ()


def test_every_common_normalisation_is_tried_and_the_declared_one_once():
    gray = other_preps(prep_of("0..1", colour=Colour.GRAY))
    assert {(prep.mean, prep.std) for prep in gray} == {((0.0,), (1.0,)), ((127.5,), (127.5,))}
    preps = other_preps(prep_of("0..1"))
    assert prep_of("0..1", colour=Colour.BGR) in preps
    assert len(set(preps)) == len(preps)
    assert prep_of("0..1") not in preps


@pytest.mark.shared
@pytest.mark.parametrize(
    ("words", "colour", "says"),
    [
        ("0..1", Colour.RGB, None),
        ("0..1", Colour.BGR, "--normalise 0..1 --colour rgb"),
        ("-1..1", Colour.RGB, "--normalise 0..1"),
        ("imagenet", Colour.RGB, "--normalise 0..1"),
        ("0..255", Colour.RGB, "--normalise 0..1"),
    ],
)
def test_a_real_model_tells_its_training_from_any_photos(worker, shared_data, tmp_path, words, colour, says):
    prep = prep_of(words, 96, colour)
    photos = shared_data / "images" / "imagenet100"
    samples = collect_samples(photos, prep, 100, 0, tmp_path / "photos.npy", silent)
    fit = fit_of(worker, shared_data / "models" / "vww_96.h5", samples.paths[0], prep)
    assert fit.suspicious == (says is not None)
    assert fit.blatant == (says == "--normalise 0..1")
    if says == "--normalise 0..1":
        with pytest.raises(UsageError) as caught:
            require_fit(fit, "model")
        assert caught.value.hint.endswith(says)
    else:
        assert [line.endswith(says) for line in require_fit(fit, "model")] == ([True] if says else [])
