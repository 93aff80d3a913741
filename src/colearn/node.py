"""One learner's node: the ledger says what happened, the core what is due, the node does it.

The in-process group, a run of several processes and a network use this same node. It decides
nothing itself and remembers nothing that the ledger and its learner do not know, so that a node
that was killed goes on where the ledger stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from colearn.asking import NoProposalError, ballot_of, monitored_by, proposal_of, said
from colearn.core import Ballot, Due, Duty, Experiment, MotionKind, Phase, calls, decide
from colearn.core.bindings import ZERO, commitment
from colearn.core.experiment import NOBODY
from colearn.errors import (
    LedgerRejectedError,
    LocalProtocolError,
    StoreError,
    WeightsError,
)
from colearn.identity import Key
from colearn.interface import MachineLearningInterface, ProposedWeights, Weights
from colearn.ledger import Ledger
from colearn.relay import Relay, signed_ballot
from colearn.store import Archive
from colearn.weights import NamedArrays, freeze, require_like

__all__ = ["FAILED", "Node", "Observation", "Origin"]

FAILED = "00" * 31 + "01"
"""The note of a ballot whose voter could not judge: no approval, and nobody waits for it (P3.4)."""

_LAST_ROUND = "the experiment ends with this round"

_log = logging.getLogger("colearn.node")
_log.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Origin:
    """What members agree on when they join (6.1).

    Attributes:
        specification: Digest of the specification.
        model: Digest of model 0.
        grows: Whether proposals may add to the arrays (P3.5).
    """

    specification: str
    model: str
    grows: bool = False


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


class Observer(Protocol):
    """Who is told what a node saw, before the node acts on it."""

    def __call__(self, observation: Observation) -> None:
        """Take one observation."""


class Node:
    """A learner at a ledger.

    Attributes:
        name: The learner's name.
        key: Signs its calls.
        learner: What trains and judges.
        finish: Whether the node stands for ending the experiment after the open round (7.7).
    """

    def __init__(
        self,
        learner: MachineLearningInterface,
        key: Key,
        ledger: Ledger,
        archive: Archive,
        origin: Origin,
        *,
        experiment: int = 1,
        name: str = "learner",
        observer: Observer | None = None,
        relay: Relay | None = None,
    ) -> None:
        """Put a learner at a ledger; nothing is done before `step`.

        Args:
            learner: Holds model 0.
            key: Its address is the member.
            ledger: A view; nodes of one process may share it.
            archive: Where weights are; they may share that as well.
            origin: What to join with.
            experiment: Its number on the ledger.
            name: For observations and logs.
            observer: Told what the node sees.
            relay: Brings the node's open ballots; without one it casts them itself.
        """
        self.name = name
        self.key = key
        self.learner = learner
        self.finish = False
        self._ledger = ledger
        self._archive = archive
        self._origin = origin
        self._number = experiment
        self._observer = observer
        self._relay = relay
        self._model = origin.model
        self._acts: dict[Duty, Callable[[Experiment], bool]] = {
            Duty.JOIN: self._join,
            Duty.WAKE: self._wake,
            Duty.CONTRIBUTE: self._contribute,
            Duty.PROPOSE: self._propose,
            Duty.VOTE: self._vote,
            Duty.REVEAL: self._reveal,
            Duty.ADVANCE: self._advance,
            Duty.CONFIRM: self._confirm,
        }

    @property
    def address(self) -> str:
        """The member's name on the ledger."""
        return self.key.address

    def step(self) -> bool:
        """Do the one thing that is due, if any, and say whether anything was done.

        Raises:
            ColearnError: The ledger or the store failed; the step can be repeated. What the
                learner raises is an outcome (P3.4), except KeyboardInterrupt and SystemExit.
        """
        self.catch_up()
        experiment = self._experiment()
        due = decide(experiment, self.address, self._ledger.now())
        if self.finish and self._support_finish(experiment):
            return True
        return self._do(due, experiment)

    def catch_up(self) -> None:
        """Let the learner accept the ledger's model, if it has another one.

        Raises:
            StoreError: The model cannot be fetched.
        """
        model = self._experiment().model
        if model in (self._model, ZERO):
            return
        weights = self._archive.get(model)
        # A learner that fails at this keeps its turn and its vote, as in the minimal driver (P3.7).
        self._model = model
        try:
            self.learner.mli_accept_weights(Weights(weights=weights))
        except (KeyboardInterrupt, SystemExit):
            raise
        # Panics of native extensions derive from BaseException, and must not end the node either.
        except BaseException as error:  # noqa: BLE001
            experiment = self._experiment()
            over = experiment.phase is Phase.OVER
            closed = experiment.round.number if over else experiment.round.number - 1
            self._fail("did not accept", error, closed)

    def _do(self, due: Due, experiment: Experiment) -> bool:
        act = self._acts.get(due.duty)
        if act is None:
            return False
        before = self._ledger.head
        try:
            return act(experiment)
        except LedgerRejectedError as error:
            # Somebody else was faster, or the deadline passed: the ledger is right, look again.
            _log.info("%s: %s was refused: %s", self.name, due.duty, error.reason)
            self._ledger.sync()
            return self._ledger.head != before

    def _experiment(self) -> Experiment:
        return self._ledger.experiment(self._number)

    def _submit(self, call: calls.Call) -> bool:
        self._ledger.submit(self.key, call)
        return True

    # ----------------------------------------------------------------------------- duties

    def _join(self, _experiment: Experiment) -> bool:
        origin = self._origin
        return self._submit(calls.Join(self._number, origin.specification, origin.model, ZERO))

    def _wake(self, _experiment: Experiment) -> bool:
        return self._submit(calls.Wake(self._number))

    def _advance(self, experiment: Experiment) -> bool:
        current = experiment.round
        return self._submit(calls.Advance(self._number, current.number, current.phase))

    def _confirm(self, experiment: Experiment) -> bool:
        return self._submit(calls.Confirm(self._number, experiment.model))

    def _contribute(self, _experiment: Experiment) -> bool:
        raise LocalProtocolError("Council rounds are not built yet, so this experiment cannot run.")

    def _propose(self, experiment: Experiment) -> bool:
        """Train and propose; who fails or has nothing new skips its turn at once (P3.6)."""
        number, parent = experiment.round.number, experiment.model
        weights = self._proposal(experiment)
        if weights is None:
            return self._submit(calls.Skip(self._number, number))
        self._archive.put(weights)
        return self._submit(calls.Propose(self._number, number, parent, 0, (weights.digest,), ""))

    def _vote(self, experiment: Experiment) -> bool:
        """Judge every candidate, and cast one ballot, blind where the rules say so (7.4)."""
        if self._relayed(experiment):
            return False
        ballots = [self._judged(digest, experiment) for digest in experiment.round.candidates]
        masks = sum(1 << index for index, each in enumerate(ballots) if each is Ballot.APPROVE)
        note = FAILED if Ballot.SILENT in ballots else ZERO
        abstain = Ballot.ABSTAIN in ballots
        if self._relay is not None and self._has_time(experiment) and not experiment.blind:
            self._relay.offer(
                signed_ballot(self.key, experiment, masks, abstain=abstain, note=note)
            )
            return True
        return self._cast(experiment, masks, note, abstain=abstain)

    def _cast(self, experiment: Experiment, masks: int, note: str, *, abstain: bool) -> bool:
        number, key = experiment.round.number, experiment.round.key
        if abstain:
            return self._submit(calls.Abstain(self._number, number, key))
        if not experiment.blind:
            return self._submit(calls.Vote(self._number, number, key, masks, 0, note))
        ballot = calls.Reveal(self._number, number, masks, 0, note, self._salt(experiment))
        sealed = commitment(experiment.domain, self.address, key, ballot)
        return self._submit(calls.Commit(self._number, number, sealed))

    def _relayed(self, experiment: Experiment) -> bool:
        """Say whether a relay has the ballot, and still has time to bring it."""
        relay = self._relay
        return relay is not None and relay.holds(self.address) and self._has_time(experiment)

    def _has_time(self, experiment: Experiment) -> bool:
        """Say whether half of the vote is still to come; later on nobody relies on a relay."""
        left = experiment.round.deadline - self._ledger.now()
        return 2 * left > experiment.rules.vote_s

    def _reveal(self, experiment: Experiment) -> bool:
        """Open the own commitment; it is found again by trying, so nothing has to be kept."""
        current, salt = experiment.round, self._salt(experiment)
        sealed = current.commitments[experiment.roster.seat_of[self.address]]
        for note in (ZERO, FAILED):
            for masks in range(1 << len(current.candidates)):
                ballot = calls.Reveal(self._number, current.number, masks, 0, note, salt)
                if commitment(experiment.domain, self.address, current.key, ballot) == sealed:
                    return self._submit(ballot)
        raise LocalProtocolError(f"{self.name} cannot open its commitment: another key made it.")

    def _support_finish(self, experiment: Experiment) -> bool:
        """Open or back the motion that ends the experiment after the open round (7.7)."""
        seat = experiment.roster.seat(self.address)
        if seat is None or experiment.finish or experiment.phase in (Phase.SETUP, Phase.OVER):
            return False
        kind = int(MotionKind.FINISH)
        if experiment.roster.motions.get((kind, NOBODY), 0) >> seat & 1:
            return False
        self._submit(calls.Motion(self._number, experiment.roster.epoch, kind, NOBODY))
        return True

    # ----------------------------------------------------------------------- the learner

    def _proposal(self, experiment: Experiment) -> NamedArrays | None:
        """Return what the learner proposes, checked as every voter will check it (P3.5)."""
        number, model = experiment.round.number, self._archive.get(experiment.model)
        if experiment.finish:
            self._observe(Observation(number, self.name, reason=_LAST_ROUND))
            return None
        try:
            begin: Callable[[int], None] | None = getattr(self.learner, "begin_round", None)
            if callable(begin):
                begin(number)
            weights = self._frozen(proposal_of(self.learner), model)
        except (KeyboardInterrupt, SystemExit):
            raise
        except NoProposalError as error:
            self._observe(Observation(number, self.name, reason=said(error)))
            return None
        except BaseException as error:  # noqa: BLE001  (as in catch_up)
            reason = f"{type(error).__name__}: {said(error)}"
            self._fail("made no proposal", error, number, reason)
            return None
        self._judge(weights)
        return weights

    def _frozen(self, proposed: Weights, model: NamedArrays) -> NamedArrays:
        arrays = proposed.weights
        if not isinstance(arrays, dict):
            raise NoProposalError(f"Expected a dict of numpy arrays, got {type(arrays).__name__}.")
        try:
            weights = freeze(arrays, limits=self._archive.limits, like=model.layout)
            require_like(weights.layout, model.layout, grows=self._origin.grows)
        except WeightsError as error:
            raise NoProposalError(said(error)) from error
        if weights.digest == model.digest:
            raise NoProposalError("the proposal is the current model")
        return weights

    def _judged(self, digest: str, experiment: Experiment) -> Ballot:
        """Return the ballot on one candidate; what cannot be had or verified is rejected (P3.4)."""
        try:
            weights = self._archive.get(digest)
            model = self._archive.get(experiment.model)
            require_like(weights.layout, model.layout, grows=self._origin.grows)
        except (StoreError, WeightsError) as error:
            self._observe(Observation(experiment.round.number, self.name, reason=said(error)))
            return Ballot.REJECT
        return self._judge(weights)

    def _judge(self, weights: NamedArrays) -> Ballot:
        """Let the learner judge; an error costs its own vote alone (P3.7)."""
        try:
            entry = self.learner.mli_test_weights(Weights(weights=weights))
            ballot, monitored = ballot_of(entry), monitored_by(self.learner)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (as in catch_up)
            self._fail("did not vote", error, self._round())
            return Ballot.SILENT
        if ballot is None:
            self._observe(Observation(self._round(), self.name))
            return Ballot.SILENT
        self._observe_scores(entry, monitored)
        return ballot

    def _salt(self, experiment: Experiment) -> str:
        """Return 32 bytes that only the key's holder knows, equal again after a restart (7.4)."""
        domain, current = experiment.domain, experiment.round
        place = (domain.chain_id, domain.contract, self._number, current.number, current.key)
        return self.key.derive(f"salt {place}".encode()).hex()

    def _round(self) -> int:
        return self._experiment().round.number

    def _observe_scores(self, entry: ProposedWeights, monitored: dict[str, float | None]) -> None:
        scores = (entry.vote_score, entry.test_score)
        self._observe(Observation(self._round(), self.name, *scores, monitored=monitored))

    def _fail(self, what: str, error: BaseException, round_number: int, reason: str = "") -> None:
        kind = type(error).__name__
        _log.warning("%s %s: %s: %s", self.name, what, kind, said(error))
        self._observe(Observation(round_number, self.name, failure=kind, reason=reason))

    def _observe(self, observation: Observation) -> None:
        if self._observer is not None:
            self._observer(observation)
