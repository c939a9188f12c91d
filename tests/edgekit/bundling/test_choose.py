import pytest
from packaging.tags import Tag

from device_runtime.errors import UnfitError
from edgekit.boards.catalog import find_boards
from edgekit.bundling.choose import Platform, best_wheel, choose_wheels
from edgekit.bundling.resolve import Pinned, Resolution, WheelFile

PI = Platform("aarch64", "cp311", "2.36")


def files(*names):
    return [WheelFile(name, "0" * 64, f"https://example.org/{name}") for name in names]


def best(platform, *names):
    found = best_wheel(files(*names), platform.tags())
    return found.file if found else None


@pytest.mark.parametrize(
    ("platform", "tag", "fits"),
    [
        (PI, "cp311-cp311-manylinux_2_27_aarch64", True),
        (PI, "cp311-cp311-manylinux_2_36_aarch64", True),
        (PI, "cp311-cp311-manylinux_2_37_aarch64", False),
        (PI, "cp311-cp311-manylinux2014_aarch64", True),
        (PI, "cp311-cp311-linux_aarch64", True),
        (PI, "cp37-abi3-manylinux_2_17_aarch64", True),
        (PI, "cp312-abi3-manylinux_2_17_aarch64", False),
        (PI, "py3-none-any", True),
        (PI, "py2.py3-none-any", True),
        (PI, "py2-none-any", False),
        (PI, "py3-none-manylinux_2_17_aarch64", True),
        (PI, "cp311-cp311-manylinux_2_17_x86_64", False),
        (PI, "cp311-cp311-musllinux_1_2_aarch64", False),
        (PI, "cp310-cp310-manylinux_2_17_aarch64", False),
        (PI, "cp313-cp313t-manylinux_2_17_aarch64", False),
        (Platform("armv7l", "cp311", "2.36"), "cp311-cp311-manylinux_2_34_armv7l", True),
        (Platform("armv7l", "cp311", "2.36"), "cp311-cp311-manylinux_2_34_aarch64", False),
        (Platform("aarch64", "cp313", "2.41"), "cp313-cp313-manylinux_2_41_aarch64", True),
        (Platform("aarch64", "cp313", "2.41"), "cp313-cp313t-manylinux_2_27_aarch64", False),
        (Platform("x86_64", "cp311", "2.36"), "cp311-cp311-manylinux1_x86_64", True),
        (Platform("aarch64", "cp311", "2.36"), "cp311-cp311-manylinux1_aarch64", False),
    ],
)
def test_what_fits_a_platform_is_what_its_pip_would_take(platform, tag, fits):
    assert bool(best(platform, f"thing-1.0-{tag}.whl")) == fits


def test_the_tags_are_those_that_a_board_of_that_kind_has():
    tags = PI.tags()
    assert tags[0] == Tag("cp311", "cp311", "manylinux_2_36_aarch64")
    assert len(tags) == len(set(tags))
    assert not any("2_16" in tag.platform for tag in tags)


def test_of_several_wheels_the_most_specific_one_is_taken_whatever_the_order():
    names = [
        "thing-1.0-py3-none-any.whl",
        "thing-1.0-cp37-abi3-manylinux_2_17_aarch64.whl",
        "thing-1.0-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
        "thing-1.0-cp311-cp311-manylinux_2_28_aarch64.whl",
        "thing-1.0-cp311-cp311-manylinux_2_39_aarch64.whl",
    ]
    assert best(PI, *names) == best(PI, *reversed(names)) == names[3]
    assert best(PI, *names[:3]) == names[2]


def test_of_two_builds_the_newer_one_is_taken():
    names = ["thing-1.0-2-py3-none-any.whl", "thing-1.0-10-py3-none-any.whl", "thing-1.0-py3-none-any.whl"]
    assert best(PI, *names) == names[1]


def test_what_has_no_name_of_a_wheel_is_passed_over():
    assert best(PI, "thing.whl", "thing-1.0.tar.gz") is None


def pinned(name, version="1.0", marker="", tag="py3-none-any"):
    return Pinned(name, version, marker, tuple(files(f"{name}-{version}-{tag}.whl")))


@pytest.mark.parametrize(
    ("board", "versions"),
    [("pi4-bookworm", ["old"]), ("pi5-trixie", ["new"]), ("aarch64-noble", ["new"]), ("pi-bookworm-32", ["old"])],
)
def test_markers_decide_as_on_the_board(board, versions):
    resolution = Resolution(
        (
            pinned("thing", "1.0", "python_full_version < '3.12'"),
            pinned("thing", "2.0", "python_full_version >= '3.12'"),
            pinned("windows", "1.0", "sys_platform == 'win32'"),
        )
    )
    chosen = choose_wheels(find_boards((board,))[0], resolution)
    assert [item.package.version for item in chosen] == [{"old": "1.0", "new": "2.0"}[word] for word in versions]


def test_a_package_without_a_wheel_that_fits_is_named_with_the_board():
    resolution = Resolution((pinned("numpy", "2.0", tag="cp313-cp313-manylinux_2_28_aarch64"),))
    with pytest.raises(UnfitError, match=r"pi4-bookworm .*numpy 2\.0 for aarch64, cp311, glibc 2\.36"):
        choose_wheels(find_boards(("pi4-bookworm",))[0], resolution)


def test_what_the_board_has_is_not_looked_for():
    resolution = Resolution((pinned("numpy", "2.0", tag="cp313-cp313-manylinux_2_28_aarch64"), pinned("thing")))
    chosen = choose_wheels(find_boards(("pi-bookworm-32",))[0], resolution, {"numpy"})
    assert [item.package.name for item in chosen] == ["thing"]
