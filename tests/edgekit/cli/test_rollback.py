def test_the_answer_names_both_releases(edgekit, in_folder):
    for version in ("1.0", "2.0"):
        edgekit.ok("deploy", in_folder / f"bright-{version}.edgekit", "local:board")
    document = edgekit.ok("rollback", "--target", "local:board", "--json").json
    assert document["target"] == "local:board"
    assert document["result"]["outcome"] == "returned"
    assert (document["result"]["current"]["version"], document["result"]["previous"]["version"]) == ("1.0", "2.0")
    assert "bright 2.0 runs now\n  before: bright 1.0" in edgekit.ok("rollback", "local:board").out
