"""Single values of ``edgekit.toml`` change, and nothing else does."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import BadFileError, EdgeError
from edgekit.project.edit import Change, change_project, with_changes
from tests.support.small_projects import PROJECT


def edited(folder, values, text=PROJECT):
    path = folder / "edgekit.toml"
    path.write_bytes(text.encode())
    changes = change_project(path, values)
    return path.read_bytes().decode(), changes


def test_a_value_takes_the_place_of_another_and_its_comment_keeps_its_column(tmp_path):
    text, changes = edited(tmp_path, {("service", "threads"): 2, ("model", "recipe"): "float16"})
    assert changes == (Change("service", "threads", 1, 2), Change("model", "recipe", "static-int8", "float16"))
    assert text == PROJECT.replace("threads = 1         # one", "threads = 2         # one").replace(
        '"static-int8"  # or another', '"float16"      # or another'
    )
    assert str(changes[0]) == "[service] threads: 1 → 2"


def test_a_new_key_goes_to_the_end_of_its_table_before_the_comments_of_the_next(tmp_path):
    text, (change,) = edited(tmp_path, {("service", "engine"): "litert"})
    assert text == PROJECT.replace("# one\n", '# one\nengine = "litert"\n')
    assert str(change) == '[service] engine: not set → "litert"'


def test_a_new_table_goes_to_the_end(tmp_path):
    text, _ = edited(tmp_path, {("bundle", "output"): "out/a#b.edgekit"}, PROJECT.rstrip("\n"))
    assert text == PROJECT + '\n[bundle]\noutput = "out/a#b.edgekit"\n'


def test_what_is_so_already_is_not_written(tmp_path):
    path = tmp_path / "edgekit.toml"
    path.write_text(PROJECT)
    before = path.stat()
    assert change_project(path, {("service", "threads"): 1}) == ()
    assert path.stat() == before


def test_line_ends_of_another_system_stay(tmp_path):
    text, _ = edited(tmp_path, {("service", "threads"): 4, ("demo", "source"): "dir:x"}, PROJECT.replace("\n", "\r\n"))
    assert text.replace("\r\n", "") == text.replace("\r\n", "\n").replace("\n", "")
    assert tomllib.loads(text)["service"]["threads"] == 4


@pytest.mark.parametrize(
    "text",
    [
        PROJECT.replace("[service]\nthreads = 1         # one", "[service]\nthreads = \\\n"),
        "service = {threads = 1}\n" + PROJECT.replace("[service]\nthreads = 1         # one", ""),
        "service.threads = 1\n" + PROJECT.replace("[service]\nthreads = 1         # one", ""),
    ],
)
def test_a_file_whose_values_stand_otherwise_is_left_alone(tmp_path, text):
    path = tmp_path / "edgekit.toml"
    path.write_text(text)
    with pytest.raises(BadFileError, match=r"edgekit\.toml"):
        change_project(path, {("service", "threads"): 2})
    assert path.read_text() == text


def test_what_cannot_be_changed_is_told_to_be_written_by_hand(tmp_path):
    path = tmp_path / "edgekit.toml"
    path.write_text("service = {threads = 1}\n" + PROJECT.replace("[service]\nthreads = 1         # one", ""))
    with pytest.raises(BadFileError, match="without touching the rest") as caught:
        change_project(path, {("service", "threads"): 2})
    assert caught.value.hint == "write them yourself: [service] threads = 2"


def test_a_value_that_the_project_cannot_have_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "edgekit.toml"
    path.write_text(PROJECT)
    with pytest.raises(BadFileError, match="delegate"):
        change_project(path, {("service", "delegate"): "gpu"})
    assert path.read_text() == PROJECT


def test_a_link_to_the_file_stays_one(tmp_path):
    (tmp_path / "real.toml").write_text(PROJECT)
    (tmp_path / "edgekit.toml").symlink_to("real.toml")
    change_project(tmp_path / "edgekit.toml", {("service", "threads"): 3})
    assert (tmp_path / "edgekit.toml").is_symlink()
    assert tomllib.loads((tmp_path / "real.toml").read_text())["service"]["threads"] == 3


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(EdgeError, match="no such file"):
        change_project(tmp_path / "edgekit.toml", {})


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES = st.one_of(TEXTS, st.integers(-99, 99), st.lists(st.integers(0, 9), max_size=3).map(tuple))
COMMENTS = st.sampled_from(["", "  # a comment", '# "quoted" # twice', "\t# = [x]"])


@st.composite
def files(draw):
    """A TOML file of tables with keys, comments, blank lines and lists over several lines."""
    lines = []
    for table in draw(st.lists(st.sampled_from(["model", "service", "other", "service.page"]), unique=True)):
        lines.append(f"[{table}]{draw(COMMENTS)}")
        for key in draw(st.lists(st.sampled_from(["recipe", "threads", "engine"]), unique=True)):
            value = draw(st.sampled_from(['"a # b"', "1", "[1, 2]", "'x'", "[\n  [1],  # [service]\n  [2]\n]", "true"]))
            lines.append(f"{draw(st.sampled_from(['', '  ']))}{key} = {value}{draw(COMMENTS)}")
            lines.extend(draw(st.sampled_from([[], [""], ["# threads = 7"], ["", "# [service]"]])))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))


@given(files(), st.sampled_from(["model", "service", "new"]), st.sampled_from(["recipe", "threads", "engine"]), VALUES)
def test_only_the_value_changes_or_the_file_is_refused(text, table, key, value):
    plain = list(value) if isinstance(value, tuple) else value
    before = tomllib.loads(text)
    try:
        after = with_changes(text, (Change(table, key, None, value),), "edgekit.toml")
    except BadFileError:
        assert "[\n" in text or "[\r\n" in text  # the only reason for it here
        return
    assert tomllib.loads(after) == {**before, table: {**before.get(table, {}), key: plain}}
    kept = [line for line in text.splitlines() if "#" in line and key not in line]
    assert all(line in after for line in kept)
