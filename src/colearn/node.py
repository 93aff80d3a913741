"""One learner's node: the ledger says what happened, the core what is due, the node does it.

The in-process group, a run of several processes and a network use this same node. It decides
nothing itself and remembers nothing that the ledger and its learner do not know, so that a node
that was killed goes on where the ledger stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from colearn.core import Ballot, Due, Duty, Experiment, MotionKind, Phase, calls, decide
from colearn.core.bindings import ZERO, commitment
from colearn.core.experiment import NOBODY
from colearn.errors import (
    BlobTooLargeError,
    LedgerRejectedError,
    LocalProtocolError,
    StoreError,
)
from colearn.identity import Key
from colearn.ledger import Ledger
from colearn.relay import Relay, signed_ballot
from colearn.weights import DEFAULT_LIMITS
from colearn.worker import Accept, Done, Job, Judge, Observation, Propose, Worker

__all__ = ["FAILED", "Carrier", "Node", "Observation", "Observer", "Origin"]

FAILED = "00" * 31 + "01"
"""The note of a ballot whose voter could not judge: no approval, and nobody waits for it (P3.4)."""

_LAST_ROUND = "the experiment ends with this round"

_BRING_S = 60.0
"""Seconds that fetching the weights of one job may take before the ledger is looked at again."""

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


class Carrier(Protocol):
    """Brings weights to the worker, and its proposals to the others."""

    def bring(self, digest: str, max_bytes: int, *, timeout_s: float) -> None:
        """Have a blob where the worker reads it.

        Raises:
            StoreError: It cannot be had now.
        """

    def share(self, digest: str) -> None:
        """Have a blob of the worker where the others can fetch it.

        Raises:
            StoreError: It cannot be given away now.
        """


class Observer(Protocol):
    """Who is told what a node saw, before the node acts on it."""

    def __call__(self, observation: Observation) -> None:
        """Take one observation."""


class Node:
    """A learner at a ledger.

    Attributes:
        name: The learner's name.
        key: Signs its calls.
        finish: Whether the node stands for ending the experiment after the open round (7.7).
    """

    def __init__(
        self,
        worker: Worker,
        key: Key,
        ledger: Ledger,
        origin: Origin,
        *,
        experiment: int = 1,
        name: str = "learner",
        observer: Observer | None = None,
        relay: Relay | None = None,
        carrier: Carrier | None = None,
        uri: str = "",
    ) -> None:
        """Put a worker at a ledger; nothing is done before `step`.

        Args:
            worker: Trains and judges; it begins with model 0.
            key: Its address is the member.
            ledger: A view; nodes of one process may share it.
            origin: What to join with.
            experiment: Its number on the ledger.
            name: For observations and logs.
            observer: Told what the node sees.
            relay: Brings the node's open ballots; without one it casts them itself.
            carrier: Moves weights between the worker and the others; None where they share a
                store.
            uri: Where others can fetch this node's weights, if it serves them; at most 256 bytes.
        """
        self.name = name
        self.key = key
        self.finish = False
        self._worker = worker
        self._ledger = ledger
        self._origin = origin
        self._number = experiment
        self._observer = observer
        self._relay = relay
        self._carrier = carrier
        self._uri = uri
        self._model = origin.model
        self._told: Job | None = None
        self._hinted = ""
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

    @property
    def due(self) -> Due:
        """What the ledger's state, as far as it was read, asks of this node now."""
        return decide(self._experiment(), self.address, self._ledger.now())

    def step(self) -> bool:
        """Do the one thing that is due, if any, and say whether anything was done.

        While the worker is busy nothing that needs it is done; step again when it has ended.

        Raises:
            ColearnError: The ledger or the store failed; the step can be repeated. What the
                learner raises is an outcome (P3.4), except KeyboardInterrupt and SystemExit.
        """
        if self.due.duty is Duty.ADVANCE:
            # No weights are needed to end a phase, so who cannot have them holds nobody up.
            return self._do(self._advance, Duty.ADVANCE)
        if not self.catch_up():
            # Nobody trains, judges, wakes or confirms with another model than the group's.
            return False
        if self.finish and self._do(self._support_finish, "the motion to finish"):
            return True
        duty = self.due.duty
        act = self._acts.get(duty)
        return act is not None and self._do(act, duty)

    def catch_up(self) -> bool:
        """Let the learner accept the ledger's model, and say whether it has it now.

        It takes the newest model alone, however many rounds it has missed.

        Raises:
            StoreError: The model cannot be fetched.
        """
        experiment = self._experiment()
        model = experiment.model
        if model in (self._model, ZERO):
            return True
        over = experiment.phase is Phase.OVER
        closed = experiment.round.number if over else experiment.round.number - 1
        if self._work(Accept(closed, model)) is None:
            return False
        self._model = model
        return True

    def _do(self, act: Callable[[Experiment], bool], what: str) -> bool:
        before = self._ledger.head
        try:
            return act(self._experiment())
        except LedgerRejectedError as error:
            # Somebody else was faster, or the deadline passed: the ledger is right, look again.
            # A hint is for the user, as that its clock is wrong; it is given once.
            level = logging.INFO if error.hint in ("", self._hinted) else logging.WARNING
            self._hinted = error.hint or self._hinted
            _log.log(level, "%s: %s was refused: %s", self.name, what, error)
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
        if experiment.finish:
            self._observe(Observation(number, self.name, reason=_LAST_ROUND))
            return self._submit(calls.Skip(self._number, number))
        done = self._work(Propose(number, parent))
        if done is None:
            return False
        if done.proposal is None:
            return self._submit(calls.Skip(self._number, number))
        if self._carrier is not None:
            self._carrier.share(done.proposal)
        candidates = (done.proposal,)
        return self._submit(calls.Propose(self._number, number, parent, 0, candidates, self._uri))

    def _vote(self, experiment: Experiment) -> bool:
        """Judge every candidate, and cast one ballot, blind where the rules say so (7.4)."""
        if self._relayed(experiment):
            return False
        current = experiment.round
        done = self._work(Judge(current.number, experiment.model, current.candidates))
        if done is None:
            return False
        ballots = done.ballots
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

    # ------------------------------------------------------------------------ the worker

    def _work(self, job: Job) -> Done | None:
        """Have a job done, and tell once what was seen; None while it is under way."""
        if self._worker.busy and not self._worker.wait(0):
            return None
        self._bring(job)
        done = self._worker.work(job)
        if done is not None and job != self._told:
            for observation in done.observations:
                self._observe(observation)
            # Only now: what could not be written down is told again.
            self._told = job
        return done

    def _bring(self, job: Job) -> None:
        """Have the weights of a job where the worker is."""
        if self._carrier is None:
            return
        self._carrier.bring(job.model, DEFAULT_LIMITS.proposal_bytes, timeout_s=_BRING_S)
        for digest in job.candidates if isinstance(job, Judge) else ():
            self._bring_candidate(digest)

    def _bring_candidate(self, digest: str) -> None:
        """Fetch a candidate; who cannot have it in half of the time rejects it (P3.4)."""
        assert self._carrier is not None
        experiment = self._experiment()
        left = max(experiment.round.deadline - self._ledger.now(), 2)
        try:
            self._carrier.bring(
                digest, DEFAULT_LIMITS.proposal_bytes, timeout_s=min(_BRING_S, left / 2)
            )
        except BlobTooLargeError as error:
            _log.warning("%s: the proposal is refused: %s", self.name, error)
        except StoreError as error:
            if self._has_time(experiment):
                raise
            _log.warning("%s: the proposal cannot be had: %s", self.name, error)

    def _salt(self, experiment: Experiment) -> str:
        """Return 32 bytes that only the key's holder knows, equal again after a restart (7.4)."""
        domain, current = experiment.domain, experiment.round
        place = (domain.chain_id, domain.contract, self._number, current.number, current.key)
        return self.key.derive(f"salt {place}".encode()).hex()

    def _observe(self, observation: Observation) -> None:
        if self._observer is not None:
            self._observer(observation)
