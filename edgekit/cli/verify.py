"""``edgekit verify``: every byte of a bundle, or of what is installed on a board."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.output import answer, answer_json, progress, size
from edgekit.cli.reaching import reach, scope_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--target", metavar="TARGET", help="Check what is installed there instead.")
@click.option("--signers", type=click.Path(path_type=Path), help="The bundle must be signed by one of this file.")
@scope_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(bundle: Path | None, target: str | None, signers: Path | None, scope: str, *, as_json: bool) -> None:
    """Check every byte of BUNDLE, or of what is installed on a board.

    Of a bundle: digests, sizes, names, and that what it holds can be understood. On a board: every file of the current
    and the previous release. The file of signers is an allowed_signers file as ssh-keygen(1) describes it.

    \b
    edgekit verify out/belt-0.1.0.edgekit --signers allowed_signers
    edgekit verify --target ssh://pi@board.local
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    if (bundle is None) == (target is None):
        raise click.UsageError("expected BUNDLE or --target TARGET")
    if signers is not None and bundle is None:
        raise click.UsageError("--signers is for a BUNDLE; what a board trusts: edgekit trust --help")
    if bundle is not None:
        _verify_bundle(bundle, signers, as_json=as_json)
    else:
        _verify_board(target, scope, as_json=as_json)


def _verify_bundle(bundle: Path, signers: Path | None, *, as_json: bool) -> None:
    from edgekit.bundling.verify import verify_bundle  # noqa: PLC0415 - the runtime below takes 0.2 s to import

    with progress() as events:
        facts = verify_bundle(bundle, events, signers)
    if as_json:
        answer_json({"ok": True, "bundle": facts})
        return
    blobs = {blob.digest for package in facts.packages for blob in package.blobs}
    signed = (
        f", signed by {facts.signer}" if facts.signer else ", signed (by whom was not checked)" if facts.signed else ""
    )
    answer(
        f"ok: {facts.path}: {facts.name} {facts.version}, {len(blobs)} blobs, {size(facts.size)}, every byte checked"
        f"{signed}"
    )


def _verify_board(target: str | None, scope: str, *, as_json: bool) -> None:
    from device_runtime.contract.session import Command  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.link import WAIT_S  # noqa: PLC0415
    from edgekit.boards.target import find_place  # noqa: PLC0415
    from edgekit.project.config import find_project  # noqa: PLC0415

    place = find_place(target, find_project(Path.cwd()))
    with progress() as events, reach(place, scope) as link:
        result = link.result(Command("verify", WAIT_S), events)
    if as_json:
        answer_json({"ok": True, "target": str(place), "result": result})
        return
    kept = [f"{info.name} {info.version}" for info in (result.current, result.previous) if info]
    answer(f"ok: {place}: {', '.join(kept) or 'nothing installed'}, every byte checked")
