from pathlib import Path

import pytest

from device_runtime.errors import UsageError
from edgekit.boards.target import find_place, find_target
from edgekit.project.config import read_project


def project(tmp_path, targets):
    lines = ["[project]", 'name = "app"', "[model]", 'source = "m.keras"', "[targets]", *targets]
    (tmp_path / "edgekit.toml").write_text("\n".join(lines) + "\n")
    return read_project(tmp_path / "edgekit.toml")


def test_a_folder_is_relative_to_where_the_user_is():
    target = find_target("local:board", None)
    assert (target.root, str(target)) == (Path.cwd() / "board", "local:board")
    assert find_target("local:/srv/board", None).root == Path("/srv/board")
    assert find_target("local:~/board", None).root == Path.home() / "board"


def test_a_name_is_looked_up_in_the_project_and_relative_to_it(tmp_path):
    found = find_target("bench", project(tmp_path, ['bench = "local:out/board"', 'other = "local:x"']))
    assert (found.root, str(found)) == (tmp_path / "out" / "board", "bench")


def test_without_a_word_the_only_target_is_taken(tmp_path):
    assert find_target(None, project(tmp_path, ['bench = "local:b"'])).root == tmp_path / "b"
    with pytest.raises(UsageError, match="has 2: a, b"):
        find_target(None, project(tmp_path, ['a = "local:a"', 'b = "local:b"']))
    with pytest.raises(UsageError, match="no target was named"):
        find_target(None, None)


def test_an_unknown_name_is_answered_with_a_known_one(tmp_path):
    with pytest.raises(UsageError, match='no target "bensh"') as caught:
        find_target("bensh", project(tmp_path, ['bench = "local:b"']))
    assert caught.value.hint == 'did you mean "bench"?'


@pytest.mark.parametrize("text", ["ssh://pi@host", "board", "local:", "pi@host", "ftp:x"])
def test_other_forms_are_answered_with_the_forms_that_exist(text):
    with pytest.raises(UsageError, match=r"expected local:DIR, or a name from \[targets\] in edgekit.toml"):
        find_target(text, None)


def test_a_board_over_ssh_is_found_by_its_name_or_as_it_is(tmp_path):
    found = find_place("line", project(tmp_path, ['line = "ssh://pi@line-3.local:2222"']))
    assert (found.host, found.user, found.port, str(found)) == ("line-3.local", "pi", 2222, "line")
    assert find_place("pi@board", project(tmp_path, ['line = "ssh://pi@x"'])).host == "board"
    assert find_place("local:b", None).root == Path.cwd() / "b"
    with pytest.raises(UsageError, match=r"edgekit.toml: targets: bad: expected user@host"):
        find_place("bad", project(tmp_path, ['bad = "ssh://-x"']))


@pytest.mark.parametrize("text", ["board", "http://board", "usb:1"])
def test_what_is_neither_a_folder_nor_a_board_is_answered_with_all_forms(text):
    with pytest.raises(UsageError, match=r"expected user@host, .*local:DIR") as caught:
        find_place(text, None)
    assert caught.value.hint == "for example: ssh://pi@board.local"
