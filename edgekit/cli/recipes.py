"""``edgekit recipes``: what a model can be converted to."""

from __future__ import annotations

import click

from edgekit.cli.output import answer, answer_json, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, as_json: bool) -> None:
    """List the recipes of edgekit convert --recipe: what each is for, where its models run, how large they are.

    A recipe may also be given by its formula, with options (wi8c-ai8+float-io+keep:HARD_SWISH), or as a TOML file.

    \b
    edgekit recipes
    edgekit convert model.keras --recipe wi8c-ai8+keep:HARD_SWISH --calibration photos
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from converters.recipe import RECIPES  # noqa: PLC0415 - only this verb's own work needs the rest
    from converters.recipe_facts import limits_of, runs_on, size_factor  # noqa: PLC0415
    from converters.recipe_formula import formula_of  # noqa: PLC0415
    from device_runtime.contract.decode import encode  # noqa: PLC0415

    if as_json:
        facts = [
            encode(recipe)
            | {
                "formula": formula_of(recipe),
                "runs_on": runs_on(recipe),
                "limits": limits_of(recipe),
                "size_factor": size_factor(recipe),
                "calibrates": recipe.calibrates,
            }
            for recipe in RECIPES.values()
        ]
        answer_json({"recipes": facts})
        return
    rows = [
        (name, formula_of(recipe), f"{size_factor(recipe):g}", ", ".join(runs_on(recipe)), recipe.summary)
        for name, recipe in RECIPES.items()
    ]
    table(("recipe", "formula", "size", "runs on", "for"), rows, right=(2,))
    answer("size is that of float32 weights; auto tries recipes, and takes the best that keeps a budget")
