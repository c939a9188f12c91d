from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.recipe import RECIPES, QuantRecipe, recipe_named, same_storage
from converters.recipe_facts import runs_on, size_factor
from converters.recipe_formula import formula_of, parse_formula, variant
from device_runtime.errors import BadFileError, UsageError

SCALES = st.sampled_from(["tensor", "channel"])
INTEGER = st.builds(
    QuantRecipe,
    name=st.just("x"),
    summary=st.just(""),
    weights=st.sampled_from(["int8", "int4"]),
    activations=st.just("float32"),
    granularity=SCALES,
    dense_granularity=SCALES,
    weight_only=st.booleans(),
    keep_float=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    equalise=st.booleans(),
)
STATIC = st.builds(
    lambda recipe, activations, float_io: replace(
        recipe, weight_only=False, activations=activations, float_io=float_io
    ),
    INTEGER,
    st.sampled_from(["int8", "int16"]),
    st.booleans(),
)
FLOAT = st.sampled_from(["float32", "float16"]).map(lambda weights: QuantRecipe("x", "", weights))


@given(st.one_of(INTEGER, STATIC, FLOAT))
def test_a_formula_gives_back_the_recipe_that_it_is_of(recipe):
    assert same_storage(parse_formula(formula_of(recipe)), recipe)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("float32", "wf32-af32"),
        ("float16", "wf16-af32"),
        ("dynamic-int8", "wi8ct-ad8"),
        ("static-int8", "wi8c-ai8"),
        ("weight-only-int8", "wi8c-af32"),
        ("int16x8", "wi8c-ai16"),
        ("weight-only-int4", "wi4c-af32"),
        ("dynamic-int4", "wi4c-ad8"),
        ("static-int4", "wi4c-ai8"),
    ],
)
def test_a_name_and_its_formula_are_the_same_recipe(name, formula):
    assert formula_of(RECIPES[name]) == formula
    assert recipe_named(formula) is RECIPES[name]
    assert recipe_named(name) is RECIPES[name]


def test_a_formula_has_options():
    recipe = recipe_named("wi8c-ai8+float-io+equalise+keep:HARD_SWISH,a%2Cb/*")
    assert (recipe.float_io, recipe.equalise, recipe.keep_float) == (True, True, ("HARD_SWISH", "a,b/*"))
    assert (recipe.takes_bytes, recipe.min_snr_db) == (False, 3.0)


def test_scales_per_channel_go_without_saying():
    assert recipe_named("wi8-ai8") is RECIPES["static-int8"]


@pytest.mark.parametrize(
    "text",
    [
        "wi8c",
        "wi8x-ai8",
        "wi8c-ai4",
        "wi8ccc-ai8",
        "wi8c-ai8+",
        "wi8c-ai8+fast",
        "wi8c-ai8+keep",
        "wi8c-ai8+float-io:1",
        "wi8c-ai8+equalise+equalise",
        "wf16-ai8",
        "wf16-ad8",
        "wf16c-af32",
        "wf32-af32+float-io",
        "wi8c-af32+float-io",
    ],
)
def test_what_is_no_formula_is_an_error_that_shows_one(text):
    with pytest.raises(UsageError) as caught:
        recipe_named(text)
    assert text.split("+")[0] in str(caught.value)
    assert "wi8c-ai8" in caught.value.hint


def test_an_unknown_name_is_answered_with_the_right_one():
    with pytest.raises(UsageError, match='unknown recipe "static-int-8"') as caught:
        recipe_named("static-int-8")
    assert caught.value.hint == 'did you mean "static-int8"?'


def test_a_variant_is_called_by_its_formula():
    made = variant(RECIPES["static-int8"], keep_float=("HARD_SWISH",))
    assert made.name == "wi8c-ai8+keep:HARD_SWISH"
    assert same_storage(recipe_named(made.name), made)


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


def test_a_file_says_what_is_other_than_in_its_base(tmp_path):
    text = """
    base = "wi8ct-ai8"
    summary = "as static-int8, with what costs most left float"
    keep_float = ["HARD_SWISH", "*/logits*"]
    float_io = true
    min_snr_db = 12
    """
    recipe = recipe_named(written(tmp_path, text))
    assert (recipe.name, recipe.dense_granularity, recipe.activations) == ("mine", "tensor", "int8")
    assert (recipe.keep_float, recipe.float_io, recipe.min_snr_db) == (("HARD_SWISH", "*/logits*"), True, 12.0)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("keep_flaot = []", 'unknown key "keep_flaot"', 'did you mean "keep_float"?'),
        ("keep_float = 3", "keep_float: expected a list", ""),
        ('activations = "int7"', "activations: expected one of float32, int8, int16", "int8"),
        ('activations = "int16"\nweight_only = true', "weight_only goes with", ""),
        ("base = [", "not TOML", ""),
        ('base = "other.toml"', "expected a recipe's name or formula", ""),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, text, says, hint):
    with pytest.raises(BadFileError, match=says) as caught:
        recipe_named(written(tmp_path, text))
    assert "mine.toml" in str(caught.value)
    assert hint in caught.value.hint


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(BadFileError, match=r"no such recipe: .*absent\.toml"):
        recipe_named(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"granularity": "none"}, "need a granularity"),
        ({"weights": "float16"}, "have no granularity"),
        ({"weight_only": True}, "weight_only goes with"),
        ({"activations": "float32", "float_io": True}, "float_io is for"),
    ],
)
def test_a_recipe_does_not_contradict_itself(changes, says):
    with pytest.raises(ValueError, match=says):
        replace(RECIPES["static-int8"], **changes)


def test_facts_of_recipes():
    assert {name for name, recipe in RECIPES.items() if "tflite-runtime" not in runs_on(recipe)} == {
        "weight-only-int4",
        "dynamic-int4",
        "static-int4",
    }
    assert all("litert" in runs_on(recipe) for recipe in RECIPES.values())
    assert runs_on(recipe_named("wi8c-ad8")) == ("litert",)
    assert [size_factor(RECIPES[name]) for name in ("float16", "static-int8", "dynamic-int4")] == [0.5, 0.25, 0.125]
