"""What a board is told is checked before anything is written."""

import base64
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.errors import BadFileError, UsageError
from edgekit.flashing.settings import Login, Settings, Wifi, read_keys, uncarried

PSK = "0123456789abcdef" * 4


def public_key(kind="ssh-ed25519", comment="me@host", size=32):
    name = kind.encode()
    raw = len(name).to_bytes(4, "big") + name + size.to_bytes(4, "big") + bytes(range(size))
    return f"{kind} {base64.b64encode(raw).decode()} {comment}".strip()


def private_key():
    label = "OPENSSH PRIVATE" + " KEY"
    return f"-----BEGIN {label}-----\nc2VjcmV0IHNlY3JldA==\n-----END {label}-----\n"


def test_what_a_board_takes_is_taken():
    settings = Settings(
        hostname="camera-1",
        login=Login("vision", (public_key(), public_key("sk-ssh-ed25519@openssh.com", "", 64))),
        wifi=Wifi("Café 🙂", PSK, "DE"),
        timezone="UTC",
        locale="de_DE.UTF-8",
    )
    assert settings.login.user == "vision"
    assert Settings() == Settings(None, None, None, None, None)


@pytest.mark.parametrize("hostname", ["a", "1a", "a" * 63, "camera-1", "0-0"])
def test_a_label_is_a_hostname(hostname):
    assert Settings(hostname=hostname).hostname == hostname


@pytest.mark.parametrize(
    ("hostname", "hint"),
    [
        ("Camera", "--hostname camera"),
        ("camera.local", "--hostname camera"),
        ("my camera", "--hostname my-camera"),
        ("-a", "--hostname a"),
        ("a" * 64, "--hostname " + "a" * 63),
        ("12", "--hostname camera-1"),
        ("localhost", "--hostname camera-1"),
        ("", "--hostname camera-1"),
        ("a\nb", "--hostname a-b"),
        ("$(reboot)", "--hostname reboot"),
    ],
)
def test_what_is_no_hostname_is_refused_with_one_that_is(hostname, hint):
    with pytest.raises(UsageError, match="the hostname: expected") as caught:
        Settings(hostname=hostname)
    assert caught.value.hint == f"for example: {hint}"
    Settings(hostname=hint.split()[1])


@pytest.mark.parametrize(
    "user", ["", "Vision", "1st", "-a", "a" * 33, "a b", "a.b", "a$", "a\n", "root", "edgekit", "sudo", "gpio", "ä"]
)
def test_a_name_that_the_system_would_not_take_is_refused(user):
    with pytest.raises(UsageError, match="the user: "):
        Login(user, (public_key(),))


def test_a_login_needs_a_key():
    with pytest.raises(UsageError, match="expected an SSH key") as caught:
        Login("vision", ())
    assert caught.value.hint == "--ssh-key ~/.ssh/id_ed25519.pub"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        "secretsecret",
        public_key()[:50],
        public_key().replace("ssh-ed25519 ", "ssh-rsa ", 1),
        public_key("ssh-dss"),
        public_key(comment="two\nlines"),
        'command="x" ' + public_key(),
    ],
)
def test_what_is_no_public_key_is_refused_and_not_repeated(line):
    with pytest.raises(UsageError, match="SSH key 2 of vision: expected a ") as caught:
        Login("vision", (public_key(), line))
    assert len(line) < 12 or line not in str(caught.value)


def test_keys_are_read_from_a_file(tmp_path):
    path = tmp_path / "keys.pub"
    other = public_key("ecdsa-sha2-nistp256", "", 65)
    path.write_text(f"# mine\r\n\n {public_key()}\r\n{other}\n{public_key()}\n")
    assert read_keys(path) == (public_key(), other)


def test_a_private_key_is_refused_with_the_file_beside_it_and_never_repeated(tmp_path):
    path = tmp_path / "id_ed25519"
    path.write_text(private_key())
    with pytest.raises(BadFileError, match="this is a private key") as caught:
        read_keys(path)
    assert caught.value.hint == "take the .pub file beside it"
    assert "c2VjcmV0" not in str(caught.value)
    (tmp_path / "id_ed25519.pub").write_text(public_key())
    with pytest.raises(BadFileError) as caught:
        read_keys(path)
    assert caught.value.hint == f"--ssh-key {path}.pub"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a public key, got none"),
        (b"# nothing\n", "expected a public key, got none"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\n", "got one of RFC 4716's"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\nsecret", "this is a private key"),
        (b"\xff\xfe", "expected a text, got byte 0xff"),
        (b"hello secretword\n", "line 1: expected a public key"),
        (b"#" * (65 << 10), "expected at most 65536 bytes"),
    ],
)
def test_what_is_no_file_of_keys_is_refused(tmp_path, content, said):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadFileError) as caught:
        read_keys(path)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.hint or "bytes" in said or "text" in said


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadFileError, match="no-such-file"):
        read_keys(tmp_path / "no-such-file")


@given(st.binary(max_size=200))
def test_any_bytes_are_keys_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("keys") / "file"
    path.write_bytes(content)
    try:
        keys = read_keys(path)
    except BadFileError:
        return
    Login("vision", keys)


@pytest.mark.parametrize("ssid", ["", "a" * 33, "ä" * 17, "a\nb", "a\0", "\u2028", "\ud800", "\uffff"])
def test_a_networks_name_has_1_to_32_bytes_without_controls(ssid):
    with pytest.raises(UsageError, match="the Wi-Fi's name: "):
        Wifi(ssid, PSK, "DE")


@pytest.mark.parametrize(("country", "near"), [("de", "DE"), ("UK", "GB"), ("XX", "DE"), ("", "DE"), ("D\n", "DE")])
def test_a_country_is_one_of_iso_3166(country, near):
    with pytest.raises(UsageError, match="the Wi-Fi's country: ") as caught:
        Wifi("net", PSK, country)
    assert caught.value.hint == f"for example: --wifi-country {near}"


@pytest.mark.parametrize("psk", ["", PSK.upper(), PSK[1:], "passphrase"])
def test_a_key_that_is_none_is_refused_and_not_repeated(psk):
    with pytest.raises(UsageError, match="the Wi-Fi's key: ") as caught:
        Wifi("net", psk, "DE")
    assert not psk or psk not in str(caught.value)


def test_the_networks_key_is_in_no_repr():
    wifi = Wifi("net", PSK, "DE")
    assert PSK not in repr(wifi)
    assert PSK not in repr(Settings(wifi=wifi))


def test_a_time_zone_is_one_of_the_ianas():
    if "Europe/Berlin" not in zoneinfo.available_timezones():
        pytest.skip("no tzdata here")
    Settings(timezone="Europe/Berlin")
    for wrong in ("Europe/Berln", "../../etc/passwd", "", "Europe/Berlin\n", "Europe/$(x)"):
        with pytest.raises(UsageError, match="the time zone: "):
            Settings(timezone=wrong)
    with pytest.raises(UsageError) as caught:
        Settings(timezone="Europe/Berln")
    assert caught.value.hint == 'did you mean "Europe/Berlin"?'


@pytest.mark.parametrize(
    ("locale", "near"),
    [("de_DE", "de_DE"), ("de_de.utf8", "de_DE"), ("en-GB", "en_GB"), ("german", "de_DE"), ("de_DE.UTF-8\n", "de_DE")],
)
def test_a_locale_is_language_and_territory_in_utf_8(locale, near):
    with pytest.raises(UsageError, match="the locale: ") as caught:
        Settings(locale=locale)
    assert caught.value.hint == f"for example: --locale {near}.UTF-8"


@pytest.mark.parametrize("locale", ["de_DE.UTF-8", "C.UTF-8", "ca_ES.UTF-8@valencia", "fil_PH.UTF-8"])
def test_a_locale_is_taken(locale):
    assert Settings(locale=locale).locale == locale


@given(st.text())
def test_what_is_carried_is_one_line_of_utf_8(text):
    if not uncarried(text):
        assert len(text.splitlines()) <= 1
        assert text.encode().decode() == text
