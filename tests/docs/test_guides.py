"""What the guides tell people to write can be written."""

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from device_runtime.contract.decode import decode
from device_runtime.contract.service import ServiceSpec

_GUIDES = Path(__file__).parent.parent.parent / "docs" / "guides"


def settings_in(page):
    """Return the indented blocks of a page that are TOML tables."""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", page, re.MULTILINE)
    return [text for block in blocks if (text := textwrap.dedent(block).strip()).startswith("[")]


@pytest.mark.parametrize("guide", ["events", "sinks"])
def test_the_settings_in_a_guide_can_be_pasted(guide):
    blocks = settings_in((_GUIDES / f"{guide}.md").read_text())
    services = [tomllib.loads(block).get("service", {}) for block in blocks]
    assert len(services) >= 4
    for service in services:
        decode(ServiceSpec, service, guide, unknown="error")
