"""The units with which systemd keeps a release running, behind walls: text from settings, nothing else."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional
from urllib.parse import urlsplit

from device_runtime.contract.pulse import PULSE_FILE
from device_runtime.contract.service import HealthSpec, ServiceSpec, is_loopback
from device_runtime.errors import BadFileError, EdgeError, InstallError, UsageError
from device_runtime.install.launch import NOTHING_TO_RUN
from device_runtime.install.service.keeper import Account

SERVICE = "edgekit.service"
RECOVER = "edgekit-recover.service"
SETTLE = "edgekit-settle.service"
CRASHED = "edgekit-crashed.service"
ENABLED = (SERVICE, RECOVER, SETTLE)
"""Those that start with the machine; the fourth is started by a crash loop."""
FIRST_BOOT = "edgekit-first-boot.service"
"""That of a card that came with a bundle: it is no part of an installation, and outlives a removal."""
BOOT_TARGET = "multi-user.target"
SYSTEM_ROOT = "/var/lib/edgekit"
"""Where releases of a whole machine are (edgekit/boards/bootstrap.py)."""
RUNTIME_FOLDER = "edgekit"
"""Below /run, or below a user's own run-time folder."""
PULSE_NAME = "pulse.json"

_STOPPED_BY_SIGNAL = 130
"""What a release ends with when it is told to stop (docs/reference/exit-codes.md)."""
_RESTART_S = 2
_STOP_S = 15
"""A clip of the last seconds is written to the end."""
_CRASHES = 5
_RECOVERY_S = 900
_TASKS = 512
"""Threads of 64 workers, of 100 viewers and of OpenCV, with room to spare; a fork bomb ends here."""

_PYTHON = "/usr/bin/python3"
_PATIENCE_S = 600
"""So long a first boot waits for whoever deploys to the board at the same time: settle.PATIENCE_S."""
_GROWS = ("systemd-growfs-root.service", "rpi-resize.service", "resize2fs_once.service")
"""What lets the root file system fill the card: Raspberry Pi OS on Trixie (the first two), and before it."""
_CLOUD_INIT = ("cloud-init-main.service", "cloud-init-network.service", "cloud-init.service")
"""cloud-init's stage that grows the root, makes users and names the machine: since version 24.3, and before it."""

_SCHEME = re.compile(r"([a-z0-9]+):(.*)", re.DOTALL)
_V4L2, _CSI = frozenset({"v4l2"}), frozenset({"camera", "picamera2"})
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - the places that ProtectHome, PrivateTmp hide
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Setting:
    """Where units are for: the root, the Python that starts the installer, whose systemd, and whom releases run as.

    ``groups`` are those that may use cameras here: one that does not exist would let nothing start.
    """

    root: Path
    python: str
    scope: Literal["system", "user"]
    account: Optional[Account] = None
    groups: tuple[str, ...] = ()


def units(service: ServiceSpec, setting: Setting) -> dict[str, str]:
    """Return the text of each unit by its name.

    Raises:
        UsageError: the root's path cannot be said in a unit.
        BadFileError: a path of ``service`` cannot be said in a unit.
    """
    for path in (str(setting.root), setting.python):
        _check(path, UsageError)
    return {
        SERVICE: _text(_service_unit(service, setting)),
        RECOVER: _text(_recover_unit(setting)),
        SETTLE: _text(_settle_unit(setting)),
        CRASHED: _text(_crashed_unit(setting)),
    }


def first_boot_unit(mount: str) -> str:
    """Return the text of the unit that installs, at each boot until it is done, what came with a card.

    Args:
        mount: where the board has the card's first partition: ``/boot/firmware``, or ``/boot`` before Bookworm.

    Raises:
        UsageError: the path cannot be said in a unit.
    """
    _check(mount, UsageError)
    folder = f"{mount}/edgekit"
    words = [_PYTHON, "-I", f"{folder}/installer.pyz", "first-boot", "--from", folder]
    words += ["--root", SYSTEM_ROOT, "--scope", "system", "--wait", f"{_PATIENCE_S}"]
    unit = [
        "Description=install the edgekit application that came with this card",
        # By default the target that wants it would wait until it has ended, and whoever waits for that target, too:
        # systemd.target(5), Default Dependencies. These are the others of a service (systemd.service(5)).
        "DefaultDependencies=no",
        "Requires=sysinit.target",
        "After=sysinit.target basic.target",
        "Conflicts=shutdown.target",
        "Before=shutdown.target",
        f"RequiresMountsFor={_quoted(mount)} {SYSTEM_ROOT}",
        f"After=local-fs.target {' '.join((*_GROWS, *_CLOUD_INIT))}",
        # The service that it starts and watches waits for this one: its time to start shall not go by with that.
        "After=network.target",
        # A trial that a power cut interrupted goes on in the usual way, and only then it is looked at what there is.
        f"After={RECOVER} {SETTLE}",
    ]
    run = [
        "Type=oneshot",
        f"ExecStart={_line(words)}",
        "TimeoutStartSec=infinity",
        # People read it there who have no other way to the board.
        "StandardOutput=journal+console",
        "StandardError=journal",
        "SyslogIdentifier=edgekit-first-boot",
        "UMask=0022",
    ]
    return _text([("Unit", unit), ("Service", run), ("Install", [f"WantedBy={BOOT_TARGET}"])])


def uses_camera(service: ServiceSpec) -> bool:
    """Return whether frames come from a device of this machine."""
    return _scheme(service)[0] in _V4L2 | _CSI


def needs_network(service: ServiceSpec) -> bool:
    """Return whether anything goes beyond this machine: the page, an RTSP camera, a broker, a webhook."""
    hosts = [service.page.host] if service.page else []
    if _scheme(service)[0] in ("rtsp", "rtsps"):
        hosts.append(urlsplit(service.source).hostname or "")
    if service.mqtt:
        hosts.append(service.mqtt.host)
    if service.webhook:
        hosts.append(urlsplit(service.webhook.url).hostname or "")
    return not all(is_loopback(host.strip("[]").lower()) for host in hosts)


_Section = tuple[str, list[str]]


def _service_unit(service: ServiceSpec, setting: Setting) -> list[_Section]:
    root, health, system = str(setting.root), service.health, setting.scope == "system"
    unit = [
        "Description=edgekit application",
        f"After={RECOVER}",
        f"OnFailure={CRASHED}",
        f"RequiresMountsFor={_quoted(root)}",
        # A release that hangs until each limit counts as well as one that ends at once.
        f"StartLimitIntervalSec={_seconds(_CRASHES * _longest_try_s(health))}",
        f"StartLimitBurst={_CRASHES}",
    ]
    if system:
        unit.append("After=network.target")
    if system and uses_camera(service):
        # DeviceAllow= knows the kinds of devices that are there when the service starts. This makes them be there,
        # also before the first camera is plugged in.
        unit += ["Wants=modprobe@videodev.service", "After=modprobe@videodev.service"]
    run = [
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={_command(setting, 'launch')}",
        f"WorkingDirectory={_plain(root)}/data",
        f"EnvironmentFile=-{_globbed(root)}/environment",
        f"Environment={PULSE_FILE}=%t/{RUNTIME_FOLDER}/{PULSE_NAME}",
        "Environment=PYTHONDONTWRITEBYTECODE=1",
        f"RuntimeDirectory={RUNTIME_FOLDER}",
        f"TimeoutStartSec={_seconds(health.start_s)}",
        f"TimeoutStopSec={_STOP_S}",
        f"TimeoutAbortSec={_STOP_S}",
        f"WatchdogSec={_seconds(health.watchdog_s)}",
        "Restart=on-failure",
        f"RestartSec={_RESTART_S}",
        f"RestartPreventExitStatus={NOTHING_TO_RUN}",
        f"SuccessExitStatus={NOTHING_TO_RUN} {_STOPPED_BY_SIGNAL}",
        # The process of picamera2 is ended by the one that started it.
        "KillMode=mixed",
        # Rather this than the sshd by which the board is reached.
        "OOMScoreAdjust=300",
        "OOMPolicy=kill",
        f"TasksMax={_TASKS}",
        # A core dump holds pictures and passwords, and fills a card.
        "LimitCORE=0",
        "UMask=0027",
    ]
    if service.memory_mb is not None:
        run += [f"MemoryMax={service.memory_mb}M", "MemorySwapMax=0"]
    run += _filters(service)
    if system:
        run += [*_identity(setting, service), *_walls(service), *_places(service, setting), *_devices(service)]
        run += [] if needs_network(service) else ["IPAddressDeny=any", "IPAddressAllow=localhost"]
    return [("Unit", unit), ("Service", run), _install(setting)]


def _longest_try_s(health: HealthSpec) -> float:
    return health.start_s + health.watchdog_s + _STOP_S + _RESTART_S


def _filters(service: ServiceSpec) -> list[str]:
    """Return what limits a process by filters of system calls: a user's systemd can do that, too."""
    families = ["AF_UNIX"]
    if needs_network(service) or service.page or service.mqtt or service.webhook or _scheme(service)[0] in _RTSP:
        families += ["AF_INET", "AF_INET6"]
    if _scheme(service)[0] in _CSI:
        families.append("AF_NETLINK")  # libcamera finds its devices by udev
    return [
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        # Python, NumPy, OpenCV and LiteRT with XNNPACK make no code at run time: tried with PR_SET_MDWE of prctl(2).
        "MemoryDenyWriteExecute=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        f"RestrictAddressFamilies={' '.join(families)}",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        # What is refused fails, and kills nothing: libraries try calls that they can do without.
        "SystemCallErrorNumber=EPERM",
    ]


_RTSP = ("rtsp", "rtsps")


def _identity(setting: Setting, service: ServiceSpec) -> list[str]:
    account = setting.account
    if account is None:
        return []
    if not _ACCOUNT.fullmatch(account.name):
        raise UsageError(f"account: expected a name of lower-case letters and digits, got {account.name!r}")
    lines = [f"User={account.name}", f"Group={account.gid}"]
    if uses_camera(service) and setting.groups:
        lines.append(f"SupplementaryGroups={' '.join(setting.groups)}")
    return lines


def _walls(service: ServiceSpec) -> list[str]:
    del service
    return [
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        # Of /proc more than the own processes: LiteRT reads cpuinfo, the page shows meminfo.
        "ProtectProc=invisible",
        "RemoveIPC=yes",
    ]


def _places(service: ServiceSpec, setting: Setting) -> list[str]:
    """Return which folders are seen, and which are written to.

    A path below those that are hidden (homes, /tmp) is put back by itself.
    """
    root = str(setting.root)
    read = [path for path in _read_paths(service) if _is_below(path, _HIDDEN)]
    written = [path for path in _written_folders(service) if posixpath.isabs(path)]
    lines = []
    if _is_below(root, _HIDDEN):
        lines += [f"BindReadOnlyPaths={_quoted(root)}", f"BindPaths={_quoted(root + '/data')}"]
    lines.append(f"ReadWritePaths={_quoted(root + '/data')}")
    lines += [f"BindReadOnlyPaths={_quoted('-' + path)}" for path in read]
    for path in written:
        kind = "BindPaths" if _is_below(path, _HIDDEN) else "ReadWritePaths"
        lines.append(f"{kind}={_quoted('-' + path)}")
    # tmpfs lets paths below a home be put back; else nothing of homes is seen at all.
    shown = any(_is_below(path, _HIDDEN) for path in (root, *read, *written))
    return [f"ProtectHome={'tmpfs' if shown else 'yes'}", *lines]


def _devices(service: ServiceSpec) -> list[str]:
    scheme = _scheme(service)[0]
    if scheme in _V4L2 | _CSI:
        # As /proc/devices names them. libcamera needs the media controller, and buffers from a DMA heap.
        kinds = ["video4linux", *(["media", "dma_heap"] if scheme in _CSI else [])]
        return ["DevicePolicy=closed", *(f"DeviceAllow=char-{kind} rw" for kind in kinds)]
    return ["DevicePolicy=closed", "PrivateDevices=yes"]


def _recover_unit(setting: Setting) -> list[_Section]:
    unit = [
        "Description=settle what a power cut left of an edgekit installation",
        f"Before={SERVICE}",
        f"RequiresMountsFor={_quoted(str(setting.root))}",
    ]
    return [("Unit", unit), _oneshot(setting, f"{_RECOVERY_S}", "recover", "--boot"), _install(setting)]


def _settle_unit(setting: Setting) -> list[_Section]:
    unit = [
        "Description=finish the trial of an edgekit release that a reboot interrupted",
        # Not after the service: that starts for as long as its camera is missing, and a trial has to end.
        f"After={RECOVER}",
        f"RequiresMountsFor={_quoted(str(setting.root))}",
    ]
    return [("Unit", unit), _oneshot(setting, "infinity", "settle"), _install(setting)]


def _crashed_unit(setting: Setting) -> list[_Section]:
    unit = [
        "Description=decide what to do about an edgekit release that crashes again and again",
        f"RequiresMountsFor={_quoted(str(setting.root))}",
        "StartLimitIntervalSec=0",
    ]
    kind, lines = _oneshot(setting, "infinity", "crashed")
    # Since version 254 systemd calls OnFailure= at each crash, and not only at the last, after which it gives up.
    asks = f"ExecCondition=systemctl {'--user ' if setting.scope == 'user' else ''}is-failed --quiet {SERVICE}"
    return [("Unit", unit), (kind, [*lines, asks])]


def _oneshot(setting: Setting, timeout: str, *words: str) -> _Section:
    """Return a command of the installer. What watches a release, or waits for another installer, ends by itself."""
    run = ["Type=oneshot", f"ExecStart={_command(setting, *words)}", f"TimeoutStartSec={timeout}", "UMask=0022"]
    # A release that was taken back is what it is there for, and no failure of the machine.
    return "Service", [*run, f"SuccessExitStatus={InstallError.exit_code}"]


def _install(setting: Setting) -> _Section:
    return "Install", [f"WantedBy={BOOT_TARGET if setting.scope == 'system' else 'default.target'}"]


def _command(setting: Setting, *words: str) -> str:
    root = str(setting.root)
    return _line([setting.python, "-I", f"{root}/installer.pyz", *words, "--root", root, "--scope", setting.scope])


def _line(words: Iterable[str]) -> str:
    # In command lines alone a dollar begins a variable: systemd.service(5), COMMAND LINES.
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _text(sections: Iterable[_Section]) -> str:
    head = "# Written by edgekit; `systemctl edit` adds to it and survives updates.\n"
    return head + "".join(f"\n[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections)


def _scheme(service: ServiceSpec) -> tuple[str, str]:
    found = _SCHEME.fullmatch(service.source)
    return (found.group(1), found.group(2)) if found else ("", "")


def _read_paths(service: ServiceSpec) -> list[str]:
    """Return the absolute paths, outside of the root, that the application reads."""
    scheme, what = _scheme(service)
    named: list[Optional[str]] = [what.partition("?")[0] if scheme in ("file", "dir") else None]
    named.append(service.page.token_file if service.page else None)
    named.append(service.webhook.token_file if service.webhook else None)
    named += [service.mqtt.password_file, service.mqtt.ca_file] if service.mqtt else []
    return _normal(path for path in named if path)


def _written_folders(service: ServiceSpec) -> list[str]:
    named = [posixpath.dirname(service.jsonl.path)] if service.jsonl else []
    named += [sink.folder for sink in (service.snapshots, service.clips) if sink]
    return _normal(named)


def _normal(paths: Iterable[str]) -> list[str]:
    """Return those that are absolute, each once, as systemd wants them. Raises BadFileError."""
    found = []
    for path in paths:
        if posixpath.isabs(path):
            _check(path, BadFileError)
            found.append("/" + posixpath.normpath(path).lstrip("/"))
    return list(dict.fromkeys(found))


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _check(path: str, kind: type[EdgeError]) -> None:
    if not path.isprintable() or not posixpath.isabs(path):
        raise kind(
            f"{path!r}: expected an absolute path of printable letters, which systemd can be told",
            hint="choose another path",
        )


def _plain(text: str) -> str:
    """Return a text for a setting that takes one value as it is: only specifiers mean something (systemd.unit(5))."""
    return text.replace("%", "%%")


def _globbed(text: str) -> str:
    """Return a text for EnvironmentFile=, which is a pattern as in glob(7)."""
    return _plain(re.sub(r"([*?\[\\])", r"\\\1", text))


def _quoted(text: str) -> str:
    """Return one word of a list of words: systemd.syntax(7), QUOTING."""
    if re.fullmatch(r"[A-Za-z0-9_./@+-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_plain(escaped)}"'


def _seconds(value: float) -> str:
    return f"{value:g}"
