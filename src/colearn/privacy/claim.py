"""What a proposer claims of its training's privacy, as short text in the proposal's metadata.

The claim is signed with the proposal and cannot be proved: a reader checks that it is one, that
it is about the agreed settings, and that it does not itself admit to have spent too much (P3.5).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping

from colearn.errors import WeightsError
from colearn.interface import DiffPrivBudget, DiffPrivConfig, TrainingSummary

__all__ = [
    "CLAIM_KEYS",
    "PREFIX",
    "TERM",
    "check_claim",
    "claim_of",
    "config_digest",
    "metadata_of",
]

TERM = "proposal_privacy"
"""Where the terms of a specification hold what every proposal must keep to (6.1)."""

PREFIX = "dp."
"""Every key of a claim begins so, and no other key of a proposal's metadata may."""

BUDGET_FIELDS = ("target_epsilon", "target_delta", "consumed_epsilon", "consumed_delta")

CLAIM_KEYS = ("dp.config", "dp.noise", *(PREFIX + field for field in BUDGET_FIELDS))
"""The keys of a claim: all of them, or none."""

NUMBER_CHARACTERS_MAX = 32
"""The longest `repr` of a finite float has 24 characters."""

SHOWN_CHARACTERS = 80

_DIGEST = re.compile("[0-9a-f]{64}")


def config_digest(config: DiffPrivConfig) -> str:
    """Return the SHA-256 of all of `config`, in hexadecimal; equal settings have equal digests."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def metadata_of(summary: TrainingSummary | None) -> dict[str, str]:
    """Return the claim of `summary` as text; empty if the training was not private.

    Raises:
        WeightsError: A number of the budget is not finite, or below 0.
    """
    if summary is None or summary.dp_budget is None or not summary.dp_config:
        return {}
    numbers = {field: getattr(summary.dp_budget, field) for field in BUDGET_FIELDS}
    metadata = {"dp.config": summary.dp_config, "dp.noise": summary.dp_noise}
    metadata |= {PREFIX + field: repr(float(number)) for field, number in numbers.items()}
    claim_of(metadata)
    return metadata


def claim_of(metadata: Mapping[str, str]) -> TrainingSummary | None:
    """Read a claim that somebody else wrote.

    Args:
        metadata: Text that came with a proposal.

    Returns:
        None if no key begins with ``dp.``.

    Raises:
        WeightsError: Some keys are there and others not, there is an unknown one, or a value is
            not in the one spelling that `metadata_of` uses.
    """
    keys = {key for key in metadata if key.startswith(PREFIX)}
    if not keys:
        return None
    if keys != set(CLAIM_KEYS):
        odd = min(keys ^ set(CLAIM_KEYS))
        raise WeightsError(
            f"A claim of privacy has the keys {', '.join(CLAIM_KEYS)}; {_shown(odd)} is "
            f"{'unknown' if odd in keys else 'missing'}."
        )
    config, noise = metadata["dp.config"], metadata["dp.noise"]
    if not isinstance(config, str) or not _DIGEST.fullmatch(config):
        raise WeightsError(f"dp.config must be 64 hexadecimal digits, got {_shown(config)}.")
    if noise not in ("secure", "simulation"):
        raise WeightsError(f"dp.noise must be secure or simulation, got {_shown(noise)}.")
    budget = {field: _number(PREFIX + field, metadata[PREFIX + field]) for field in BUDGET_FIELDS}
    return TrainingSummary(
        dp_budget=DiffPrivBudget(**budget),
        dp_config=config,
        dp_noise=noise,  # type: ignore[arg-type]
    )


def check_claim(summary: TrainingSummary | None, config: DiffPrivConfig) -> None:
    """Check that `summary` claims a training as `config` asks for (P3.5).

    Raises:
        WeightsError: There is no claim, or it is about other settings, another target or other
            noise, has numbers that are not finite, or admits more than the target.
    """
    if summary is None or summary.dp_budget is None:
        raise WeightsError(
            "The experiment asks for private training, and the proposal claims none.",
            hint="Its proposer needs the experiment's DiffPrivConfig.",
        )
    if summary.dp_config != config_digest(config):
        raise WeightsError(
            f"The proposal was trained with other privacy settings, {_shown(summary.dp_config)}, "
            f"than the experiment's, {config_digest(config)}."
        )
    if summary.dp_noise != config.noise:
        raise WeightsError(f"Expected {config.noise} noise, got {_shown(summary.dp_noise)}.")
    budget = summary.dp_budget
    for field in BUDGET_FIELDS:
        _require_finite(field, getattr(budget, field))
    for name in ("epsilon", "delta"):
        asked = getattr(config, f"target_{name}")
        target = getattr(budget, f"target_{name}")
        consumed = getattr(budget, f"consumed_{name}")
        if target != asked:
            raise WeightsError(f"Expected the target {name} {asked}, got {target}.")
        if consumed > asked:
            raise WeightsError(f"The proposal's {name} is {consumed}, over the target {asked}.")


def _number(key: str, text: object) -> float:
    """Read a float in its `repr`: one spelling a value, so no ``1_0``, ``nan`` or spaces."""
    if not isinstance(text, str) or len(text) > NUMBER_CHARACTERS_MAX:
        raise WeightsError(f"{key} must be a short number, got {_shown(text)}.")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if repr(value) != text:
        raise WeightsError(f"{key} must be a number as Python writes it, got {_shown(text)}.")
    return _require_finite(key, value)


def _require_finite(key: str, value: float) -> float:
    # The sign of -0.0 is refused too: there is one zero.
    if not math.isfinite(value) or math.copysign(1.0, value) < 0:
        raise WeightsError(f"{key} must be finite and at least 0, got {value!r}.")
    return value


def _shown(value: object) -> str:
    """Return what somebody else wrote, cut to a length that an error may have."""
    text = value if isinstance(value, str) else type(value).__name__
    cut = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
    return ascii(cut)
