"""The key file's own format, "colearn-key-1": JSON, sealed with a passphrase or plain.

Sealed, the secret is encrypted with AES-256-GCM under a key that scrypt makes of the passphrase.
The format's name and the address are authenticated with it, so neither can be exchanged.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from typing import Any

from Crypto.Cipher import AES
from Crypto.Protocol.KDF import scrypt

from colearn.crypto import checksum_address, parse_address
from colearn.errors import ConfigError
from colearn.identity._document import (
    hex_field,
    int_field,
    malformed,
    object_field,
    wrong_passphrase,
)
from colearn.identity.key import SECRET_BYTES, Key

__all__ = ["FORMAT", "is_sealed", "seal", "stated_address", "unseal"]

FORMAT = "colearn-key-1"

_SCRYPT_N = 2**17
_SCRYPT_N_MIN = 2**14
_SCRYPT_N_MAX = 2**18
"""With r = 8 this takes 256 MiB and about a second: the most that a hostile file may cost."""
_SCRYPT_R = 8
_SCRYPT_P = 1

_SALT_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16


def seal(key: Key, passphrase: str | None) -> dict[str, Any]:
    """Return the document that holds a key, plain when there is no passphrase."""
    address = checksum_address(key.address)
    document: dict[str, Any] = {"format": FORMAT, "address": address}
    if passphrase is None:
        return document | {"secret": key.reveal_secret().hex()}
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    cipher = AES.new(_derive(passphrase, salt, _SCRYPT_N), AES.MODE_GCM, nonce=nonce)
    cipher.update(_bound(key.address))
    ciphertext, tag = cipher.encrypt_and_digest(key.reveal_secret())
    sealed = {
        "kdf": "scrypt",
        "n": _SCRYPT_N,
        "r": _SCRYPT_R,
        "p": _SCRYPT_P,
        "salt": salt.hex(),
        "cipher": "aes-256-gcm",
        "nonce": nonce.hex(),
        "ciphertext": ciphertext.hex(),
        "tag": tag.hex(),
    }
    return document | {"sealed": sealed}


def unseal(document: Mapping[str, Any], passphrase: str | None, where: str) -> Key:
    """Return the key that a document of this format holds.

    Args:
        document: What the file holds, from anybody.
        passphrase: What opens it; not looked at when the file is plain.
        where: The file's name, for errors.

    Raises:
        ConfigError: Malformed, another passphrase, more work than `seal` would ask for, or an
            address that is not the secret's.
    """
    address = stated_address(document, where)
    if is_sealed(document, where):
        if passphrase is None:
            raise ConfigError(f"{where} needs a passphrase.", hint="See `colearn key show --help`.")
        secret = _opened(object_field(document, "sealed", where), passphrase, address, where)
    else:
        secret = hex_field(document, "secret", SECRET_BYTES, SECRET_BYTES, where)
    key = Key.from_secret(secret)
    if key.address != address:
        raise malformed(where, "its address is not the one of its secret")
    return key


def stated_address(document: Mapping[str, Any], where: str) -> str:
    """Return the address that the document states, lower-case; nothing is proved by it.

    Raises:
        ConfigError: There is none.
    """
    try:
        return parse_address(document.get("address", ""))
    except ConfigError as error:
        raise malformed(where, "'address' is not an address") from error


def is_sealed(document: Mapping[str, Any], where: str) -> bool:
    """Return whether a passphrase is needed to read the secret.

    Raises:
        ConfigError: The document has other fields than one of the two kinds has.
    """
    for kind in ("sealed", "secret"):
        if set(document) == {"format", "address", kind}:
            return kind == "sealed"
    raise malformed(where, "it must have the fields format, address and one of sealed and secret")


def _opened(sealed: Mapping[str, Any], passphrase: str, address: str, where: str) -> bytes:
    if (sealed.get("kdf"), sealed.get("cipher")) != ("scrypt", "aes-256-gcm"):
        raise malformed(where, "it must be sealed with scrypt and aes-256-gcm")
    cost = int_field(sealed, "n", _SCRYPT_N_MIN, _SCRYPT_N_MAX, where)
    if cost & (cost - 1):
        raise malformed(where, "'n' must be a power of two")
    int_field(sealed, "r", _SCRYPT_R, _SCRYPT_R, where)
    int_field(sealed, "p", _SCRYPT_P, _SCRYPT_P, where)
    salt = hex_field(sealed, "salt", _SALT_BYTES, _SALT_BYTES, where)
    nonce = hex_field(sealed, "nonce", _NONCE_BYTES, _NONCE_BYTES, where)
    ciphertext = hex_field(sealed, "ciphertext", SECRET_BYTES, SECRET_BYTES, where)
    tag = hex_field(sealed, "tag", _TAG_BYTES, _TAG_BYTES, where)
    cipher = AES.new(_derive(passphrase, salt, cost), AES.MODE_GCM, nonce=nonce)
    cipher.update(_bound(address))
    try:
        return cipher.decrypt_and_verify(ciphertext, tag)
    except ValueError:
        raise wrong_passphrase(where) from None


def _derive(passphrase: str, salt: bytes, cost: int) -> bytes:
    # One passphrase typed on two systems may differ in its composed characters; NFKC makes it one.
    # Bytes of the environment that are no UTF-8 come as lone surrogates, which pass as they are.
    material = unicodedata.normalize("NFKC", passphrase).encode("utf-8", "surrogatepass")
    # The library takes text, and turns it back into these same bytes.
    derived = scrypt(
        material.decode("latin-1"), salt.decode("latin-1"), 32, cost, _SCRYPT_R, _SCRYPT_P
    )
    assert isinstance(derived, bytes)
    return derived


def _bound(address: str) -> bytes:
    return f"{FORMAT}:{address}".encode("ascii")
