def test_a_whole_bundle_verifies(edgekit, in_folder):
    document = edgekit.ok("verify", in_folder / "bright-1.0.edgekit", "--json").json
    assert document["ok"] is True
    assert document["bundle"]["name"] == "bright"


def test_one_flipped_byte_in_any_file_of_a_bundle_is_found(edgekit, in_folder):
    path = in_folder / "bright-1.0.edgekit"
    whole = path.read_bytes()
    blocks = range(0, len(whole) - 1024, 512)
    for block in blocks[:: len(blocks) // 25]:
        spoilt = bytearray(whole)
        spoilt[block + 3] ^= 4
        path.write_bytes(spoilt)
        refused = edgekit("verify", path)
        assert refused.code == 3, block
        assert refused.err.splitlines()[-1].startswith(("error:", "hint:"))
