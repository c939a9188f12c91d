"""Boards over SSH: what ``ssh://user@host`` means, OpenSSH's command line, and what its complaints mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from device_runtime.errors import EdgeError, UsageError
from edgekit.boards.errors import UnreachableError

CONFIG_VARIABLE = "EDGEKIT_SSH_CONFIG"
"""Names a file to use in place of ``~/.ssh/config``."""

FORM = "user@host, ssh://host, ssh://user@host:port or ssh://host/FOLDER"

# Neither a user nor a host can begin with "-": ssh would take it for an option.
_DESTINATION = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)|\[(?P<address>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<folder>/[^\x00-\x1f\x7f]*)?"
)
_SCHEME = "ssh://"
_CONNECT_S = 10
# A connection whose other end is gone is noticed after 3 x 10 s.
_OPTIONS = (
    f"ConnectTimeout={_CONNECT_S}",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "ControlPath=none",  # a shared connection would outlive the command
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "EscapeChar=none",
)


@dataclass(frozen=True)
class SshTarget:
    """A board that OpenSSH's client can reach; ``name`` is what the user called it.

    With a ``folder`` (absolute) it is that folder of it, as ``local:DIR`` is one of this machine.
    """

    host: str
    user: str | None
    port: int | None
    name: str
    folder: str | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def login(self) -> str:
        """``user@host``, as ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def by_hand(self) -> str:
        """The words with which a user reaches it."""
        return f"ssh -p {self.port} {self.login}" if self.port else f"ssh {self.login}"


def is_ssh(text: str) -> bool:
    """Tell whether a target is meant for SSH, right or wrong: ``ssh://…``, or with an ``@``."""
    return text.startswith(_SCHEME) or ("@" in text and "://" not in text)


def parse_ssh(text: str, name: str, where: str = "target") -> SshTarget:
    """Return the board that ``user@host[:port]`` or ``ssh://[user@]host[:port][/folder]`` means. Raises UsageError."""
    found = _DESTINATION.fullmatch(text.removeprefix(_SCHEME))
    folder = found["folder"].rstrip("/") if found and found["folder"] else ""
    if found is None or not 0 < int(found["port"] or 22) < 65536 or (folder and not text.startswith(_SCHEME)):
        raise UsageError(f"{where}: expected {FORM}, got {text!r}", hint="for example: ssh://pi@board.local")
    port = int(found["port"]) if found["port"] else None
    return SshTarget(found["host"] or found["address"], found["user"], port, name, folder or None)


def ssh_words(
    target: SshTarget, *, options: Sequence[str] = (), command: Sequence[str] = (), ask: bool = False
) -> list[str]:
    """Return the command line of OpenSSH's client.

    Args:
        target: where to.
        options: further words before the destination, as ``-N``.
        command: what to run there; the far shell reads it, so values in it have to be quoted.
        ask: let ssh ask for passwords and unknown hosts; otherwise it fails where it would have to.
    """
    words = ["ssh", "-T"]
    config = os.environ.get(CONFIG_VARIABLE)
    if config:
        words += ["-F", config]
    for option in (*_OPTIONS, f"BatchMode={'no' if ask else 'yes'}"):
        words += ["-o", option]
    if target.port:
        words += ["-p", str(target.port)]
    if target.user:
        words += ["-l", target.user]
    return [*words, *options, "--", target.host, *command]


def ssh_error(target: SshTarget, said: str) -> EdgeError:
    """Return what ssh's last words mean, with the remedy.

    ``said`` is what ssh wrote to stderr, in English (OpenSSH's own messages are never translated).
    """
    for sign, meaning, hint in _MEANINGS:
        if sign in said:
            return UnreachableError(
                f"{target}: {meaning}",
                hint=hint.format(by_hand=target.by_hand, login=target.login, host=_known_as(target)),
            )
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "ssh gave no reason")
    return UnreachableError(f"{target}: {last}", hint=f"try it by hand: {target.by_hand}")


_MEANINGS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known: it was set up anew, or something else answers in its place",
        "if it was set up anew: ssh-keygen -R '{host}'\nthen look at the new key: {by_hand}",
    ),
    (
        "Host key verification failed",
        "its host key is not known yet",
        "log in once, and compare the fingerprint: {by_hand}",
    ),
    (
        "sign_and_send_pubkey: signing failed",
        "your key would not sign",
        "touch the security key, or unlock the agent's key: ssh-add -l; then see: {by_hand}",
    ),
    ("Permission denied", "it did not let us in", "give it your key: ssh-copy-id {login}"),
    ("Too many authentication failures", "it did not let us in", "give it your key: ssh-copy-id {login}"),
    ("Could not resolve hostname", "no such host", "name its address, or see: {by_hand}"),
    ("Connection refused", "nothing listens for SSH there", "is sshd running on the board? see: {by_hand}"),
    ("Connection closed by", "it hung up before it let us in", "is sshd well there? see: {by_hand}"),
    ("Connection reset by", "it hung up before it let us in", "is sshd well there? see: {by_hand}"),
    ("timed out", "it does not answer", "is it switched on, and in this network? see: {by_hand}"),
    ("not responding", "it does not answer any more", "is it switched on, and in this network? see: {by_hand}"),
    ("Network is unreachable", "there is no way to it", "is this machine in a network? see: {by_hand}"),
    ("No route to host", "there is no way to it", "is it switched on, and in this network? see: {by_hand}"),
)


def _known_as(target: SshTarget) -> str:
    """Return what known_hosts calls it (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""
    return f"[{target.host}]:{target.port}" if target.port and target.port != 22 else target.host
