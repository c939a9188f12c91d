import threading

import pytest

from device_runtime.install.fsops import FileSystem
from device_runtime.install.lock import BusyError, locked, receiving
from device_runtime.install.root import Root
from tests.support.waiting import wait_for


def test_whoever_waited_for_a_lock_that_was_removed_does_not_share_it_with_a_newcomer(tmp_path):
    root, go, has_it = Root(tmp_path), threading.Event(), threading.Event()

    def wait():
        with locked(FileSystem(), root, 20):
            has_it.set()
            go.wait(20)

    with locked(FileSystem(), root):
        waiter = threading.Thread(target=wait)
        waiter.start()
        root.lock.unlink()  # as a removal does
    wait_for(has_it.is_set)
    with pytest.raises(BusyError, match="another installer is at work"), locked(FileSystem(), root):
        pass
    go.set()
    waiter.join()
    with locked(FileSystem(), root):
        pass


def test_a_lock_on_a_removed_file_counts_for_nothing(tmp_path):
    class Removing(FileSystem):
        """Another process removes the file between our open and our lock, once."""

        removed = False

        def open_append(self, path):
            descriptor = super().open_append(path)
            if not self.removed:
                self.removed = True
                path.unlink()
            return descriptor

    root = Root(tmp_path)
    with locked(Removing(), root), pytest.raises(BusyError), locked(FileSystem(), root):
        pass


def test_receiving_and_installing_have_locks_of_their_own(tmp_path):
    root = Root(tmp_path)
    with receiving(FileSystem(), root), locked(FileSystem(), root):
        with pytest.raises(BusyError, match="another host is sending"), receiving(FileSystem(), root):
            pass
        with pytest.raises(BusyError, match="another installer is at work"), locked(FileSystem(), root):
            pass
