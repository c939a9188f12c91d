"""``edgekit deploy``: a bundle onto one board or several."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, progress, size, table
from edgekit.cli.reaching import named, scope_option

if TYPE_CHECKING:
    from device_runtime.contract.events import Events
    from edgekit.boards.channel import Stopper
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget
    from edgekit.bundling.describe import BundleFacts
    from edgekit.deploying.deploy import Deployment
    from edgekit.deploying.fleet import BoardOutcome
    from edgekit.deploying.plan import Wishes
    from edgekit.project.config import Project

_PARALLEL = 4


@click.command()
@click.argument("words", nargs=-1, metavar="[BUNDLE] [TARGET]...")
@click.option("--target", "named_targets", metavar="TARGET", multiple=True, help="The same as the argument.")
@click.option("--all", "everything", is_flag=True, help="All [targets] of edgekit.toml.")
@click.option(
    "--parallel", type=click.IntRange(1, 64), help=f"How many boards at a time.  [default: {_PARALLEL} of several]"
)
@scope_option
@click.option("--retry", is_flag=True, help="Try a release once more that failed on this board before.")
@click.option("--repair", is_flag=True, help="Send everything anew, and replace what is damaged on the board.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    named_targets: tuple[str, ...],
    parallel: int | None,
    scope: str,
    *,
    everything: bool,
    retry: bool,
    repair: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install BUNDLE (by default the project's) on each TARGET, or leave the board as it was.

    TARGET is ssh://user@host[:port], user@host, local:DIR (a folder on this machine), or a name from [targets] in
    edgekit.toml, by default the only one. Only what the board lacks is sent, and a transfer that was cut goes on where
    it stopped. The release is checked before the switch and after it; when a check fails, the old release goes on and
    the exit code is 7. Of several boards, the exit code is the highest.

    \b
    edgekit deploy ssh://pi@board.local
    edgekit deploy out/belt-0.1.0.edgekit local:board --dry-run
    edgekit deploy --all --parallel 8
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.boards.target import find_places  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.bundling.describe import describe_bundle  # noqa: PLC0415
    from edgekit.deploying.plan import Wishes  # noqa: PLC0415
    from edgekit.project.config import find_project, made_bundle  # noqa: PLC0415

    project = find_project(Path.cwd())
    bundle, targets = _bundle_and_targets(words, project)
    if everything and (targets or named_targets):
        raise click.UsageError("--all names every target already; leave out the others")
    places = find_places([*targets, *named_targets], project, everything=everything)
    facts = describe_bundle(bundle or made_bundle(project, Path.cwd()))
    job = _Job(facts, Wishes(retry, repair), scope, dry_run=dry_run, ask=len(places) == 1 and sys.stdin.isatty())
    if len(places) == 1:
        with progress() as events:
            done = job(places[0], events)
        if as_json:
            answer_json(done)
        else:
            answer("\n".join(_in_words(done)))
        return
    ctx.exit(_deploy_all(places, job, parallel or _PARALLEL, as_json=as_json))


@dataclass(frozen=True)
class _Job:
    """What is done to each board."""

    facts: BundleFacts
    wishes: Wishes
    scope: str
    dry_run: bool
    ask: bool

    def __call__(self, place: LocalTarget | SshTarget, events: Events, stopper: Stopper | None = None) -> Deployment:
        from device_runtime.contract.events import Notice, Step  # noqa: PLC0415 - only this verb's own work needs the rest
        from device_runtime.errors import EdgeError  # noqa: PLC0415

        events(Step("ask the board what it has"))
        try:
            return self._once(place, events, stopper)
        except EdgeError as error:
            if error.code != "resume-mismatch":
                raise
        # What an earlier command had sent arrived only after the board was asked.
        events(Notice("more had come than the board knew; asking once more"))
        return self._once(place, events, stopper)

    def _once(self, place: LocalTarget | SshTarget, events: Events, stopper: Stopper | None) -> Deployment:
        from edgekit.boards.link import open_link  # noqa: PLC0415 - as above
        from edgekit.boards.way import way_to  # noqa: PLC0415
        from edgekit.deploying.deploy import deploy, plan_deployment  # noqa: PLC0415

        with open_link(way_to(place, self.scope, ask=self.ask), stopper, events) as link:
            if self.dry_run:
                return plan_deployment(link, self.facts, self.wishes)
            return deploy(link, self.facts, self.wishes, events)


def _deploy_all(places: tuple[LocalTarget | SshTarget, ...], job: _Job, parallel: int, *, as_json: bool) -> int:
    from edgekit.deploying.fleet import for_each, worst  # noqa: PLC0415 - only for several

    with progress() as events:
        outcomes = for_each(places, job, events, parallel=parallel)
    code = worst(outcomes)
    if as_json:
        answer_json({"boards": outcomes, "exit_code": code})
        return code
    table(("board", "outcome", "code", "runs", "sent", "seconds"), [_row(each) for each in outcomes], right=(2, 4, 5))
    for outcome in outcomes:
        if outcome.error:
            answer(f"{outcome.target}: {outcome.error.message.removeprefix(f'{outcome.target}: ')}")
            for line in outcome.error.hint.splitlines():
                answer(f"  hint: {line}")
        elif outcome.done and not outcome.done.health.ok and outcome.done.plan.action.value == "nothing":
            answer(f"{outcome.target}: {_unwell(outcome.done)}")
    return code


def _row(outcome: BoardOutcome[Deployment]) -> tuple[object, ...]:
    done = outcome.done
    if done is None:
        return outcome.target, outcome.error.code if outcome.error else "-", outcome.exit_code, "-", "-", "-"
    if done.result is None:
        return outcome.target, f"would {done.plan.action.value}", 0, "-", size(done.plan.upload_bytes), "-"
    current = done.result.current
    runs = f"{current.name} {current.version}" if current else "nothing"
    return outcome.target, done.result.outcome.value, 0, runs, size(done.sent_bytes), f"{done.seconds:.1f}"


def _bundle_and_targets(words: tuple[str, ...], project: Project | None) -> tuple[Path | None, tuple[str, ...]]:
    """Tell the bundle from the targets: it comes first, and is a file or ends in .edgekit."""
    if not words or (project and words[0] in project.file.targets):
        return None, words
    first = Path(words[0])
    if words[0].endswith(".edgekit") or first.is_file():
        return first, words[1:]
    return None, words


def _in_words(deployment: Deployment) -> Iterator[str]:
    plan, result, target = deployment.plan, deployment.result, deployment.target
    if result is None:
        yield from _plan_in_words(deployment)
        return
    if result.outcome.value == "unchanged":
        yield f"{target}: {plan.name} {plan.version} runs already, unchanged (release {plan.release[:12]})"
        yield "  nothing was sent"
        if not deployment.health.ok:
            yield f"  but {_unwell(deployment)}"
        return
    if result.outcome.value == "repaired":
        yield f"{target}: {plan.name} {plan.version} runs already, damaged parts of it were replaced"
    else:
        yield f"{target}: {named(result.current)} runs now"
        yield f"  before: {named(result.previous)}"
    yield f"  sent: {size(deployment.sent_bytes)} in {deployment.seconds:.1f} s, with the installation"
    yield f"next: edgekit status {target}" + (f"   back: edgekit rollback {target}" if result.previous else "")


def _unwell(deployment: Deployment) -> str:
    health = deployment.health
    why = f": {'; '.join(health.reasons)}" if health.reasons else ""
    return f"it is not well: {health.word}{why}; see: edgekit status {deployment.target}"


def _plan_in_words(deployment: Deployment) -> Iterator[str]:
    plan = deployment.plan
    if plan.action.value == "nothing":
        yield f"{deployment.target}: would do nothing: {plan.reason}"
        return
    yield f"{deployment.target}: would {plan.action.value} {plan.name} {plan.version} (release {plan.release[:12]})"
    yield f"  replaces: {named(plan.replaces)}" + (", and restarts the service" if plan.restarts else "")
    yield f"  sends: {len(plan.uploads)} blobs, {size(plan.upload_bytes)}; needs {size(plan.needed_bytes)} free"
    if plan.installer_bytes:
        yield f"  installer {size(plan.installer_bytes):>8}"
    for upload in plan.uploads:
        rest = f" (of {size(upload.blob.size)}; the beginning came already)" if upload.offset else ""
        yield f"  {upload.blob.role:9} {size(upload.size):>8}  {upload.blob.name}{rest}"
    for warning in plan.warnings:
        yield f"  warning: {warning}"
