from pathlib import Path

import pytest

from device_runtime.errors import UsageError
from edgekit.boards.target import find_place, find_places
from edgekit.project.config import read_project


def project(tmp_path, targets):
    lines = ["[project]", 'name = "app"', "[model]", 'source = "m.keras"', "[targets]", *targets]
    (tmp_path / "edgekit.toml").write_text("\n".join(lines) + "\n")
    return read_project(tmp_path / "edgekit.toml")


def test_a_folder_is_relative_to_where_the_user_is():
    target = find_place("local:board", None)
    assert (target.root, str(target)) == (Path.cwd() / "board", "local:board")
    assert find_place("local:/srv/board", None).root == Path("/srv/board")
    assert find_place("local:~/board", None).root == Path.home() / "board"


def test_a_name_is_looked_up_in_the_project_and_relative_to_it(tmp_path):
    found = find_place("bench", project(tmp_path, ['bench = "local:out/board"', 'other = "local:x"']))
    assert (found.root, str(found)) == (tmp_path / "out" / "board", "bench")


def test_without_a_word_the_only_target_is_taken(tmp_path):
    assert find_place(None, project(tmp_path, ['bench = "local:b"'])).root == tmp_path / "b"
    with pytest.raises(UsageError, match="has 2: a, b"):
        find_place(None, project(tmp_path, ['a = "local:a"', 'b = "local:b"']))
    with pytest.raises(UsageError, match="no target was named"):
        find_place(None, None)


def test_an_unknown_name_is_answered_with_a_known_one(tmp_path):
    with pytest.raises(UsageError, match='no target "bensh"') as caught:
        find_place("bensh", project(tmp_path, ['bench = "local:b"']))
    assert caught.value.hint == 'did you mean "bench"?'


def test_a_board_over_ssh_is_found_by_its_name_or_as_it_is(tmp_path):
    found = find_place("line", project(tmp_path, ['line = "ssh://pi@line-3.local:2222"']))
    assert (found.host, found.user, found.port, str(found)) == ("line-3.local", "pi", 2222, "line")
    assert find_place("pi@board", project(tmp_path, ['line = "ssh://pi@x"'])).host == "board"
    assert find_place("local:b", None).root == Path.cwd() / "b"
    with pytest.raises(UsageError, match=r"edgekit.toml: targets: bad: expected user@host"):
        find_place("bad", project(tmp_path, ['bad = "ssh://-x"']))


@pytest.mark.parametrize("text", ["board", "http://board", "usb:1", "local:", "ftp:x"])
def test_what_is_neither_a_folder_nor_a_board_is_answered_with_all_forms(text):
    with pytest.raises(UsageError, match=r"expected user@host, .*local:DIR") as caught:
        find_place(text, None)
    assert caught.value.hint == "for example: ssh://pi@board.local"


def test_several_words_are_several_places_each_once(tmp_path):
    known = project(tmp_path, ['a = "local:a"', 'b = "ssh://pi@b"'])
    assert [str(place) for place in find_places(["b", "a", "b", "pi@c"], known)] == ["b", "a", "pi@c"]
    assert [str(place) for place in find_places([], known, everything=True)] == ["a", "b"]
    assert [str(place) for place in find_places([], project(tmp_path, ['only = "local:a"']))] == ["only"]


def test_all_targets_of_nothing_are_refused(tmp_path):
    for known in (None, project(tmp_path, [])):
        with pytest.raises(UsageError, match=r"--all: there are no \[targets\]"):
            find_places([], known, everything=True)
