"""A passphrase becomes the key that the network itself makes of it."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import UsageError
from edgekit.flashing.settings import uncarried
from edgekit.flashing.wifi import hashed

# IEEE 802.11i-2004, H.4.3 (802.11-2020: J.4.3).
_VECTORS = [
    ("IEEE", "password", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"),
    ("ThisIsASSID", "ThisIsAPassword", "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"),
    ("Z" * 32, "a" * 32, "becb93866bb8c3832cb777c2f559807c8c59afcb6eae734885001300a981cc62"),
]


@pytest.mark.parametrize(("ssid", "passphrase", "key"), _VECTORS)
def test_the_vectors_of_the_standard(ssid, passphrase, key):
    assert hashed(ssid, passphrase) == key


def test_64_hex_digits_are_a_key_already():
    assert hashed("net", "0123456789ABCDEF" * 4) == "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "passphrase",
    ["short12", "g" * 64, "a" * 65, "ä" * 32, "pass\nword", "pass\0word", "password\t", "pass\x7fword", ""],
)
def test_what_no_network_takes_is_refused_and_not_repeated(passphrase):
    with pytest.raises(UsageError, match="the Wi-Fi's passphrase: ") as caught:
        hashed("net", passphrase)
    assert not passphrase or passphrase not in str(caught.value)
    assert not passphrase or repr(passphrase) not in str(caught.value)


@pytest.mark.parametrize("passphrase", ["12345678", "a" * 63, "ä" * 4, "🙂🙂", "ä" * 31])
def test_a_passphrase_counts_in_bytes(passphrase):
    assert len(hashed("net", passphrase)) == 64


def test_every_character_counts():
    said = ["pass word", " pass word", "pass word ", 'pass"word', "pass'word", "pass\\word", "pass#word", "$(pass)word"]
    assert len({hashed("net", one) for one in said}) == len(said)
    assert hashed("net", "pass word") != hashed("net ", "pass word")


def test_the_name_is_checked_first():
    with pytest.raises(UsageError, match="the Wi-Fi's name"):
        hashed("", "passphrase")


@given(st.text(min_size=1, max_size=16), st.text(min_size=4, max_size=40))
def test_wpa_passphrase_makes_the_same(ssid, passphrase):
    program = shutil.which("wpa_passphrase")
    if program is None:
        pytest.skip("no wpa_passphrase here; install it: apt-get install wpasupplicant")
    if uncarried(ssid) or uncarried(passphrase) or len(ssid.encode()) > 32 or not 8 <= len(passphrase.encode()) <= 63:
        return
    done = subprocess.run([program, ssid], input=passphrase.encode() + b"\n", capture_output=True, check=True)
    keys = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith(b"psk=")]
    assert keys == [f"psk={hashed(ssid, passphrase)}".encode()]
