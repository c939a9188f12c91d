"""``edgekit deploy``: a bundle onto a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, progress, size

if TYPE_CHECKING:
    from device_runtime.contract.status import ReleaseInfo
    from edgekit.deploying.deploy import Deployment


@click.command()
@click.argument("words", nargs=-1, metavar="[BUNDLE] [TARGET]")
@click.option("--retry", is_flag=True, help="Try a release once more that failed on this board before.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(words: tuple[str, ...], *, retry: bool, dry_run: bool, as_json: bool) -> None:
    """Install BUNDLE (by default the project's) on TARGET, or leave the board as it was.

    TARGET is local:DIR, a folder on this machine, or a name from [targets] in edgekit.toml, by default the only one.
    The release is checked before the switch and after it; when a check fails, the old release goes on and the exit
    code is 7.

    \b
    edgekit deploy
    edgekit deploy local:board
    edgekit deploy out/belt-0.1.0.edgekit local:board --dry-run
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.boards.link import LocalLink  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.target import find_target  # noqa: PLC0415
    from edgekit.deploying.deploy import deploy, plan_deployment  # noqa: PLC0415
    from edgekit.project.config import find_project  # noqa: PLC0415

    project = find_project(Path.cwd())
    bundle, word = _bundle_and_target(words)
    target = find_target(word, project)
    link, bundle = LocalLink(target), bundle or _project_bundle()
    if dry_run:
        planned = plan_deployment(link, str(target), bundle, retry=retry)
        _tell(planned, as_json=as_json)
        return
    with progress() as events:
        done = deploy(link, str(target), bundle, events, retry=retry)
    _tell(done, as_json=as_json)


def _bundle_and_target(words: tuple[str, ...]) -> tuple[Path | None, str | None]:
    """Tell a bundle from a target: one word may be either, two are both, and without one the project has both."""
    if len(words) > 2:
        raise click.UsageError(f"expected [BUNDLE] [TARGET], got {len(words)} words")
    if len(words) == 2:
        return Path(words[0]), words[1]
    if not words:
        return None, None
    if words[0].endswith(".edgekit"):
        return Path(words[0]), None
    return None, words[0]


def _project_bundle() -> Path:
    from device_runtime.errors import BadFileError  # noqa: PLC0415 - as above
    from edgekit.project.config import load_project  # noqa: PLC0415

    bundle = load_project(Path.cwd()).bundle
    if not bundle.exists():
        raise BadFileError(f"the project has no bundle yet: no {bundle}", hint="edgekit bundle")
    return bundle


def _tell(deployment: Deployment, *, as_json: bool) -> None:
    if as_json:
        answer_json(deployment)
        return
    plan, result, target = deployment.plan, deployment.result, deployment.target
    named = f"{plan.name} {plan.version}"
    if result is None:
        answer(_plan_in_words(deployment))
    elif result.outcome.value == "unchanged":
        answer(f"{target}: {named} runs already, unchanged (release {plan.release[:12]}); nothing was done")
    elif result.outcome.value == "repaired":
        answer(f"{target}: {named} runs already, damaged parts of it were replaced")
    else:
        answer(f"{target}: {_named(result.current)} runs now")
        answer(f"  before: {_named(result.previous) if result.previous else 'nothing'}")
        answer(f"  copied: {size(result.written_bytes)}")
        answer(f"next: edgekit releases {target}" + (f"   back: edgekit rollback {target}" if result.previous else ""))


def _plan_in_words(deployment: Deployment) -> str:
    plan = deployment.plan
    if plan.action.value != "install":
        return f"{deployment.target}: {plan.action.value}: {plan.reason}"
    lines = [f"{deployment.target}: would install {plan.name} {plan.version} (release {plan.release[:12]})"]
    lines.append(f"  replaces: {_named(plan.replaces) if plan.replaces else 'nothing'}")
    lines.append(
        f"  copies: {len(plan.uploads)} blobs, {size(plan.upload_bytes)}; needs {size(plan.needed_bytes)} free"
    )
    lines += [f"  {blob.role:8} {size(blob.size):>8}  {blob.name}" for blob in plan.uploads]
    return "\n".join(lines + [f"  warning: {warning}" for warning in plan.warnings])


def _named(release: ReleaseInfo | None) -> str:
    return f"{release.name} {release.version} (release {release.release[:12]})" if release else "nothing"
