from pathlib import Path

from converters.recipe import RECIPES, recipe_named, same_storage
from converters.recipe_facts import runs_on
from converters.recipe_formula import formula_of
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


def test_the_page_of_recipes_has_them_all_with_what_is_true_of_them():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "recipes.md").read_text()
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")
    ]
    told = {row[0]: row for row in rows if row[0] in RECIPES}
    assert list(told) == list(RECIPES)
    for name, (_, formula, _, _, _, samples, runs, _) in told.items():
        recipe = RECIPES[name]
        assert formula == formula_of(recipe)
        assert samples == ("needed" if recipe.calibrates else "optional")
        assert runs == ("both" if len(runs_on(recipe)) == 2 else "litert")


def test_the_recipe_file_of_the_page_is_one(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "reference" / "recipes.md").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(page.partition("```toml\n")[2].partition("```")[0])
    recipe = recipe_named(str(path))
    assert (recipe.name, formula_of(recipe)) == ("mine", "wi8c-ai8+keep:HARD_SWISH,*/logits*")
