"""Takes everything of ours off a board, but what the application made and whom the board trusts."""

from __future__ import annotations

from pathlib import Path

from device_runtime.contract.events import Notice, Step
from device_runtime.contract.status import InstallResult, InstallState, Outcome
from device_runtime.files import refused
from device_runtime.install.activate import point_current
from device_runtime.install.fsops import remove_tree
from device_runtime.install.lock import BRIEF_S, locked, receiving
from device_runtime.install.recover import recover
from device_runtime.install.root import Root
from device_runtime.install.site import Site
from device_runtime.install.state import write_state
from device_runtime.install.trust import is_signed_only


def remove(site: Site, *, data: bool = False, wait_s: float = 0.0) -> InstallResult:
    """Stop what runs, and remove it with all releases, the journal and the installer.

    First it is decided that nothing is to run. Killed before, the release runs on; killed later, nothing runs, also
    after a boot, and another ``remove`` goes on. What is not ours below the root is left alone.

    Args:
        site: where.
        data: remove what the application made, too.
        wait_s: how long to wait for another installer.

    Raises:
        BusyError: another installer is at work.
        EdgeError: the disk refuses.
    """
    root = site.root
    try:
        if root.path.is_dir():
            with receiving(site.fs, root, wait_s), locked(site.fs, root, max(wait_s, BRIEF_S)):
                _remove(site, data=data)
            if not any(root.path.iterdir()):
                site.fs.remove_folder(root.path)
        else:
            site.application.remove()
    except OSError as error:
        raise refused(error, Path(error.filename or root.path), "remove") from error
    return InstallResult(Outcome.REMOVED)


def _remove(site: Site, *, data: bool) -> None:
    root = site.root
    state = recover(site)
    trusting = is_signed_only(root)
    # Whoever could take trust off a board from afar could have it take anything.
    left = InstallState(sequences=state.sequences) if trusting else InstallState()
    write_state(site.fs, root, left)
    site.events(Step("stop what runs"))
    point_current(site.fs, root, None)
    site.application.remove()
    site.events(Step("remove what was installed"))
    for path in _ours(root):
        remove_tree(site.fs, path)
    if data:
        remove_tree(site.fs, root.data)
    elif root.data.is_dir():
        site.events(Notice(f"{root.data} was left: it is what the application made; to remove it: rm -r {root.data}"))
    if trusting:
        site.events(Notice(f"{root.allowed_signers} was left: only what those sign can be installed here again"))
    else:
        remove_tree(site.fs, root.state)
    # While we hold them nobody else can; who waits for them finds that they are gone, and makes them anew.
    remove_tree(site.fs, root.incoming_lock)
    remove_tree(site.fs, root.lock)


def _ours(root: Root) -> tuple[Path, ...]:
    journals = (root.journal, root.journal.with_name("journal.1.jsonl"))
    links = (root.current, root.previous, root.way_back)
    content = (root.releases, root.wheels, root.blobs.parent, root.incoming, root.logs, root.bench)
    return (*links, *content, *journals, root.installer, root.scope)
