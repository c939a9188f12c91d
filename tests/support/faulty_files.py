"""File systems that fail at the n-th mutating call: killed, refused, full, told to stop, or short of breath."""

import errno
import os
import signal

from device_runtime.install.fsops import FileSystem

CALLS = tuple(name for name in vars(FileSystem) if not name.startswith("_"))
_TAKES_SPACE = ("create", "write", "make_folder", "symlink", "open_append")


class FaultyFiles(FileSystem):
    """The real file system, with ``fault(number, name)`` called before each mutating call."""

    def __init__(self, fault) -> None:
        self.fault = fault
        self.calls = []


def _guarded(name):
    real = getattr(FileSystem, name)

    def method(self, *arguments):
        number = len(self.calls)
        self.calls.append(name)
        self.fault(number, name)
        return real(self, *arguments)

    return method


for _name in CALLS:
    setattr(FaultyFiles, _name, _guarded(_name))


class ShortFiles(FileSystem):
    """Takes at most seven bytes in one write."""

    def write(self, descriptor, data):
        return super().write(descriptor, data[:7])


def kill_at(point):
    """Return a fault that ends the process before call ``point``, as a power cut or the OOM killer would."""

    def fault(number, _name):
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def stop_at(point):
    """Return a fault that sends SIGTERM before call ``point``."""

    def fault(number, _name):
        if number == point:
            os.kill(os.getpid(), signal.SIGTERM)

    return fault


def refuse_at(point):
    """Return a fault that fails call ``point`` with an input/output error."""

    def fault(number, name):
        if number == point:
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)

    return fault


def full_from(point):
    """Return a fault that has no space left from call ``point`` on; what frees space still works."""

    def fault(number, name):
        if number >= point and name in _TAKES_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    return fault


FAULTS = {"kill": kill_at, "stop": stop_at, "refuse": refuse_at, "full": full_from}
