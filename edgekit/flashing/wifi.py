"""From a Wi-Fi's passphrase to its key, so that a card carries the key of one network and not what people reuse."""

from __future__ import annotations

import hashlib
import re

from device_runtime.errors import UsageError
from edgekit.flashing.settings import check_ssid, uncarried

_ROUNDS = 4096
_KEY_BYTES = 32
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")


def hashed(ssid: str, passphrase: str) -> str:
    """Return the pre-shared key of a network as 64 hex digits: PBKDF2-HMAC-SHA1 (IEEE 802.11-2020, J.4.1).

    64 hex digits are a key already. A passphrase counts in bytes of UTF-8, 8 to 63, every one as it is: quotes, spaces
    at its ends, backslashes. The standard knows ASCII alone; wpa_supplicant, NetworkManager and Android hash the
    bytes that they are given, which is UTF-8, and so does an access point that took an umlaut or an emoji.

    A key made so serves WPA2 and the mixed mode of WPA2 and WPA3. A network of WPA3 alone (SAE) needs the passphrase
    itself, and is not reached.

    Raises:
        UsageError: the name is none; the passphrase is too short or too long, or has a control character. It is not
            repeated in the message.
    """
    check_ssid(ssid)
    if _HEX_KEY.fullmatch(passphrase):
        return passphrase.lower()
    if uncarried(passphrase):
        raise UsageError("the Wi-Fi's passphrase: it has a control character or a line break, which no network takes")
    secret = passphrase.encode()
    if not 8 <= len(secret) <= 63:
        raise UsageError(f"the Wi-Fi's passphrase: expected 8–63 bytes, or a key of 64 hex digits, got {len(secret)}")
    return hashlib.pbkdf2_hmac("sha1", secret, ssid.encode(), _ROUNDS, _KEY_BYTES).hex()
