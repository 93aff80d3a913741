"""What a proposal and a vote reveal: mechanisms, budgets, and a record of every spend."""

from __future__ import annotations

from colearn.privacy.accountant import (
    SampledGaussian,
    Spend,
    ZeroConcentrated,
    epsilon_of,
    noise_multiplier_for,
    rho_for,
)
from colearn.privacy.budget import ProposalBudget
from colearn.privacy.claim import check_claim, claim_of, config_digest, metadata_of
from colearn.privacy.fingerprint import fingerprint, split_digest
from colearn.privacy.moments import private_moments
from colearn.privacy.randomness import RandomSource, SecureSource, SimulationSource, source_of
from colearn.privacy.settings import Privacy
from colearn.privacy.spends import (
    Partition,
    PrivacyLedger,
    SpendEntry,
    VoteEntry,
    default_directory,
)
from colearn.privacy.training import Batch, PrivateTraining
from colearn.privacy.vote import PrivateVoting, VoteTerms, vote_terms

__all__ = [
    "Batch",
    "Partition",
    "Privacy",
    "PrivacyLedger",
    "PrivateTraining",
    "PrivateVoting",
    "ProposalBudget",
    "RandomSource",
    "SampledGaussian",
    "SecureSource",
    "SimulationSource",
    "Spend",
    "SpendEntry",
    "VoteEntry",
    "VoteTerms",
    "ZeroConcentrated",
    "check_claim",
    "claim_of",
    "config_digest",
    "default_directory",
    "epsilon_of",
    "fingerprint",
    "metadata_of",
    "noise_multiplier_for",
    "private_moments",
    "rho_for",
    "source_of",
    "split_digest",
    "vote_terms",
]
