"""Randomness of mechanisms: from the operating system, or repeatable and NOT PRIVATE.

Whoever can repeat the noise can subtract it. So private noise never has a seed: every request has
a fresh key, and no state outlives it that a fork or a copy of the memory would repeat.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from Crypto.Cipher import ChaCha20

from colearn.errors import ConfigError

__all__ = [
    "RandomSource",
    "SecureSource",
    "SimulationSource",
    "bernoulli_logistic",
    "gaussian",
    "noised",
    "poisson_sample",
    "source_of",
    "uniform_below",
]

KEY_BYTES = 32
NONCE_BYTES = 8

PIECE_BYTES = 2**24
"""What one key gives at most, far below the 256 GiB after which ChaCha20 would repeat."""

PAIRS_PIECE = 2**16
"""Pairs of normal numbers made at a time: their arrays stay in the processor's cache."""

MANTISSA_BITS = 53

GRID_BITS = 20
"""The grid on which noisy numbers are released has about 2**20 points a standard deviation."""


class RandomSource(Protocol):
    """Where a mechanism's random bytes come from."""

    @property
    def label(self) -> Literal["secure", "simulation"]:
        """What the noise made of it may be called."""
        ...

    def take(self, count: int) -> bytes:
        """Return `count` fresh bytes."""
        ...


class SecureSource:
    """ChaCha20 under a key and a nonce from the operating system, new for every request.

    It keeps no state, so that processes forked from one another never draw the same.
    """

    label: Literal["secure"] = "secure"

    def take(self, count: int) -> bytes:
        """Return `count` bytes that nobody can predict or repeat."""
        _require_count(count)
        pieces = []
        for start in range(0, count, PIECE_BYTES):
            cipher = ChaCha20.new(key=os.urandom(KEY_BYTES), nonce=os.urandom(NONCE_BYTES))
            pieces.append(cipher.encrypt(bytes(min(PIECE_BYTES, count - start))))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class SimulationSource:
    """NOT PRIVATE: a generator that repeats with its seed, for experiments and tests.

    Args:
        seed: At least 0; the same seed gives the same bytes for the same requests.

    Raises:
        ConfigError: `seed` is no such number.
    """

    label: Literal["simulation"] = "simulation"

    def __init__(self, seed: int) -> None:
        """Start the sequence of `seed`."""
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"A seed is a whole number of at least 0, got {seed!r}.")
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes of the sequence."""
        _require_count(count)
        return self._generator.bytes(count)


def source_of(noise: str, seed: int) -> RandomSource:
    """Return the source that a configuration's `noise` names.

    Args:
        noise: "secure" or "simulation".
        seed: Used by "simulation" alone.

    Raises:
        ConfigError: `noise` is neither.
    """
    if noise == "secure":
        return SecureSource()
    if noise == "simulation":
        return SimulationSource(seed)
    raise ConfigError(f'noise is "secure" or "simulation", got {noise!r}.')


def gaussian(shape: int | Sequence[int], source: RandomSource) -> npt.NDArray[np.float64]:
    """Return independent standard normal numbers, float64 of `shape` (Box and Muller, 1958).

    They are made of uniform numbers of 53 bits, so the largest is 8.57. Their low bits are those
    of floating-point functions: round what they are added to (Mironov, 2012).
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    count = math.prod(shape)
    pairs = -(-count // 2)
    normal = np.empty(2 * pairs)
    for start in range(0, pairs, PAIRS_PIECE):
        size = min(PAIRS_PIECE, pairs - start)
        _box_muller(normal[2 * start : 2 * (start + size)], source)
    return normal[:count].reshape(shape)


def noised(
    values: npt.NDArray[np.float64], deviation: float, source: RandomSource
) -> npt.NDArray[np.float64]:
    """Return `values` with normal noise of a standard deviation, rounded to a grid.

    The low bits of a sum of floating-point numbers tell which sum it was whatever noise was added
    (Mironov, 2012); a grid cuts them off. That lowers this risk and does not remove it: the noise
    itself is no exact discrete Gaussian. With the deviation 0 nothing is added or rounded.
    """
    if deviation == 0:
        return values.copy()
    noisy = values + deviation * gaussian(values.shape, source)
    grid = 2.0 ** (round(math.log2(deviation)) - GRID_BITS)
    rounded: npt.NDArray[np.float64] = np.rint(noisy / grid) * grid
    return rounded


def poisson_sample(count: int, rate: float, source: RandomSource) -> npt.NDArray[np.int64]:
    """Return the indices below `count` that a draw with chance `rate` each takes, ascending.

    The chance is `rate` rounded up to a multiple of 2**-53; at 1 all are taken.

    Raises:
        ConfigError: `count` is below 0, or `rate` outside [0, 1].
    """
    _require_count(count)
    if not 0 <= rate <= 1:
        raise ConfigError(f"A sampling rate is from 0 to 1, got {rate!r}.")
    if rate == 1:
        return np.arange(count, dtype=np.int64)
    return np.flatnonzero(_uniform(count, source) < rate).astype(np.int64, copy=False)


def uniform_below(bound: int, source: RandomSource) -> int:
    """Return a whole number from 0 to ``bound - 1``, each exactly as likely, by rejection.

    Raises:
        ConfigError: `bound` is below 1.
    """
    if bound < 1:
        raise ConfigError(f"Expected a bound of at least 1, got {bound!r}.")
    bits = (bound - 1).bit_length()
    size = -(-bits // 8)
    while True:
        value = int.from_bytes(source.take(size), "big") >> (8 * size - bits)
        if value < bound:
            return value


def bernoulli_logistic(x: Fraction, source: RandomSource) -> bool:
    """Return True with the chance 1 / (1 + exp(-x)), exactly: no float is involved.

    A coin says which of two weights, 1 and exp(-abs(x)), is looked at; it is accepted with the
    chance that it says, else the coin is thrown again. So the two answers have the chances
    1 : exp(-abs(x)). Coins of exp(-y) come from Canonne, Kamath and Steinke (2020, algorithm 1).
    """
    size = abs(x)
    likely = x >= 0
    while True:
        if uniform_below(2, source) == 0:
            return likely
        if _bernoulli_exp(size, source):
            return not likely


def _bernoulli_exp(y: Fraction, source: RandomSource) -> bool:
    """Return True with the chance exp(-y), for y >= 0."""
    while y > 1:
        if not _bernoulli_exp_unit(Fraction(1), source):
            return False
        y -= 1
    return _bernoulli_exp_unit(y, source)


def _bernoulli_exp_unit(y: Fraction, source: RandomSource) -> bool:
    """Return True with the chance exp(-y), for 0 <= y <= 1: a first failure at an odd place."""
    place = 1
    while uniform_below(y.denominator * place, source) < y.numerator:
        place += 1
    return place % 2 == 1


def _box_muller(out: npt.NDArray[np.float64], source: RandomSource) -> None:
    uniform = _uniform(out.size, source)
    half = out.size // 2
    # In (0, 1], so that the logarithm is finite.
    radius = np.sqrt(-2 * np.log(1 - uniform[:half]))
    angle = (2 * math.pi) * uniform[half:]
    np.multiply(radius, np.cos(angle), out=out[:half])
    np.multiply(radius, np.sin(angle), out=out[half:])


def _uniform(count: int, source: RandomSource) -> npt.NDArray[np.float64]:
    """Return uniform multiples of 2**-53 in [0, 1), float64 (count,)."""
    words = np.frombuffer(source.take(8 * count), dtype="<u8")
    uniform = (words >> np.uint64(64 - MANTISSA_BITS)).astype(np.float64)
    uniform *= 2.0**-MANTISSA_BITS
    return uniform


def _require_count(count: int) -> None:
    if count < 0:
        raise ConfigError(f"Expected a count of at least 0, got {count!r}.")
