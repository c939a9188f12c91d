"""What newcomers and CI run first."""

import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parent.parent.parent


def test_every_pin_has_a_hash_and_the_smaller_environment_is_part_of_the_larger():
    pins = {}
    for name in ("run", "dev"):
        text = (_REPOSITORY / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        assert all("--hash=sha256:" in line for line in lines)
        pins[name] = {line.split("--hash")[0].strip() for line in lines}
    assert {pin.split(" ;")[0] for pin in pins["run"]} <= {pin.split(" ;")[0] for pin in pins["dev"]}


def test_the_targets_that_the_readme_names_exist():
    for target in ("demo", "test", "check"):
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=_REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_runtime_is_version_one_thing_everywhere():
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "--version"], capture_output=True, text=True, check=True
    ).stdout
    from device_runtime import __version__  # noqa: PLC0415 - compared with what the command says

    assert done.strip() == f"edgekit {__version__}"
