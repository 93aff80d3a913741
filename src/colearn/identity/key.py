"""A learner's key: it signs, and its address is the learner's name on every ledger (7.6)."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import NoReturn

from coincurve import PrivateKey

from colearn.crypto import DIGEST_BYTES, GROUP_ORDER, address_of
from colearn.errors import ConfigError, SignatureError

__all__ = ["SECRET_BYTES", "Key"]

SECRET_BYTES = 32

_SEED_MAX = 2**64 - 1
_NAME_MAX = 256
_V_OFFSET = 27
"""What v adds to the recovery id, by the EVM's convention."""

_DERIVED = b"Colearn derived value\n"
"""Keeps derived values apart from every other use of the secret."""

_SIMULATED = b"Colearn simulated key, not secret\n"
"""Keeps the keys of simulations apart from every other use of the same hash."""


class Key:
    """A secp256k1 signing key (7.6).

    The secret is shown by no text of the object, and the object cannot be pickled or copied, so
    that it does not reach another process or a file by accident.

    Attributes:
        address: The name of the learner: ``0x`` and 40 hexadecimal digits, lower-case.
        simulated: Whether the secret comes from a seed, and so is no secret at all.
    """

    __slots__ = ("_address", "_signer", "_simulated")

    def __init__(self, signer: PrivateKey, *, simulated: bool) -> None:
        """Wrap a signer; `generate`, `from_secret` and `from_seed` are the ways in."""
        self._signer = signer
        self._address = address_of(signer.public_key.format(compressed=False))
        self._simulated = simulated

    @classmethod
    def generate(cls) -> Key:
        """Make a new key from the operating system's randomness."""
        secret = os.urandom(SECRET_BYTES)
        while not _in_range(secret):
            secret = os.urandom(SECRET_BYTES)
        return cls.from_secret(secret)

    @classmethod
    def from_secret(cls, secret: bytes) -> Key:
        """Make the key of a secret.

        Args:
            secret: 32 bytes, a big-endian number from 1 to the group order less one.

        Raises:
            ConfigError: Anything else. The error does not repeat the secret.
        """
        if not isinstance(secret, bytes) or len(secret) != SECRET_BYTES:
            raise ConfigError(f"The secret of a key must be {SECRET_BYTES} bytes.")
        if not _in_range(secret):
            raise ConfigError("The secret of a key must be from 1 to the order of secp256k1 - 1.")
        return cls(PrivateKey(secret), simulated=False)

    @classmethod
    def from_seed(cls, seed: int, name: str) -> Key:
        """Make the key that a seed and a name decide: for simulations, NOT SECRET.

        Everybody who knows the seed and the name can sign with this key. `simulated` is True,
        and no keystore saves it.

        Args:
            seed: From 0 to 2**64 - 1.
            name: The learner's name, at most 256 characters.

        Raises:
            ConfigError: The seed or the name is something else.
        """
        if type(seed) is not int or not 0 <= seed <= _SEED_MAX:
            raise ConfigError(f"The seed of a key must be a whole number from 0 to {_SEED_MAX}.")
        if not isinstance(name, str) or len(name) > _NAME_MAX:
            raise ConfigError(f"The name of a key must be at most {_NAME_MAX} characters of text.")
        material = _SIMULATED + f"{seed}\n{name}".encode("utf-8", "surrogatepass")
        secret = hashlib.sha256(material).digest()
        # Once in 2**128 the digest is out of range; the loop is what makes that no special case.
        while not _in_range(secret):
            secret = hashlib.sha256(_SIMULATED + secret).digest()
        return cls(PrivateKey(secret), simulated=True)

    @property
    def address(self) -> str:
        """The learner's name on every ledger (7.6)."""
        return self._address

    @property
    def simulated(self) -> bool:
        """Whether the secret comes from a seed, and so is no secret at all."""
        return self._simulated

    def sign(self, digest: bytes) -> bytes:
        """Sign a digest, deterministically (RFC 6979).

        Args:
            digest: 32 bytes.

        Returns:
            r, s and v, together 65 bytes, with the low s that the log demands (7.9) and v 27
            or 28.

        Raises:
            SignatureError: The digest is not 32 bytes.
        """
        if not isinstance(digest, bytes) or len(digest) != DIGEST_BYTES:
            raise SignatureError(f"Only a digest of {DIGEST_BYTES} bytes can be signed.")
        signature = self._signer.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((signature[64] + _V_OFFSET,))

    def derive(self, purpose: bytes) -> bytes:
        """Return 32 bytes that only the holder of the key can compute, equal every time.

        Args:
            purpose: What they are for; other purposes give bytes that tell nothing of these.
        """
        return hmac.digest(self._signer.secret, _DERIVED + purpose, "sha256")

    def reveal_secret(self) -> bytes:
        """Return the 32 bytes of the secret, for the keystore that writes them."""
        return self._signer.secret

    def __repr__(self) -> str:
        return f"Key({self._address}{', simulated' if self._simulated else ''})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A Key cannot be pickled or copied, because its secret would go along.")


def _in_range(secret: bytes) -> bool:
    return 0 < int.from_bytes(secret, "big") < GROUP_ORDER
