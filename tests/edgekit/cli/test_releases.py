def test_an_empty_board_is_told_what_to_do_next(edgekit):
    answer = edgekit.ok("releases", "local:board")
    assert answer.out.startswith("local:board: no release installed; next: edgekit deploy local:board")


def test_the_target_may_be_an_option(edgekit, tmp_path):
    document = edgekit.ok("releases", "--target", "local:board", "--json").json
    assert document["root"] == str(tmp_path / "board")
    assert document["releases"] == []
    assert not (tmp_path / "board").exists()
