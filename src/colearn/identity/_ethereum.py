"""Reading an Ethereum keystore file, version 3 (Web3 Secret Storage), with the extra `evm`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from colearn.crypto import parse_address
from colearn.errors import ConfigError, MissingExtraError
from colearn.identity._document import (
    hex_field,
    int_field,
    malformed,
    object_field,
    wrong_passphrase,
)
from colearn.identity.key import SECRET_BYTES, Key

__all__ = ["ethereum_address", "from_ethereum", "is_ethereum"]

_SCRYPT_BYTES_MAX = 512 * 2**20
_SCRYPT_WORK_MAX = 2**23
"""n r p: four times what geth asks for, some four seconds."""
_SCRYPT_PART_MAX = 32
"""The largest r and p."""
_ITERATIONS_MAX = 10_000_000
"""Of PBKDF2: ten times what the keystore libraries ask for, some five seconds."""
_DERIVED_BYTES = 32
_IV_BYTES = 16
_MAC_BYTES = 32
_SALT_BYTES_MAX = 256


def is_ethereum(document: Mapping[str, Any]) -> bool:
    """Return whether this looks like a keystore of Ethereum, whose names have any case."""
    return {"version", "crypto"} <= {name.lower() for name in document}


def ethereum_address(document: Mapping[str, Any], where: str) -> str | None:
    """Return the address that the document states, lower-case; None where it states none.

    Raises:
        ConfigError: What it states is not an address.
    """
    stated = _lowered(document).get("address")
    if stated is None:
        return None
    if not isinstance(stated, str):
        raise malformed(where, "'address' is not an address")
    digits = stated.removeprefix("0x")
    try:
        return parse_address(f"0x{digits}")
    except ConfigError as error:
        raise malformed(where, "'address' is not an address") from error


def from_ethereum(document: Mapping[str, Any], passphrase: str | None, where: str) -> Key:
    """Return the key of a keystore file of version 3.

    The cost that the file asks for is checked before any work is done, and only checked values
    are passed on.

    Raises:
        ConfigError: Malformed, another passphrase, too much work, or an address that is not the
            secret's.
        MissingExtraError: The library that opens it is not installed.
    """
    address = ethereum_address(document, where)
    checked = {"version": 3, "crypto": _checked(_lowered(document), where)}
    if passphrase is None:
        raise ConfigError(f"{where} needs a passphrase.", hint="See `colearn key show --help`.")
    # A package behind it raises the recursion limit so far that deeply nested JSON, wherever it
    # is read later, would kill the process instead of raising RecursionError.
    limit = sys.getrecursionlimit()
    try:
        from eth_keyfile.keyfile import decode_keyfile_json  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("eth-keyfile", extra="evm") from error
    finally:
        sys.setrecursionlimit(limit)
    try:
        secret = decode_keyfile_json(checked, passphrase.encode("utf-8", "surrogatepass"))
    except ValueError:
        raise wrong_passphrase(where) from None
    key = Key.from_secret(secret)
    if address not in (None, key.address):
        raise malformed(where, "its address is not the one of its secret")
    return key


def _checked(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    int_field(document, "version", 3, 3, where)
    crypto = _lowered(object_field(document, "crypto", where))
    if crypto.get("cipher") != "aes-128-ctr":
        raise malformed(where, "'cipher' must be aes-128-ctr")
    kdf = crypto.get("kdf")
    params = _lowered(object_field(crypto, "kdfparams", where))
    cipher = _lowered(object_field(crypto, "cipherparams", where))
    if kdf == "scrypt":
        cost = _scrypt_cost(params, where)
    elif kdf == "pbkdf2" and params.get("prf") == "hmac-sha256":
        cost = {"prf": "hmac-sha256", "c": int_field(params, "c", 1, _ITERATIONS_MAX, where)}
    else:
        raise malformed(where, "'kdf' must be scrypt, or pbkdf2 with hmac-sha256")
    dklen = int_field(params, "dklen", _DERIVED_BYTES, _DERIVED_BYTES, where)
    return {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": _digits(cipher, "iv", 1, _IV_BYTES, where)},
        "ciphertext": _digits(crypto, "ciphertext", SECRET_BYTES, SECRET_BYTES, where),
        "kdf": kdf,
        "kdfparams": cost
        | {"dklen": dklen, "salt": _digits(params, "salt", 0, _SALT_BYTES_MAX, where)},
        "mac": _digits(crypto, "mac", _MAC_BYTES, _MAC_BYTES, where),
    }


def _scrypt_cost(params: Mapping[str, Any], where: str) -> dict[str, Any]:
    n = int_field(params, "n", 2, _SCRYPT_WORK_MAX, where)
    r = int_field(params, "r", 1, _SCRYPT_PART_MAX, where)
    p = int_field(params, "p", 1, _SCRYPT_PART_MAX, where)
    if n & (n - 1):
        raise malformed(where, "'n' must be a power of two")
    if 128 * n * r > _SCRYPT_BYTES_MAX or n * r * p > _SCRYPT_WORK_MAX:
        raise malformed(
            where,
            f"scrypt may take {_SCRYPT_BYTES_MAX} bytes (128 n r) and n r p may be "
            f"{_SCRYPT_WORK_MAX}",
        )
    return {"n": n, "r": r, "p": p}


def _digits(document: Mapping[str, Any], name: str, low: int, high: int, where: str) -> str:
    value = document.get(name)
    bare = value.removeprefix("0x") if isinstance(value, str) else value
    return hex_field({name: bare}, name, low, high, where).hex()


def _lowered(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in document.items()}
