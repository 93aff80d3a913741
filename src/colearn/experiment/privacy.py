"""The privacy that an experiment file asks for: its sections, and what learners make of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from colearn.interface import DiffPrivConfig, PrivacyUnit, VotePrivacyConfig

__all__ = ["MomentsPrivacyConfig", "PrivacyConfig", "ProposalsPrivacyConfig", "VotesPrivacyConfig"]

_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Delta = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=10**9)]
_Bound = Annotated[float, Field(allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Private(_Section):
    unit: Literal["example", "user"] = "example"
    """Whose presence is hidden; "user" takes the task's groups for users."""

    max_records_per_user: _Count = 1
    noise: Literal["secure", "simulation"] = "secure"
    """"simulation" repeats with the seed and is NOT PRIVATE."""

    def privacy_unit(self) -> PrivacyUnit:
        """Return the unit as learners take it."""
        return PrivacyUnit(kind=self.unit, max_records_per_user=self.max_records_per_user)


class ProposalsPrivacyConfig(_Private):
    """Differentially private training; see `colearn.DiffPrivConfig`."""

    target_epsilon: _Above
    target_delta: _Delta = 1e-5
    max_grad_norm: _Above = 1.0
    noise_multiplier: _Above | None = None
    expected_batch_size: _Count | None = None
    steps_per_proposal: _Count | None = None
    planned_proposals: _Count | None = None

    def config(self, rounds: int, learners: int) -> DiffPrivConfig:
        """Return what a learner trains by; unless it is said, it has its turns of all rounds.

        Args:
            rounds: Of the experiment.
            learners: Who take turns.
        """
        own = self.model_dump(exclude={"unit", "max_records_per_user"})
        own["planned_proposals"] = self.planned_proposals or -(-rounds // learners)
        return DiffPrivConfig(unit=self.privacy_unit(), **own)


class VotesPrivacyConfig(_Private):
    """Private votes; see `colearn.VotePrivacyConfig`."""

    epsilon: _Above = 2.0
    delta: _Delta | None = None
    planned_votes: _Count | None = None
    clip: _Above | None = None
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    test_scores: Literal["off", "noised"] = "off"
    test_epsilon: _Above = 1.0

    def config(self, rounds: int) -> VotePrivacyConfig:
        """Return what a learner votes by; unless it is said, it votes in every round."""
        own = self.model_dump(exclude={"unit", "max_records_per_user"})
        own["planned_votes"] = self.planned_votes or rounds
        return VotePrivacyConfig(unit=self.privacy_unit(), **own)


class MomentsPrivacyConfig(_Section):
    """Noised moments for ``preprocess.use = "shared"`` (6.2)."""

    epsilon: _Above = 1.0
    delta: _Delta = 1e-6
    low: _Bound | list[_Bound]
    """A public lower bound of every feature, or one for each; rows are clipped to it."""

    high: _Bound | list[_Bound]


class PrivacyConfig(_Section):
    """What proposals, votes and shared moments may reveal; without a section, no limit."""

    proposals: ProposalsPrivacyConfig | None = None
    votes: VotesPrivacyConfig | None = None
    moments: MomentsPrivacyConfig | None = None

    @property
    def asked(self) -> bool:
        """Whether anything is to be private."""
        return any(each is not None for each in (self.proposals, self.votes, self.moments))

    @property
    def units(self) -> set[str]:
        """The kinds of unit that are hidden."""
        return {each.unit for each in (self.proposals, self.votes) if each is not None}

    @property
    def simulated(self) -> bool:
        """Whether some noise repeats with the seed, so that nothing is private."""
        parts: list[Any] = [self.proposals, self.votes]
        return any(each is not None and each.noise == "simulation" for each in parts)
