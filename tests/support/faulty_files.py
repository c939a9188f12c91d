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


class RandomlyFaulty(FaultyFiles):
    """Fails by chance: a call is refused before or after it was done, takes less than it was given, or is the last."""

    def __init__(self, chance, rate) -> None:
        super().__init__(self._refuse)
        self._chance = chance
        self._rate = rate
        self._read_only = False

    def write(self, descriptor, data):
        if len(data) > 1 and self._chance.random() < 4 * self._rate:
            data = data[: self._chance.randrange(1, len(data))]
        return super().write(descriptor, data)

    def rename(self, source, target):
        super().rename(source, target)
        if self._chance.random() < self._rate:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(target))

    def _refuse(self, _number, name):
        if not self._read_only and self._chance.random() >= self._rate:
            return
        kinds = [errno.EIO, errno.EROFS, "kill"]
        kinds += [errno.ENOSPC] if name in _TAKES_SPACE else []
        kinds += [errno.EMFILE] if name in ("create", "open_append") else []
        kind = errno.EROFS if self._read_only else self._chance.choice(kinds)
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        # ext4's errors=remount-ro: nothing is written any more until somebody mounts it anew.
        self._read_only = self._read_only or (kind == errno.EROFS and self._chance.random() < 0.5)
        raise OSError(kind, os.strerror(kind), name)
