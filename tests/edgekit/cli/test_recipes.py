from converters.recipe import RECIPES, recipe_named, same_storage
from device_runtime.contract.decode import decode


def test_every_recipe_is_listed_with_its_formula_and_where_it_runs(edgekit):
    lines = [line.strip() for line in edgekit.ok("recipes").out.splitlines()]
    for name in RECIPES:
        assert any(line.startswith(f"{name} ") for line in lines)
    (static,) = [line for line in lines if line.startswith("static-int8")]
    assert "wi8c-ai8" in static
    assert "0.25" in static
    assert "litert, tflite-runtime" in static
    (small,) = [line for line in lines if line.startswith("dynamic-int4")]
    assert "tflite-runtime" not in small


def test_the_document_holds_the_recipes_themselves(edgekit):
    found = {item["name"]: item for item in edgekit.ok("recipes", "--json").json["recipes"]}
    assert list(found) == list(RECIPES)
    for name, item in found.items():
        assert decode(type(RECIPES[name]), item, name) == RECIPES[name]
        assert same_storage(recipe_named(item["formula"]), RECIPES[name])
    assert (found["static-int8"]["calibrates"], found["static-int8"]["limits"]) == (True, "")
    assert found["weight-only-int4"]["runs_on"] == ["litert"]
    assert "int4" in found["weight-only-int4"]["limits"]
