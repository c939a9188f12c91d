import pytest

from device_runtime.contract.events import silent
from device_runtime.contract.service import PageSpec, ServiceSpec
from device_runtime.errors import BadFileError, EdgeError, UnfitError
from edgekit.boards.catalog import find_boards
from edgekit.bundling.packages import Sources, gather, plan_packages
from tests.support.package_index import as_file, make_wheel, serving


def plan(index, *boards, service=None, wheels=()):
    sources = Sources(index.locks, tuple(wheels))
    return plan_packages(find_boards(boards), service or ServiceSpec(), sources, silent)


def files(planned):
    return [wheel.file for wheel in planned.wheels]


def test_boards_of_one_platform_share_one_package(index):
    plans = plan(index, "pi5-trixie", "pi4-bookworm", "zero2w-bookworm", "aarch64-trixie", "pi3-bookworm")
    assert [(one.compat.machine, one.compat.python, one.compat.glibc) for one in plans] == [
        ("aarch64", "cp311", "2.36"),
        ("aarch64", "cp313", "2.41"),
    ]


def test_the_order_of_the_boards_says_nothing(index):
    assert plan(index, "pi5-trixie", "pi4-bookworm", "local") == plan(index, "local", "pi4-bookworm", "pi5-trixie")


def test_each_platform_takes_its_own_wheels(index):
    bookworm, trixie = plan(index, "pi5-trixie", "pi4-bookworm")
    assert files(bookworm)[0] == "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl"
    assert files(trixie)[0] == "ai_edge_litert-2.3.0-cp313-cp313-manylinux_2_27_aarch64.whl"
    assert [name.partition("-")[0] for name in files(trixie)] == [
        "ai_edge_litert",
        "flatbuffers",
        "numpy",
        "opencv_python_headless",
        "pillow",
    ]


def test_a_page_brings_its_packages(index):
    (planned,) = plan(index, "pi4-bookworm", service=ServiceSpec(page=PageSpec()))
    assert {"starlette", "uvicorn", "prometheus_client"} <= {name.partition("-")[0] for name in files(planned)}


def test_a_32_bit_board_gets_the_engine_and_must_have_the_rest(index):
    (planned,) = plan(index, "pi-bookworm-32")
    assert files(planned) == ["tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l.whl"]
    assert {item.module: item.package for item in planned.compat.system_packages} == {
        "numpy": "python3-numpy",
        "cv2": "python3-opencv",
        "PIL": "python3-pil",
    }


def test_a_board_with_its_own_packages_gets_none_and_nothing_is_looked_up(index, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("UV_FIND_LINKS")
    assert [one.wheels for one in plan(index, "local", "aarch64")] == [(), ()]


@pytest.mark.parametrize(
    ("engine", "board", "could", "could_not"),
    [
        ("litert", "pi-bookworm-32", "pi4-bookworm", "pi-bookworm-32"),
        ("tflite-runtime", "pi5-trixie", "pi-bookworm-32", "pi4-trixie"),
    ],
)
def test_a_board_without_a_wheel_is_refused_with_those_that_would_do(index, engine, board, could, could_not):
    with pytest.raises(UnfitError, match=f"{board} cannot run this: there is no wheel of ") as caught:
        plan(index, "pi4-bookworm", board, service=ServiceSpec(engine=engine))
    assert caught.value.exit_code == 6
    assert could in caught.value.hint
    assert could_not not in caught.value.hint
    assert 'engine = "auto"' in caught.value.hint


def test_wheels_are_gathered_from_the_cache_without_an_index(index, monkeypatch):
    (first,) = plan(index, "pi4-bookworm")
    gathered = gather(first, silent)
    monkeypatch.delenv("UV_FIND_LINKS")
    for file in index.files.iterdir():
        file.unlink()
    (second,) = plan(index, "pi4-bookworm")
    assert gather(second, silent) == gathered
    assert next(part.facts.name for _, part in gathered) == "ai-edge-litert"
    assert all(content.ref.files == 4 and content.ref.unpacked_size for content, _ in gathered)


def test_when_a_wheel_is_missing_the_index_is_asked_for_its_present_place(index, monkeypatch):
    (first,) = plan(index, "pi4-bookworm")
    moved = index.root / "moved"
    index.files.rename(moved)
    monkeypatch.setenv("UV_FIND_LINKS", str(moved))
    (second,) = plan(index, "pi4-bookworm")
    assert files(second) == files(first)
    assert len(gather(second, silent)) == 5


def test_without_a_network_and_with_half_a_cache_the_missing_is_said(index, monkeypatch):
    plan(index, "pi4-bookworm")
    monkeypatch.delenv("UV_FIND_LINKS")
    with pytest.raises(EdgeError, match="cannot look up ai-edge-litert"):
        plan(index, "pi4-bookworm")


def test_an_index_over_http_gives_the_same_plan(index, monkeypatch):
    (here,) = plan(index, "pi4-bookworm")
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    with serving(index) as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.url)
        (there,) = plan(index, "pi4-bookworm")
        assert files(there) == files(here)
        assert [content.ref.hex for content, _ in gather(there, silent)] == [wheel.sha256 for wheel in here.wheels]


def test_a_wheel_for_older_pythons_only_is_refused_though_its_tags_fit(index):
    index.pins.pop("flatbuffers")
    index.add("flatbuffers", "25.1", python="<3.11")
    (planned,) = plan(index, "pi4-bookworm")
    with pytest.raises(UnfitError, match=r"flatbuffers 25\.1 is for Python <3\.11"):
        gather(planned, silent)


def test_a_users_own_wheels_come_first_and_the_best_of_each_is_taken(index, tmp_path):
    own = [
        make_wheel(tmp_path, "extra", "1.0", "cp311-cp311-linux_aarch64"),
        make_wheel(tmp_path, "extra", "1.0", "cp313-cp313-linux_aarch64"),
    ]
    bookworm, trixie = plan(index, "pi4-bookworm", "pi5-trixie", wheels=own)
    assert (bookworm.own, trixie.own) == ((own[0],), (own[1],))
    assert gather(bookworm, silent)[0][0].ref.hex == as_file(own[0]).sha256


def test_a_users_own_wheel_that_does_not_fit_a_board_is_refused(index, tmp_path):
    own = make_wheel(tmp_path, "extra", "1.0", "cp311-cp311-linux_x86_64")
    with pytest.raises(UnfitError, match=r"extra-1\.0-cp311-cp311-linux_x86_64\.whl: not for pi4-bookworm"):
        plan(index, "pi4-bookworm", wheels=[own])
    with pytest.raises(UnfitError, match="cannot be added"):
        plan(index, "local", wheels=[own])


def test_what_is_no_wheel_is_refused_before_anything_else(index, tmp_path):
    (tmp_path / "extra-1.0-py3-none-any.whl").write_bytes(b"no zip")
    (tmp_path / "extra.zip").write_bytes(b"no zip")
    for name in ("extra-1.0-py3-none-any.whl", "extra.zip", "none-1.0-py3-none-any.whl"):
        with pytest.raises(BadFileError):
            plan(index, "pi4-bookworm", wheels=[tmp_path / name])


def test_a_wheel_that_a_board_would_not_unpack_is_refused_on_the_host(index, tmp_path):
    own = make_wheel(tmp_path, "extra", "1.0")
    own.write_bytes(own.read_bytes().replace(b"NAME = 'extra'", b"NAME = 'EXTRA'"))
    with pytest.raises(BadFileError):
        plan(index, "pi4-bookworm", wheels=[own])
