"""Waiting for what comes to pass in another thread or process."""

import time


def wait_for(condition, timeout_s=20.0):
    """Wait until ``condition()`` holds, and return what it gave."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
    return found
