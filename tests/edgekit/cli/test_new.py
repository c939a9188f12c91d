from edgekit.project.config import read_project


def test_a_new_project_is_described_with_the_next_command(edgekit, tmp_path):
    answer = edgekit.ok("new", "my-digits", "--sample", "digits")

    assert "540 labelled pictures" in answer.out
    assert answer.out.splitlines()[-1] == "next: cd my-digits && edgekit convert"
    assert "make its pictures" in answer.err
    assert read_project(tmp_path / "my-digits" / "edgekit.toml").file.project.name == "my-digits"


def test_json_is_one_document(edgekit):
    answer = edgekit.ok("new", "with-json", "--sample", "digits", "--json")

    assert answer.json == {
        "name": "with-json",
        "sample": "digits",
        "folder": "with-json",
        "model": "with-json/digits.keras",
        "calibration_pictures": 150,
        "evaluation_pictures": 540,
        "next": ["cd with-json", "edgekit convert"],
    }


def test_a_taken_name_is_an_error_with_a_hint(edgekit, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    answer = edgekit("new", "taken", "--sample", "digits")

    assert answer.code == 1
    assert answer.err.startswith("error: cannot make taken: it exists already\nhint: choose another name")


def test_a_bad_name_is_a_usage_error_also_in_json(edgekit, tmp_path):
    answer = edgekit("new", "My App", "--sample", "belt", "--json")

    assert answer.code == 2
    assert answer.json["error"]["code"] == "usage"
    assert list(tmp_path.iterdir()) == []


def test_the_sample_must_be_one_that_there_is(edgekit):
    unknown = edgekit("new", "app", "--sample", "bolt")
    missing = edgekit("new", "app")

    assert (unknown.code, missing.code) == (2, 2)
    assert "'digits', 'belt'" in unknown.err
    assert "--sample" in missing.err
