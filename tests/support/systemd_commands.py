"""A systemd without processes: it reads units, enables and starts them, and tells their properties."""

import pwd
from pathlib import Path

from device_runtime.errors import EdgeError
from device_runtime.install.service.programs import NOT_FOUND, Completed

_FIRST_STATE = {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "NRestarts": "0", "MainPID": "0"}


class FakeSystemd:
    """Implements ``Programs``: systemctl, journalctl, useradd and systemd-sysusers, as a machine of its own.

    ``calls`` are the words of all that was run; ``properties`` what it knows of the application; ``missing`` are
    programs that are not there, and ``refused`` verbs of systemctl that fail, with what they say.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = []
        self.manager = "running"
        self.enabled = set()
        self.read = {}
        self.properties = dict(_FIRST_STATE)
        self.journal = []
        self.missing = set()
        self.refused = {}
        self.entry = None

    def run(self, words):
        self.calls.append(list(words))
        if words[0] in self.missing:
            return Completed(NOT_FOUND, err=f"{words[0]}: not found")
        if words[0] in ("useradd", "systemd-sysusers"):
            name = words[-1] if words[0] == "useradd" else words[-1].split()[1]
            self.entry = pwd.struct_passwd((name, "x", 990, 991, "", "/nonexistent", "/usr/sbin/nologin"))
            return Completed(0)
        assert words[0] == "systemctl", words
        verb, *rest = [word for word in words[1:] if word != "--user"]
        if verb in self.refused:
            return Completed(1, err=f"Reading...\n{self.refused[verb]}\n")
        options = [word for word in rest if word.startswith("--")]
        return getattr(self, "_" + verb.replace("-", "_"))([word for word in rest if word not in options], options)

    def lines(self, words):
        self.calls.append(list(words))
        if "journalctl" in self.missing:
            raise EdgeError("journalctl: not found on this machine")
        yield from self.journal

    def find(self):
        """Return the account, as pwd would."""
        return self.entry

    def verbs(self):
        """Return what systemctl was told, without what it was asked."""
        asked = ("show", "is-system-running")
        told = [[word for word in words[1:] if word != "--user"] for words in self.calls if words[0] == "systemctl"]
        return [words[0] for words in told if words[0] not in asked]

    def _is_system_running(self, _names, _options):
        return Completed(0 if self.manager == "running" else 1, f"{self.manager}\n")

    def _daemon_reload(self, _names, _options):
        self.read = {path.name: path.read_text() for path in self.folder.glob("*.service")}
        return Completed(0)

    def _enable(self, names, _options):
        self.enabled.update(names)
        return Completed(0)

    def _disable(self, names, _options):
        self.enabled.difference_update(names)
        return Completed(0)

    def _reset_failed(self, _names, _options):
        self.properties.update(_FIRST_STATE)
        return Completed(0)

    def _restart(self, _names, options):
        assert "--no-block" in options
        self.properties.update(ActiveState="activating", SubState="start", MainPID="4711")
        return Completed(0)

    def _stop(self, _names, _options):
        self.properties.update(_FIRST_STATE)
        return Completed(0)

    def _show(self, names, options):
        wanted = options[0].partition("=")[2].split(",")
        return Completed(0, "\n\n".join(self._block(name, wanted) for name in names) + "\n")

    def _block(self, name, wanted):
        path = self.folder / name
        if path.exists():
            self.read.setdefault(name, path.read_text())
        known = {
            **self.properties,
            "LoadState": "loaded" if name in self.read else "not-found",
            "NeedDaemonReload": "yes" if path.exists() and path.read_text() != self.read[name] else "no",
            "UnitFileState": "enabled" if name in self.enabled else "disabled",
        }
        return "\n".join(f"{key}={known[key]}" for key in wanted if key in known)
