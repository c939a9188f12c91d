"""A command in a terminal of its own, with somebody who types."""

import contextlib
import fcntl
import os
import subprocess
import termios

from tests.support.waiting import wait_for


class Terminal:
    """A process whose terminal this is; ``text`` is what it has shown."""

    def __init__(self, words, env):
        self._screen, inside = os.openpty()
        os.set_blocking(self._screen, False)
        self._shown = b""
        self.process = subprocess.Popen(
            words,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call
        )
        os.close(inside)

    @property
    def text(self):
        with contextlib.suppress(OSError):  # nothing yet, or the other end is closed
            while piece := os.read(self._screen, 65536):
                self._shown += piece
        return self._shown.decode("utf-8", "replace")

    def answer(self, question, words):
        """Wait for a question and type some words."""
        wait_for(lambda: question in self.text)
        os.write(self._screen, words.encode())

    def end(self):
        """Wait for the end, and return the exit code."""
        wait_for(lambda: self.text is not None and self.process.poll() is not None)
        self.text  # noqa: B018 - reads the rest
        os.close(self._screen)
        self._screen = -1
        return self.process.returncode
