import shutil
import signal

from device_runtime.install.fsops import FileSystem
from device_runtime.install.lock import using
from device_runtime.install.root import Root
from tests.support.fault_points import look, run
from tests.support.faulty_files import FaultyFiles, kill_at, refuse_at
from tests.support.installing import install


def test_everything_of_ours_is_removed_and_what_is_not_is_left(board, second):
    install("apply", board, second)
    (board / "notes.txt").write_text("mine")
    (board / "data").mkdir()
    (board / "data" / "clips.mp4").write_text("made by the application")
    done = install("remove", board)
    assert done.result == {"outcome": "removed", "current": None, "previous": None, "written_bytes": 0}
    assert "data was left" in done.lines[-2]["message"]
    assert sorted(path.name for path in board.iterdir()) == ["data", "notes.txt"]
    assert install("remove", board, "--data").code == 0
    assert [path.name for path in board.iterdir()] == ["notes.txt"]


def test_a_folder_that_was_never_a_root_loses_nothing(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters").write_text("dear")
    assert install("remove", tmp_path / "home").result["outcome"] == "removed"
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letters"]


def test_removing_twice_and_removing_nothing_is_fine(board):
    for _ in range(2):
        assert install("remove", board).result["outcome"] == "removed"
        assert not board.exists()


def test_a_removal_killed_at_any_call_leaves_a_release_that_runs_or_none_and_is_completed(board, tmp_path):
    root = tmp_path / "root"
    outcomes = set()
    for point in range(1000):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(board, root, symlinks=True)
        code, said, _ = run(["remove", "--root", str(root)], FaultyFiles(kill_at(point)))
        if code == 0:
            assert said["result"]["outcome"] == "removed"
            break
        assert code == -signal.SIGKILL
        run(["recover", "--root", str(root)], FileSystem())
        found = look(root) if root.exists() else {"current": None, "damage": []}
        assert not found["damage"]
        assert found["current"] is not None or not (root / "current").exists()
        outcomes.add(found["current"] is not None)
        assert run(["remove", "--root", str(root)], FileSystem())[0] == 0
        assert not root.exists()
    assert outcomes == {True, False}
    assert point > 20


def test_a_removal_that_the_disk_refuses_is_an_error_in_words_and_is_completed(board, tmp_path):
    root = tmp_path / "root"
    for point in (0, 3, 8, 15, 25):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(board, root, symlinks=True)
        code, said, _ = run(["remove", "--root", str(root)], FaultyFiles(refuse_at(point)))
        assert code == 1
        assert "cannot remove" in said["error"]["message"]
        assert run(["remove", "--root", str(root)], FileSystem())[0] == 0
        assert not root.exists()


def test_a_removal_waits_for_nobody_by_default(board):
    with using(Root(board).current):
        assert install("remove", board).code == 0
