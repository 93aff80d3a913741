"""What a proposal and a vote reveal: mechanisms, budgets, and a record of every spend."""

from __future__ import annotations

from colearn.privacy.budget import ProposalBudget
from colearn.privacy.fingerprint import fingerprint, split_digest
from colearn.privacy.spends import (
    Partition,
    PrivacyLedger,
    SpendEntry,
    VoteEntry,
    default_directory,
)

__all__ = [
    "Partition",
    "PrivacyLedger",
    "ProposalBudget",
    "SpendEntry",
    "VoteEntry",
    "default_directory",
    "fingerprint",
    "split_digest",
]
