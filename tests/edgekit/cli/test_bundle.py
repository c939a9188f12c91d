import pytest

from tests.support.package_index import make_wheel
from tests.support.signing import allow, make_key


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


def test_a_bundle_is_signed_with_the_key_that_the_command_or_the_project_names(edgekit, project, monkeypatch):
    key = make_key(project)
    allow(project / "allowed_signers", ("me@example.org", key))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert "signed with key" in edgekit.ok("bundle", "--sign", "key", "-o", "a.edgekit").out
    file = project / "edgekit.toml"
    file.write_text(file.read_text() + '[bundle]\nsign = "key"\noutput = "b.edgekit"\n')
    facts = edgekit.ok("bundle", "--json").json
    assert (facts["signed"], facts["packages"][0]["compat"]["sequence"]) == (True, 1700000000)
    assert (project / "a.edgekit").read_bytes() == (project / "b.edgekit").read_bytes()
    done = edgekit.ok("verify", "b.edgekit", "--signers", "allowed_signers")
    assert done.out.rstrip().endswith("every byte checked, signed by me@example.org")
    assert edgekit.ok("verify", "b.edgekit").out.rstrip().endswith("signed (by whom was not checked)")
    allow(project / "allowed_signers", ("you@example.org", make_key(project, "other")))
    refused = edgekit("verify", "b.edgekit", "--signers", "allowed_signers", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "unknown-signer")


def test_what_is_not_signed_does_not_verify_against_signers(edgekit, in_folder):
    allow(in_folder / "allowed_signers", ("me", make_key(in_folder)))
    refused = edgekit("verify", "bright-1.0.edgekit", "--signers", "allowed_signers", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "unsigned")
    assert edgekit("verify", "--target", "local:x", "--signers", "allowed_signers").code == 2


def test_the_sequence_is_what_the_command_says(edgekit, in_folder):  # noqa: ARG001 - where it runs
    facts = edgekit.ok("bundle", "bright.tflite", "--sequence", "41", "-o", "a.edgekit", "--json").json
    assert (facts["signed"], facts["packages"][0]["compat"]["sequence"]) == (False, 41)
    edgekit.ok("bundle", "bright.tflite", "-o", "b.edgekit")
    assert "sequence 41" in edgekit.ok("inspect", "a.edgekit").out
    assert "sequence" not in edgekit.ok("inspect", "b.edgekit").out


def test_wheels_for_a_board_with_its_own_packages_are_refused(edgekit, in_folder):
    wheel = make_wheel(in_folder, "extra", "1.0")
    refused = edgekit("bundle", "bright.tflite", "--wheel", wheel.name, "-o", "a.edgekit", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (6, "unfit")
    assert not (in_folder / "a.edgekit").exists()


def test_the_wheels_of_a_project_are_found_from_its_folder(edgekit, project, monkeypatch):
    wheel = make_wheel(project, "extra", "1.0")
    file = project / "edgekit.toml"
    file.write_text(file.read_text() + f'[bundle]\nwheels = ["{wheel.name}"]\n')
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    refused = edgekit("bundle")
    assert (refused.code, "local brings its own packages: extra-1.0" in refused.err) == (6, True)


def test_what_no_index_has_is_named(edgekit, in_folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_folder / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(in_folder))
    refused = edgekit("bundle", "bright.tflite", "--board", "pi4-bookworm", "-o", "a.edgekit", "--json")
    assert refused.code == 1
    assert "cannot look up ai-edge-litert, numpy, opencv-python-headless, pillow" in refused.err


@pytest.mark.environments
def test_the_real_index_has_what_each_board_needs(edgekit, project, monkeypatch):
    """Every wheel of the locks that a board takes is downloaded once, and unpacked as a board does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    file = project / "edgekit.toml"
    file.write_text(file.read_text() + '[service.page]\n[service.mqtt]\nhost = "broker"\ntopic = "lamp"\n')
    boards = ["pi4-bookworm", "pi5-trixie", "aarch64-noble", "pi-bookworm-32", "x86_64-bookworm", "x86_64-trixie"]
    options = [word for board in boards for word in ("--board", board)]
    first = edgekit.ok("bundle", *options, "--json").json
    assert "every byte checked" in edgekit.ok("verify", "out/lamp-3.1.edgekit").out
    monkeypatch.setenv("UV_OFFLINE", "1")
    second = edgekit.ok("bundle", *options, "-o", "again.edgekit", "--json").json
    assert [package["blobs"] for package in second["packages"]] == [package["blobs"] for package in first["packages"]]
