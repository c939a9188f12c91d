"""The documentation says what is so."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from device_runtime.contract.decode import decode
from edgekit.cli.app import COMMANDS
from edgekit.project.config import ProjectFile

_REPOSITORY = Path(__file__).parent.parent.parent
_PAGES = sorted([*_REPOSITORY.glob("*.md"), *_REPOSITORY.glob("docs/**/*.md"), *_REPOSITORY.glob("*/README.md")])


def test_the_page_of_commands_is_what_the_commands_say():
    page = runpy.run_path(str(_REPOSITORY / "docs" / "make_commands.py"))["commands_page"]()
    assert (_REPOSITORY / "docs/reference/commands.md").read_text() == page, "run: python docs/make_commands.py"


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_REPOSITORY)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_REPOSITORY)))
def test_commands_in_the_text_exist(page):
    for verb in re.findall(r"^ {4}edgekit ([a-z]+)", page.read_text(), re.MULTILINE):
        assert verb in COMMANDS


def test_every_key_of_the_project_file_is_documented():
    page = (_REPOSITORY / "docs/reference/edgekit-toml.md").read_text()
    hints = ProjectFile.__dataclass_fields__
    assert all(f"`[{table}]`" in page for table in hints)


@pytest.mark.parametrize("sample", ["belt", "digits"])
def test_the_samples_files_are_valid(sample):
    text = (_REPOSITORY / "samples" / sample / "edgekit.toml").read_text()
    decode(ProjectFile, tomllib.loads(text), sample, unknown="error")
