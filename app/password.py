"""The password of other devices: kept as a hash only."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from styles.errors import BadInput

SHORTEST = 8
COST = 2**14  # scrypt's N: about 50 ms and 16 MB for each try


def hashed(password: str) -> str:
    """What is kept of a password: a salt and the scrypt hash, in hexadecimal. Raises BadInput for a short one."""
    if len(password) < SHORTEST:
        raise BadInput(
            "The password has {count} characters.",
            "Choose one with {shortest} or more.",
            count=len(password),
            shortest=SHORTEST,
        )
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_scrypt(password, salt).hex()}"


def matches(password: str, stored: str) -> bool:
    """Whether this is the password that was kept as `kept`."""
    try:
        salt, digest = (bytes.fromhex(part) for part in stored.split(":"))
    except ValueError:
        return False
    return hmac.compare_digest(_scrypt(password, salt), digest)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8"), salt=salt, n=COST, r=8, p=1, maxmem=2**26)
