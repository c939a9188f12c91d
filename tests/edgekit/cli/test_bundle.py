import pytest


@pytest.fixture
def project(in_folder):
    """A project whose model is converted already."""
    (in_folder / "edgekit.toml").write_text(
        '[project]\nname = "lamp"\nversion = "3.1"\n'
        '[model]\nsource = "bright.keras"\noutput = "bright.tflite"\n'
        '[service]\nsource = "dir:pictures"\nthreads = 2\n'
        '[targets]\nbench = "local:board"\n'
    )
    return in_folder


def test_a_model_is_packed_and_the_next_command_is_said(edgekit, in_folder):
    done = edgekit.ok("bundle", "bright.tflite", "--version", "4.0")
    assert (in_folder / "bright-4.0.edgekit").exists()
    assert done.out.startswith("bright-4.0.edgekit: bright 4.0, ")
    assert done.out.rstrip().endswith("next: edgekit deploy bright-4.0.edgekit local:board")
    assert edgekit.ok("verify", "bright-4.0.edgekit").out.startswith("ok: bright-4.0.edgekit: bright 4.0, ")


def test_bundling_twice_gives_equal_bytes(edgekit, in_folder):
    for name in ("a", "b"):
        edgekit.ok("bundle", "bright.tflite", "-o", f"{name}.edgekit")
    assert (in_folder / "a.edgekit").read_bytes() == (in_folder / "b.edgekit").read_bytes()


def test_the_project_says_what_is_packed_and_where_to(edgekit, project):
    facts = edgekit.ok("bundle", "--json").json
    assert (facts["name"], facts["version"]) == ("lamp", "3.1")
    assert (project / "out" / "lamp-3.1.edgekit").exists()
    assert facts["packages"][0]["golden"]["count"] == 4


def test_a_project_whose_model_is_not_converted_is_told_to(edgekit, project):
    (project / "bright.tflite").unlink()
    refused = edgekit("bundle")
    assert (refused.code, "hint: edgekit convert" in refused.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["bundle", "none.tflite"], 3, "none.tflite"),
        (["bundle"], 2, "no edgekit.toml"),
        (["bundle", "bright.tflite", "--board", "locall"], 2, 'no board "locall"'),
        (["bundle", "bright.tflite", "--name", "No Name"], 2, "expected a-z"),
        (["bundle", "bright.tflite", "-o", "none/x.edgekit"], 1, "does not exist"),
        (["verify", "none.edgekit"], 3, "no such bundle"),
        (["verify", "bright.tflite"], 3, "not a bundle|cut"),
    ],
)
def test_mistakes_are_answered_in_words(edgekit, in_folder, arguments, code, message):
    refused = edgekit(*arguments, "--json")
    assert (refused.code, refused.json["error"]["exit_code"]) == (code, code)
    assert any(part in refused.err for part in message.split("|"))
    assert sorted(path.name for path in in_folder.glob("*.edgekit")) == ["bright-1.0.edgekit", "bright-2.0.edgekit"]


def test_an_unwritable_output_is_said(edgekit, in_folder):
    (in_folder / "taken").mkdir()
    refused = edgekit("bundle", "bright.tflite", "-o", "taken")
    assert refused.code == 1
    assert "cannot write taken" in refused.err
    assert list((in_folder / "taken").iterdir()) == []
    assert [path.name for path in in_folder.iterdir() if path.name.startswith(".")] == []
