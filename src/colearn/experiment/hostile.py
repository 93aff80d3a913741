"""A learner that lies, to show what the vote does to it (the demo's poison)."""

from __future__ import annotations

from colearn.interface import ColearnModel, MachineLearningInterface, ProposedWeights, Weights

__all__ = ["VoteInverter"]


class VoteInverter(MachineLearningInterface):
    """Votes the opposite of what its inner learner says.

    Given an inner learner trained on wrong labels and without damping, it is the liar of the
    demo: it proposes poison and helps nobody else's proposal.

    Attributes:
        inner: The learner whose proposals it sends and whose votes it inverts.
    """

    def __init__(self, inner: MachineLearningInterface) -> None:
        """Wrap `inner`; name, schema and the like stay its own."""
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def mli_propose_weights(self) -> Weights:
        """Propose what the inner learner proposes."""
        return self.inner.mli_propose_weights()

    def mli_test_weights(self, weights: Weights) -> ProposedWeights:
        """Return the inner learner's scores and the opposite of its vote."""
        entry = self.inner.mli_test_weights(weights)
        return ProposedWeights(
            weights=entry.weights,
            vote_score=entry.vote_score,
            test_score=entry.test_score,
            vote=None if entry.vote is None else not entry.vote,
        )

    def mli_accept_weights(self, weights: Weights) -> None:
        """Accept as the inner learner does."""
        self.inner.mli_accept_weights(weights)

    def mli_get_current_weights(self) -> Weights:
        """Return the inner learner's weights."""
        return self.inner.mli_get_current_weights()

    def mli_get_current_model(self) -> ColearnModel:
        """Return the inner learner's model."""
        return self.inner.mli_get_current_model()
