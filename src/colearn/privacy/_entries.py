"""The lines of a record of spends: what they say, and how each is checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from colearn.errors import ConfigError
from colearn.privacy.accountant import SampledGaussian, Spend, ZeroConcentrated

__all__ = ["NAME", "PURPOSE_MAX", "Partition", "SpendEntry", "VoteEntry", "event_of", "read_entry"]

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""How a dataset, a split and a part are named."""

PURPOSE_MAX = 200
"""Characters that are kept of a purpose."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_COUNT_MAX = 10**12


@dataclass(frozen=True, slots=True)
class Partition:
    """One part of a dataset.

    Attributes:
        split: How the dataset was divided: the digest of `split_digest`, or a name.
        name: Which of its parts: "train", "vote" or "test".
    """

    split: str
    name: str

    def __post_init__(self) -> None:
        for text in (self.split, self.name):
            if not isinstance(text, str) or not NAME.fullmatch(text):
                raise ConfigError(
                    "A partition is named by 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-'; "
                    f"got {text!r}."
                )


@dataclass(frozen=True, slots=True)
class SpendEntry:
    """A spend that was written down.

    Attributes:
        line: Its line in the file, counted from 1.
        partition: Whose records were touched.
        spend: By which mechanism.
        purpose: What for.
        time: When, in seconds since 1970 by the writer's clock; for information only.
    """

    line: int
    partition: Partition
    spend: Spend
    purpose: str
    time: int


@dataclass(frozen=True, slots=True)
class VoteEntry:
    """A vote that was drawn and paid for.

    Attributes:
        line: Its line in the file, counted from 1.
        question: Sha256 of the question, in hexadecimal.
        vote: The answer.
    """

    line: int
    question: str
    vote: bool


def event_of(spend: Spend) -> dict[str, Any]:
    """Return what is written of a spend."""
    if isinstance(spend, SampledGaussian):
        event = {
            "kind": "gaussian",
            "noise_multiplier": float(spend.noise_multiplier),
            "sampling_rate": float(spend.sampling_rate),
            "count": int(spend.count),
        }
    else:
        event = {"kind": "zcdp", "rho": float(spend.rho)}
    try:
        _spend(event)
    except ValueError as error:
        raise ConfigError(f"{spend} cannot be spent: {error}.") from error
    return event


def read_entry(number: int, document: dict[str, Any]) -> SpendEntry | VoteEntry:
    """Check one line; ValueError says what is wrong."""
    document = {key: value for key, value in document.items() if key != "before"}
    if "question" in document:
        _keys(document, "question", "vote")
        question, vote = document["question"], document["vote"]
        if not isinstance(question, str) or not _DIGEST.fullmatch(question):
            raise ValueError("question must be 64 hexadecimal digits")
        if not isinstance(vote, bool):
            raise ValueError("vote must be true or false")
        return VoteEntry(number, question, vote)
    rest = {"split", "name", "purpose", "time"}
    spend = _spend({key: value for key, value in document.items() if key not in rest})
    _keys({key: value for key, value in document.items() if key in rest}, *rest)
    purpose = document["purpose"]
    if not isinstance(purpose, str) or len(purpose) > PURPOSE_MAX:
        raise ValueError(f"purpose must be a text of up to {PURPOSE_MAX} characters")
    moment = _whole(document["time"], 0)
    return SpendEntry(
        number, Partition(document["split"], document["name"]), spend, purpose, moment
    )


def _spend(event: dict[str, Any]) -> Spend:
    """Read one event."""
    if event.get("kind") == "zcdp":
        _keys(event, "kind", "rho")
        return ZeroConcentrated(_number(event["rho"], math.inf))
    if event.get("kind") != "gaussian":
        raise ValueError("kind must be gaussian or zcdp")
    _keys(event, "kind", "noise_multiplier", "sampling_rate", "count")
    return SampledGaussian(
        _number(event["noise_multiplier"], math.inf),
        _number(event["sampling_rate"], 1.0),
        _whole(event["count"], 1),
    )


def _keys(document: dict[str, Any], *names: str) -> None:
    if set(document) != set(names):
        raise ValueError(f"its keys must be {', '.join(sorted(names))}")


def _number(value: Any, most: float) -> float:
    if type(value) is not float or not math.isfinite(value) or not 0 <= value <= most:
        raise ValueError(f"expected a number from 0 to {most:g}, got {value!r}")
    return value


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value <= _COUNT_MAX:
        raise ValueError(f"expected a whole number from {least} to {_COUNT_MAX}, got {value!r}")
    return value
