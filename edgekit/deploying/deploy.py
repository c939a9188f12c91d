"""Deploys a bundle: asks the board, plans, and lets its installer do the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.events import Events, Notice, Step
from device_runtime.contract.status import InstallResult
from edgekit.boards.link import Link
from edgekit.bundling.describe import describe_bundle
from edgekit.deploying.plan import DeployPlan, plan_deploy


@dataclass(frozen=True)
class Deployment:
    """What was planned, and what came of it; None when only a plan was wanted."""

    target: str
    bundle: str
    plan: DeployPlan
    result: InstallResult | None = None


def plan_deployment(link: Link, target: str, bundle: Path, *, retry: bool = False) -> Deployment:
    """Return what a deployment would do.

    Raises:
        BadFileError: the bundle is damaged.
        UnfitError: it does not fit the board.
        EdgeError: the board's installer cannot work.
    """
    facts = describe_bundle(bundle)
    return Deployment(target, str(bundle), plan_deploy(link.status(), facts, retry=retry))


def deploy(link: Link, target: str, bundle: Path, events: Events, *, retry: bool = False) -> Deployment:
    """Deploy a bundle. The installer judges for itself; the plan is for people.

    Raises:
        InstallError: the release failed, or failed before; what ran before still runs.
        EdgeError: as ``plan_deployment``.
    """
    events(Step(f"ask {target}"))
    planned = plan_deployment(link, target, bundle, retry=retry)
    for warning in planned.plan.warnings:
        events(Notice(warning, "warning"))
    result = link.apply(bundle, events, retry=retry)
    return Deployment(target, str(bundle), planned.plan, result)
