import io
import zipfile

import pytest

from device_runtime.errors import BadFileError
from edgekit.bundling.wheel_facts import check_wheel, fits_python, read_wheel
from tests.support.package_index import make_wheel


@pytest.mark.parametrize(
    ("metadata", "expression", "licences"),
    [
        (["License-Expression: Apache-2.0 OR MIT"], "Apache-2.0 OR MIT", ()),
        (["Classifier: License :: OSI Approved :: MIT License", "License: see file"], "", ("MIT License",)),
        (["Classifier: License :: OSI Approved"], "", ()),
        (["License: BSD"], "", ("BSD",)),
        (["License: " + "a long text " * 20], "", ()),
        ([], "", ()),
    ],
)
def test_licences_are_those_that_the_metadata_has(tmp_path, metadata, expression, licences):
    wheel = make_wheel(tmp_path, "My-Thing", "1.0+local", metadata=metadata)
    facts = read_wheel(wheel, wheel.name)
    assert (facts.name, facts.version, facts.expression, facts.licences) == (
        "my-thing",
        "1.0+local",
        expression,
        licences,
    )


def test_the_figures_are_those_that_an_installer_counts(tmp_path):
    wheel = make_wheel(tmp_path, "thing", "1.0")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.mkdir("thing/folder/")
    check_wheel(wheel, read_wheel(wheel, wheel.name))
    assert read_wheel(wheel, wheel.name).files == 4


@pytest.mark.parametrize(
    ("wanted", "fits"), [("", True), (">=3.9", True), ("<3.11", False), (">=3.11.0,<3.12", True), ("??", True)]
)
def test_upper_bounds_of_python_count(tmp_path, wanted, fits):
    wheel = make_wheel(tmp_path, "thing", "1.0", python=wanted)
    assert fits_python(read_wheel(wheel, wheel.name), "3.11.0") == fits


@pytest.mark.parametrize("name", ["thing.whl", "thing-1.0.zip", "a-b-c-d-e-f-g.whl"])
def test_a_name_that_is_none_of_a_wheel_is_refused(tmp_path, name):
    with pytest.raises(BadFileError, match="not a wheel"):
        read_wheel(make_wheel(tmp_path, "thing", "1.0"), name)


def test_other_files_are_not_wheels(tmp_path):
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("a.py", "")
    for content in (b"", b"no zip", empty.getvalue()):
        (tmp_path / "a.whl").write_bytes(content)
        with pytest.raises(BadFileError, match="not a wheel"):
            read_wheel(tmp_path / "a.whl", "thing-1.0-py3-none-any.whl")
