"""Scripts that a board's sh runs."""

import subprocess

import pytest


def assert_posix(path, *, allowed=()):
    """Let shellcheck judge a script; skip the test where it is not installed.

    Args:
        path: the script.
        allowed: the codes of what is meant.
    """
    words = ["shellcheck", "-s", "sh", *(["-e", ",".join(allowed)] if allowed else []), path]
    try:
        checked = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no shellcheck here; install it: apt-get install shellcheck")
    assert checked.returncode == 0, checked.stdout
