"""The cryptographic functions under the protocol: Keccak-256, recovery, addresses (7.6, 7.9).

All of them are pure. Who checks a signature also asks `is_low_s` where the log demands it (7.9):
`recover` takes both forms of s, as the EVM's ``ecrecover`` does.
"""

from __future__ import annotations

import re

from coincurve import PublicKey
from Crypto.Hash import keccak

from colearn.errors import ConfigError, SignatureError

__all__ = [
    "ADDRESS_BYTES",
    "DIGEST_BYTES",
    "GROUP_ORDER",
    "SIGNATURE_BYTES",
    "address_of",
    "checksum_address",
    "is_low_s",
    "keccak256",
    "parse_address",
    "recover",
]

ADDRESS_BYTES = 20
DIGEST_BYTES = 32
SIGNATURE_BYTES = 65
"""r and s of 32 bytes each, then v of one byte."""

GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1; secrets and both halves of a signature are from 1 to one below it."""

_HALF_ORDER = GROUP_ORDER // 2
_V_OFFSET = 27
"""What v adds to the recovery id, by the EVM's convention."""

_UNCOMPRESSED = 4
"""The first byte of a public key that is written as x and y in full."""

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 of `data`: Ethereum's hash, which is not SHA3-256."""
    return keccak.new(data=data, digest_bits=256).digest()


def recover(digest: bytes, signature: bytes) -> str:
    """Return the address of the key that signed, lower-case and with ``0x`` (7.6).

    Args:
        digest: The 32 bytes that were signed.
        signature: r, s and v, together 65 bytes; v is 27 or 28.

    Raises:
        SignatureError: These bytes are no signature of anybody.
    """
    if not isinstance(digest, bytes) or len(digest) != DIGEST_BYTES:
        raise SignatureError(f"A digest to recover from is {DIGEST_BYTES} bytes, {_got(digest)}.")
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"A signature is {SIGNATURE_BYTES} bytes, {_got(signature)}.")
    recovery = signature[64] - _V_OFFSET
    if recovery not in (0, 1):
        raise SignatureError(f"The last byte of a signature is 27 or 28, got {signature[64]}.")
    compact = signature[:64] + bytes((recovery,))
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError as error:
        raise SignatureError("No key can have made this signature of this digest.") from error
    return address_of(key.format(compressed=False))


def is_low_s(signature: bytes) -> bool:
    """Return whether s is at most half the group order, so that nobody can mint a twin (7.9).

    Bytes that are no signature by their length are not low either.
    """
    return (
        len(signature) == SIGNATURE_BYTES and int.from_bytes(signature[32:64], "big") <= _HALF_ORDER
    )


def address_of(public_key_uncompressed: bytes) -> str:
    """Return the address of a public key, lower-case and with ``0x`` (7.6).

    Args:
        public_key_uncompressed: The byte 4, then x and y of 32 bytes each. That they are a point
            of the curve is not checked.

    Raises:
        SignatureError: Not 65 bytes of this form.
    """
    if len(public_key_uncompressed) != 65 or public_key_uncompressed[0] != _UNCOMPRESSED:
        raise SignatureError(
            f"A public key is the byte 4 and 64 bytes more, {_got(public_key_uncompressed)}."
        )
    return "0x" + keccak256(public_key_uncompressed[1:])[-ADDRESS_BYTES:].hex()


def checksum_address(address: str) -> str:
    """Return the address in mixed case, where the case of the letters is a checksum (EIP-55).

    This is the form to show to people; the protocol's own form is lower-case.

    Raises:
        ConfigError: Not an address, or in mixed case with a wrong checksum.
    """
    return _mixed_case(parse_address(address))


def parse_address(text: str) -> str:
    """Return an address that somebody typed in the protocol's form: lower-case, with ``0x``.

    Args:
        text: ``0x`` and 40 hexadecimal digits, all lower-case, all upper-case, or in mixed case
            with the checksum of EIP-55.

    Raises:
        ConfigError: Anything else. The text is not repeated in the error, because what is pasted
            by mistake may be a secret.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise ConfigError(
            f"An address is 0x and 40 hexadecimal digits, {_got(text)}.",
            hint="Copy it whole, as `colearn key show` prints it.",
        )
    address = text.lower()
    if text[2:] not in (address[2:], address[2:].upper()) and text != _mixed_case(address):
        raise ConfigError(
            f"The checksum of the address {text} is wrong.",
            hint="A character was changed on the way: copy it again.",
        )
    return address


def _mixed_case(address: str) -> str:
    digits = address[2:]
    nibbles = keccak256(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if nibble >= "8" else digit
        for digit, nibble in zip(digits, nibbles, strict=False)
    )


def _got(value: object) -> str:
    if isinstance(value, bytes | str):
        return f"got {len(value)} {'characters' if isinstance(value, str) else 'bytes'}"
    return f"got {type(value).__name__}"
