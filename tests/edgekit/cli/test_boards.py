from edgekit.boards.catalog import load_catalog


def test_the_boards_are_listed_with_what_they_run_and_what_they_must_have(edgekit):
    lines = edgekit.ok("boards").out.splitlines()
    row = next(line for line in lines if line.split()[:1] == ["pi5-trixie"])
    assert all(word in row for word in ("Raspberry Pi 5", "Trixie, 64 bit", "aarch64", "cp313", "litert", "1024 MiB"))
    small = lines.index(next(line for line in lines if line.split()[:1] == ["pi-bookworm-32"]))
    assert "python3-numpy" in " ".join(lines[small : small + 2])
    assert "python3-pil" in " ".join(lines[small : small + 2])


def test_as_one_document_they_are_what_the_catalogue_has(edgekit):
    boards = edgekit.ok("boards", "--json").json["boards"]
    assert [board["id"] for board in boards] == list(load_catalog())
    (small,) = [board for board in boards if board["id"] == "pi-bookworm-32"]
    assert small["system_packages"][0] == {"module": "numpy", "package": "python3-numpy"}
    assert (small["machine"], small["engine"], small["packages"]) == ("armv7l", "tflite-runtime", "system")
