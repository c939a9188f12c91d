"""What is known of LiteRT's library; that it runs is seen in test_profile, in a process of its own."""

import pytest

from device_runtime.engine.litert import ENGINES
from device_runtime.engine.native import KNOWN_VERSIONS, find_library
from device_runtime.errors import UnfitError


@pytest.mark.parametrize("known", KNOWN_VERSIONS)
def test_the_library_is_the_one_beside_the_installed_engine(known):
    library = find_library(f"{known}.5")
    assert library.name == "libLiteRt.so"
    assert library.parent.name == ENGINES["litert"][0]


@pytest.mark.parametrize("version", ["1.4.0", "2.30.0", "3.0.0", "2.2"])
def test_a_version_that_was_not_tried_is_refused(version):
    with pytest.raises(UnfitError, match=rf"the profile knows ai-edge-litert 2\.1, 2\.2, 2\.3, got {version}"):
        find_library(version)
