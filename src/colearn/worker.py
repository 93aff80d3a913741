"""The side of a node that trains and judges: it knows the learner, and nothing of the ledger.

A node gives it jobs that name weights by their digests, so that the learner may as well live in
another process, which reads and writes the same blobs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from colearn.asking import (
    NoProposalError,
    ballot_of,
    monitored_by,
    proposal_of,
    said,
    votes_privately,
)
from colearn.core import Ballot
from colearn.errors import StoreError, WeightsError
from colearn.interface import (
    DiffPrivConfig,
    MachineLearningInterface,
    Weights,
    require_within,
)
from colearn.privacy.claim import check_claim, claim_of, metadata_of
from colearn.store import Archive
from colearn.weights import NamedArrays, require_like

__all__ = [
    "Accept",
    "Done",
    "Job",
    "Judge",
    "LocalWorker",
    "Observation",
    "Proposals",
    "Propose",
    "Worker",
]

_REASON_MAX = 1000
"""Characters of an error's text that are kept: a learner raises what it likes."""

_log = logging.getLogger("colearn.worker")
_log.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Observation:
    """What a node saw in a round and the ledger does not tell.

    Attributes:
        round_number: The round.
        member: The learner's name.
        vote_score: Of the proposal, on the learner's vote set; None where there is none.
        test_score: On its test set.
        failure: The kind of error, if the learner failed.
        reason: Why there is no proposal, or why it is no weights of this model.
        monitored: What the learner monitors beside its scores, by name.
    """

    round_number: int
    member: str
    vote_score: float | None = None
    test_score: float | None = None
    failure: str = ""
    reason: str = ""
    monitored: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accept:
    """Take over a model; `round_number` is the round that made it the group's."""

    round_number: int
    model: str


@dataclass(frozen=True, slots=True)
class Propose:
    """Train from a model, and store the proposal."""

    round_number: int
    model: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Judge each candidate against a model."""

    round_number: int
    model: str
    candidates: tuple[str, ...]


Job = Accept | Propose | Judge


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a job.

    Attributes:
        observations: What was seen, in its order.
        proposal: The digest of a proposal that was stored; None where there is none.
        ballots: What each candidate gets.
    """

    observations: tuple[Observation, ...] = ()
    proposal: str | None = None
    ballots: tuple[Ballot, ...] = ()


class Worker(Protocol):
    """Does one job at a time."""

    @property
    def busy(self) -> bool:
        """Whether a job is under way, so that another has to wait."""

    def work(self, job: Job) -> Done | None:
        """Return what became of a job, once it is done; None until then.

        The same job again is not done again: who could not use its result asks once more. A job
        that differs from the one under way begins when that one has ended, whose result is then
        thrown away.

        Raises:
            StoreError: The weights cannot be had; the job can be repeated.
        """

    def wait(self, timeout_s: float) -> bool:
        """Wait until the job under way has ended, and say whether it has."""


class Proposals(Protocol):
    """Remembers the newest own proposal, whatever happens to the worker's process.

    What was trained was paid for: with time, and under privacy with a budget.
    """

    def proposal_of(self, place: tuple[int, str]) -> str | None:
        """Return the digest of the proposal of a round from a model, if it was kept."""

    def keep_proposal(self, place: tuple[int, str], digest: str) -> None:
        """Note a proposal.

        Raises:
            ColearnError: It cannot be noted.
        """


class LocalWorker:
    """Does the jobs itself, at once."""

    busy = False

    def __init__(
        self,
        learner: MachineLearningInterface,
        archive: Archive,
        model: str,
        *,
        grows: bool = False,
        name: str = "learner",
        proposals: Proposals | None = None,
        privacy: DiffPrivConfig | None = None,
    ) -> None:
        """Take a learner to work with.

        Args:
            learner: Holds the model `model`.
            archive: Where weights are.
            model: The digest of what the learner holds: model 0.
            grows: Whether proposals may add to the arrays (P3.5).
            name: For observations and logs.
            proposals: Remembers what was trained over restarts; without one nothing is.
            privacy: What every proposal of the experiment must keep to; None for no such term.
        """
        self._learner = learner
        self._archive = archive
        self._model = model
        self._grows = grows
        self._name = name
        self._proposals = proposals
        self._privacy = privacy
        self._votes_privately = votes_privately(learner)
        self._begun: Job | None = None
        self._seen: list[Observation] = []
        self._trained: NamedArrays | None = None
        self._last: tuple[Job, Done] | None = None

    def work(self, job: Job) -> Done:
        """Do a job; what the learner raises is an outcome (P3.4, P3.7).

        Raises:
            StoreError: The weights cannot be read or stored; nothing is lost by a repetition.
            ColearnError: What was trained cannot be noted; as before.
        """
        if self._last is not None and self._last[0] == job:
            return self._last[1]
        if job != self._begun:
            self._begun, self._seen, self._trained = job, [], None
        done = self._do(job)
        self._last = (job, done)
        return done

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002  (there is never anything to wait for)
        """Say that nothing is under way."""
        return True

    def _do(self, job: Job) -> Done:
        if isinstance(job, Propose):
            proposal = self._kept(job) or self._proposal(job)
            return Done(tuple(self._seen), proposal)
        self._accept(job)
        if isinstance(job, Judge):
            ballots = tuple(self._judged(digest, job) for digest in job.candidates)
            return Done(tuple(self._seen), None, ballots)
        return Done(tuple(self._seen))

    def _accept(self, job: Job) -> None:
        """Let the learner accept the job's model, if it has another one."""
        if job.model == self._model:
            return
        weights = self._archive.get(job.model)
        # A learner that fails at this keeps its turn and its vote, as in the minimal driver (P3.7).
        self._model = job.model
        try:
            self._learner.mli_accept_weights(Weights(weights=weights))
        except (KeyboardInterrupt, SystemExit):
            raise
        # Panics of native extensions derive from BaseException, and must not end the node either.
        except BaseException as error:  # noqa: BLE001
            closed = job.round_number if isinstance(job, Accept) else job.round_number - 1
            self._fail("did not accept", error, closed)

    def _kept(self, job: Propose) -> str | None:
        """Return what was trained for this turn before a restart, if it is still there."""
        if self._proposals is None:
            return None
        digest = self._proposals.proposal_of((job.round_number, job.model))
        if digest is None:
            return None
        try:
            return self._archive.get(digest).digest
        except (StoreError, WeightsError):
            # It was never stored, or a power failure has left half of it.
            return None

    def _proposal(self, job: Propose) -> str | None:
        """Train once for a turn, store the outcome, and return its digest."""
        if self._trained is None:
            self._accept(job)
            self._trained = self._train(job)
        weights = self._trained
        if weights is None:
            return None
        if self._proposals is not None:
            # First: a process that dies when the bytes are stored must find them again.
            self._proposals.keep_proposal((job.round_number, job.model), weights.digest)
        digest = self._archive.put(weights)
        self._trained = None
        if not self._votes_privately:
            # For the record alone; private rows are not asked for that.
            self._judge(weights, job.round_number)
        return digest

    def _train(self, job: Propose) -> NamedArrays | None:
        """Return what the learner proposes, checked as every voter will check it (P3.5)."""
        number, model = job.round_number, self._archive.get(job.model)
        try:
            begin: Callable[[int], None] | None = getattr(self._learner, "begin_round", None)
            if callable(begin):
                begin(number)
            return self._frozen(proposal_of(self._learner), model)
        except (KeyboardInterrupt, SystemExit):
            raise
        except NoProposalError as error:
            self._seen.append(Observation(number, self._name, reason=_told(error)))
        except BaseException as error:  # noqa: BLE001  (as in _accept)
            reason = f"{type(error).__name__}: {_told(error)}"
            self._fail("made no proposal", error, number, reason)
        return None

    def _frozen(self, proposed: Weights, model: NamedArrays) -> NamedArrays:
        arrays = proposed.weights
        if not isinstance(arrays, dict):
            raise NoProposalError(f"Expected a dict of numpy arrays, got {type(arrays).__name__}.")
        try:
            summary = metadata_of(proposed.training_summary)
            weights = self._archive.freeze(arrays, like=model.layout, metadata=summary)
            self._require_sound(weights, model)
        except WeightsError as error:
            raise NoProposalError(said(error)) from error
        if weights.digest == model.digest:
            raise NoProposalError("the proposal is the current model")
        return weights

    def _judged(self, digest: str, job: Judge) -> Ballot:
        """Return the ballot on one candidate; what cannot be had or verified is rejected (P3.4)."""
        try:
            weights = self._archive.get(digest)
            model = self._archive.get(job.model)
            self._require_sound(weights, model)
        except (StoreError, WeightsError) as error:
            self._seen.append(Observation(job.round_number, self._name, reason=_told(error)))
            return Ballot.REJECT
        return self._judge(weights, job.round_number)

    def _require_sound(self, weights: NamedArrays, model: NamedArrays) -> None:
        """Refuse weights of another form than the model's, or over their budget (P3.5)."""
        require_like(weights.layout, model.layout, grows=self._grows)
        claim = claim_of(weights.metadata)
        if self._privacy is not None:
            check_claim(claim, self._privacy)
        elif claim is not None and claim.dp_budget is not None:
            # A member may promise more than was agreed, and is then held to it.
            require_within(claim.dp_budget)

    def _judge(self, weights: NamedArrays, round_number: int) -> Ballot:
        """Let the learner judge; an error costs its own vote alone (P3.7)."""
        try:
            entry = self._learner.mli_test_weights(Weights(weights=weights))
            ballot = ballot_of(entry, scored=not self._votes_privately)
            monitored = monitored_by(self._learner)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (as in _accept)
            self._fail("did not vote", error, round_number)
            return Ballot.SILENT
        if ballot is None:
            self._seen.append(Observation(round_number, self._name))
            return Ballot.SILENT
        scores = (entry.vote_score, entry.test_score)
        self._seen.append(Observation(round_number, self._name, *scores, monitored=monitored))
        return ballot

    def _fail(self, what: str, error: BaseException, round_number: int, reason: str = "") -> None:
        kind = type(error).__name__
        _log.warning("%s %s: %s: %s", self._name, what, kind, _told(error))
        self._seen.append(Observation(round_number, self._name, failure=kind, reason=reason))


def _told(error: BaseException) -> str:
    return said(error)[:_REASON_MAX]
