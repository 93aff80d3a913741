"""What a learner is told about privacy, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from colearn.errors import ConfigError
from colearn.interface import DiffPrivConfig, VotePrivacyConfig

__all__ = ["Privacy"]


@dataclass(frozen=True, slots=True)
class Privacy:
    """What of a learner is private, and where its spends are noted.

    Attributes:
        proposals: How proposals are trained; None trains them without privacy.
        votes: How votes are drawn; None votes by the exact scores.
        directory: Where the record of spends lies; None for `default_directory`.
        dataset: The name of the data in it; None for its fingerprint. Learners that use the same
            people's data should give the same name, even if the rows differ.

    Raises:
        ConfigError: A value has another type.
    """

    proposals: DiffPrivConfig | None = None
    votes: VotePrivacyConfig | None = None
    directory: Path | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        kinds = {
            "proposals": DiffPrivConfig,
            "votes": VotePrivacyConfig,
            "directory": Path,
            "dataset": str,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise ConfigError(
                    f"Privacy's {name} must be {kind.__name__} or None, "
                    f"got {type(value).__name__}.",
                    hint=f"For example Privacy({name}={kind.__name__}(...)).",
                )
