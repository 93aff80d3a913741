"""Check 11: what proposals claim of their privacy (section 8, P3.5)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from colearn.audit.report import Check
from colearn.audit.story import Story, Told
from colearn.errors import StoreError, WeightsError
from colearn.interface import DiffPrivConfig, TrainingSummary
from colearn.privacy.claim import TERM, check_claim, claim_of
from colearn.shallow import read_json
from colearn.store import BlobStore
from colearn.weights import DEFAULT_LIMITS, decode

__all__ = ["check_claims"]

_SPECIFICATION_BYTES_MAX = 2**20

_ABSENT = object()
"""Stands for a proposal whose bytes are not at hand."""


def check_claims(story: Story, store: BlobStore, check: Check) -> tuple[int, int]:
    """Hold each proposal's claim against what was agreed, and against its proposer's earlier ones.

    A rejected proposal may claim what it likes: that is why it was rejected. But what a member
    says it has spent never falls, whatever became of its proposals. Proposals whose bytes are not
    at hand are passed over; check 9 says which.

    Returns:
        How many claims were read, and 1 if the experiment agreed on privacy, else 0.
    """
    agreed = _agreed(story, store, check)
    if agreed is None:
        return 0, 0
    accepted = {digest for _, digest in story.models}
    spent: dict[str, float] = {}
    count = 0
    for told in story.proposals:
        for digest in told.candidates:
            claim = _claim(told, digest, store, check, counts=digest in accepted)
            if digest in accepted and claim is not _ABSENT:
                _hold(told, claim, agreed, check)
            if isinstance(claim, TrainingSummary) and claim.dp_budget is not None:
                count += 1
                _never_falls(told, claim.dp_budget.consumed_epsilon, spent, check)
    return count, 1


def _agreed(story: Story, store: BlobStore, check: Check) -> DiffPrivConfig | None:
    try:
        document: Any = read_json(store.get(story.specification, _SPECIFICATION_BYTES_MAX))
        agreed = document["terms"].get(TERM)
        return None if agreed is None else DiffPrivConfig.model_validate(agreed)
    except ValidationError as error:
        check.find(0, "6.1", "privacy terms that can be read", str(error)[:200])
    except (StoreError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Check 9 names a specification that is missing or none.
        pass
    return None


def _claim(told: Told, digest: str, store: BlobStore, check: Check, *, counts: bool) -> object:
    try:
        weights = decode(store.get(digest, DEFAULT_LIMITS.proposal_bytes))
    except (StoreError, WeightsError):
        return _ABSENT
    try:
        return claim_of(weights.metadata)
    except WeightsError as error:
        if counts:
            check.find(told.entry, "P3.5", "a claim of privacy", error)
        return _ABSENT


def _hold(told: Told, claim: object, agreed: DiffPrivConfig, check: Check) -> None:
    assert claim is None or isinstance(claim, TrainingSummary)
    try:
        check_claim(claim, agreed)
    except WeightsError as error:
        expected = f"at most epsilon {agreed.target_epsilon:g}, delta {agreed.target_delta:g}"
        check.find(told.entry, "P3.5", expected, error)


def _never_falls(told: Told, consumed: float, spent: dict[str, float], check: Check) -> None:
    before = spent.get(told.proposer, 0.0)
    if consumed < before:
        expected = f"{told.proposer} to have consumed at least {before:g}"
        check.find(told.entry, "8", expected, consumed)
    spent[told.proposer] = max(consumed, before)
