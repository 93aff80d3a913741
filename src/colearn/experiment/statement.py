"""What an experiment's privacy protects, from whom, and what it does not: in words."""

from __future__ import annotations

from colearn.experiment.config import ExperimentConfig
from colearn.experiment.plan import proposal_privacy_of
from colearn.interface import PrivacyUnit

__all__ = ["NONE", "NOT_PRIVATE", "private_statement_of", "statement_of"]

NONE = "none: weights, votes and scores are published as they are"

NOT_PRIVATE = "NOT PRIVATE: the noise repeats with the seed (noise = simulation)."


def statement_of(config: ExperimentConfig) -> list[str]:
    """Return the privacy statement of an experiment, one sentence or two a line."""
    asked = config.privacy
    if not asked.asked:
        return [NONE]
    lines = [NOT_PRIVATE] if asked.simulated else []
    proposals, votes = proposal_privacy_of(config), asked.votes
    if proposals is None:
        lines.append("Proposals are NOT private: weights may reveal rows they were trained on.")
    else:
        lines.append(
            f"Proposals: at most ({proposals.target_epsilon:g}, {proposals.target_delta:g})-"
            f"differential privacy for {_unit(proposals.unit)} in all of a member's training, "
            f"planned for {proposals.planned_proposals} proposals."
        )
    if votes is None:
        lines.append("Votes are NOT private: crafted proposals can ask for single rows.")
    else:
        agreed = votes.config(config.rounds)
        delta = "min(1e-6, 1 / 10 m)" if agreed.delta is None else f"{agreed.delta:g}"
        lines.append(
            f"Votes: at most ({agreed.epsilon:g}, {delta})-differential privacy for "
            f"{_unit(agreed.unit)} in all of a member's votes, planned for {agreed.planned_votes}; "
            "no score is published" + _tests(agreed.test_scores, agreed.test_epsilon) + "."
        )
    if asked.moments is not None and config.preprocess.use == "shared":
        moments = asked.moments
        lines.append(
            f"Shared moments: ({moments.epsilon:g}, {moments.delta:g}), which adds to both."
        )
    lines.append(
        "Two data sets are neighbours when one has one unit more. It holds against all who read "
        "the ledger and the model, if a member's own machine is honest; nobody proves a claim of "
        "another member."
    )
    return lines


def private_statement_of(config: ExperimentConfig) -> list[str]:
    """Return the same for an experiment that asks for privacy, and nothing for any other."""
    return statement_of(config) if config.privacy.asked else []


def _unit(unit: PrivacyUnit) -> str:
    if unit.kind == "example":
        return "one row"
    return f"one user of at most {unit.max_records_per_user} rows"


def _tests(test_scores: str, epsilon: float) -> str:
    return f", test scores with noise (epsilon {epsilon:g})" if test_scores == "noised" else ""
