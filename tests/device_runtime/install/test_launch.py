import dataclasses
import json
import os
import subprocess

import pytest

from device_runtime.contract.status import SafeMode
from device_runtime.install.fsops import FileSystem
from device_runtime.install.launch import release_command
from device_runtime.install.root import Root
from device_runtime.install.service.process import installer_words
from device_runtime.install.state import read_state, write_state
from tests.support.installing import current, environment, install
from tests.support.served import SYSTEM_PYTHON, accessible, nobody, served_bundle, served_root, told

TELL = """tell('env', json.dumps(dict(os.environ)))
tell('words', json.dumps(sys.argv[1:]))
tell('path', json.dumps(sys.path))"""


@pytest.fixture
def place():
    """A folder that every account may enter."""
    with accessible() as folder:
        yield folder


def launched(root, environment=None, **options):
    """Launch to the end, as nobody where we are root; return what it said."""
    words = installer_words(root, "launch", "user", SYSTEM_PYTHON)
    account = nobody()
    whom = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    given = {"PATH": os.environ["PATH"]} if environment is None else environment
    return subprocess.run(words, env=given, cwd="/", capture_output=True, text=True, check=False, **{**whom, **options})


def writable(root):
    """Let nobody write in the data, as a keeper does."""
    root.data.mkdir(exist_ok=True)
    root.data.chmod(0o777)
    return root


def test_an_application_runs_with_its_own_packages_in_its_data(place):
    root = writable(served_root(place, TELL))
    (root.data / "runpy.py").write_text("raise SystemExit('imported what the application wrote')")
    (root.data / "device_runtime.py").write_text("raise SystemExit('imported what the application wrote')")
    given = {
        "EDGEKIT_RTSP_AUTH": "a:b",
        "PYTHONPATH": "/elsewhere",
        "PYTHONSTARTUP": "/elsewhere/x.py",
        "LC_ALL": "xx_XX",
        "SSH_CONNECTION": "1",
        "SECRET_OF_A_LOGIN": "s",
        "TZ": "UTC",
    }
    done = launched(root, given)
    assert (done.returncode, done.stderr) == (0, "")
    environment = json.loads(told(root, "env"))
    release = root.release(current(root.path))
    assert json.loads(told(root, "words")) == ["run", "--release", str(release), "--service"]
    assert environment["EDGEKIT_PULSE_FILE"] == str(root.path / "run" / "pulse.json")
    assert (environment["EDGEKIT_RTSP_AUTH"], environment["TZ"], environment["LANG"]) == ("a:b", "UTC", "C.UTF-8")
    assert not {"PYTHONSTARTUP", "LC_ALL", "SSH_CONNECTION", "SECRET_OF_A_LOGIN"} & set(environment)
    path = json.loads(told(root, "path"))
    assert path[0] == str(next((root.path / "wheels").iterdir()))
    assert "" not in path
    assert str(root.data) not in path
    assert any(folder.endswith("dist-packages") for folder in path)  # what the system's packages bring


def test_nothing_of_the_working_folder_is_imported_before_it_is_out_of_the_way(tmp_path):
    (tmp_path / "runpy.py").write_text("raise SystemExit('imported what the application wrote')")
    python, *words = release_command(["check"])
    # Python before 3.11 looks for runpy in folders, as later ones do without their frozen modules.
    command = [python, "-X", "frozen_modules=off", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert "imported what the application wrote" not in done.stderr
    assert "--release" in done.stderr


def test_what_systemd_gives_reaches_the_application(place):
    root = writable(served_root(place, TELL))
    given = {
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "1",
        "JOURNAL_STREAM": "1:2",
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": "/elsewhere",
        "EDGEKIT_PULSE_FILE": str(place / "elsewhere.json"),
    }
    assert launched(root, given).returncode == 0
    environment = json.loads(told(root, "env"))
    for name in set(given) - {"PYTHONPATH"}:
        assert environment[name] == given[name]
    assert "/elsewhere" not in environment["PYTHONPATH"].split(":")


def test_a_release_runs_on_whole_when_the_link_moves(place):
    root = writable(
        served_root(
            place,
            "tell('there', 1)\nwhile not os.path.exists('go'): time.sleep(0.02)\n"
            "import late\ntell('late', late.__file__ + open(sys.argv[3] + '/model.tflite').read())",
        )
    )
    first = current(root.path)
    wheel = next((root.path / "wheels").iterdir())
    (wheel / "late.py").write_text("")
    words = installer_words(root, "launch", "user", SYSTEM_PYTHON)
    account = nobody()
    whom = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    with subprocess.Popen(words, env={}, cwd="/", **whom) as process:
        told(root, "there")
        for version in ("2.0", "3.0"):
            assert install("apply", root.path, served_bundle(place, "tell('other', 1)", version)).code == 0
        # It is neither current nor previous any more, and still there: it is held.
        assert first not in (current(root.path), (root.path / "previous").resolve().name)
        assert root.release(first).is_dir()
        (root.data / "go").touch()
        assert process.wait(20) == 0
    assert told(root, "late") == f"{wheel}/late.pymodel1.0"
    assert install("recover", root.path).code == 0
    assert not root.release(first).exists()


def test_nothing_installed_is_said_in_one_line(place):
    root = Root(place / "root")
    root.path.mkdir()
    done = launched(root)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == f"{root.path}: no release is installed (edgekit deploy)\n"


def test_safe_mode_runs_nothing_and_says_why(place):
    root = served_root(place, "tell('ran', 1)")
    write_state(FileSystem(), root, dataclasses.replace(read_state(root), safe_mode=SafeMode("c", "it broke", "now")))
    done = launched(root)
    assert done.returncode == 78
    assert "on purpose: it broke" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_release_is_told(place):
    root = served_root(place, "tell('ran', 1)")
    (root.release(current(root.path)) / "paths.txt").unlink()
    done = launched(root)
    assert done.returncode == 1
    assert "cannot read release" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may not run releases")
def test_root_is_refused(place):
    root = served_root(place, "tell('ran', os.getuid())")
    done = launched(root, user=0, group=0)
    assert done.returncode == 78
    assert "never runs as root" in done.stderr
    assert not (root.data / "ran").exists()


def test_an_application_without_a_folder_for_data_runs_all_the_same(place):
    root = served_root(place, "print(os.getcwd(), flush=True)")
    root.path.chmod(0o755)
    done = launched(root)
    assert done.returncode == 0
    assert done.stdout.strip() in (str(root.path), str(root.data))
