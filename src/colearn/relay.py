"""A relay brings the signed ballots of others in one call (7.3): on a chain that saves gas.

It is trusted for nothing. It cannot change a ballot, which its voter has signed, nor invent one;
whether it delivers is seen on the ledger, and a node whose ballot does not arrive in time votes
itself.
"""

from __future__ import annotations

from colearn.core import Experiment, Phase, calls
from colearn.core.bindings import ZERO, ballot_digest
from colearn.core.calls import SignedBallot
from colearn.core.encoding import BALLOTS_MAX
from colearn.core.phase import SEATS_MAX
from colearn.crypto import recover
from colearn.errors import LedgerRejectedError, RemoteProtocolError, SignatureError
from colearn.identity import Key
from colearn.ledger import Ledger

__all__ = ["Relay", "signed_ballot"]


def signed_ballot(
    key: Key, experiment: Experiment, not_worse: int, *, abstain: bool = False, note: str = ZERO
) -> SignedBallot:
    """Return a ballot on the open round that a relay can bring (EIP-712, 7.3).

    Args:
        key: The voter's.
        experiment: Its state; the ballot is valid for the round and the candidates it shows.
        not_worse: Bit i approves candidate i (5.3).
        abstain: Whether it is an abstention.
        note: The opaque word, 64 hex digits.

    Raises:
        KeyError: The key's address has no seat.
    """
    seat = experiment.roster.seat_of[key.address]
    unsigned = SignedBallot(seat, not_worse, 0, note, abstain, None)
    current = experiment.round
    digest = ballot_digest(
        experiment.domain, experiment.number, current.number, current.key, unsigned
    )
    return SignedBallot(seat, not_worse, 0, note, abstain, key.sign(digest).hex())


class Relay:
    """Collects ballots of the open round, and brings them together.

    Attributes:
        key: Signs its calls; it need not be a member's.
    """

    def __init__(self, ledger: Ledger, key: Key, experiment: int = 1) -> None:
        """Relay for an experiment of a ledger, in calls of `key`."""
        self.key = key
        self._ledger = ledger
        self._number = experiment
        self._round = (0, ZERO)
        self._ballots: dict[int, SignedBallot] = {}

    def offer(self, ballot: SignedBallot) -> None:
        """Take a ballot; the first of a voter stays.

        Raises:
            RemoteProtocolError: Its seat is not awaited in this vote, or its signature is not the
                seat's for this round and these candidates.
        """
        experiment = self._current()
        if not 0 <= ballot.seat < SEATS_MAX or not experiment.round.todo >> ballot.seat & 1:
            raise _refused("its seat is not awaited in this vote")
        if experiment.phase is not Phase.VOTE or experiment.blind:
            raise _refused("no open vote is going on")
        voter = experiment.roster.addresses[ballot.seat]
        if _signer(experiment, ballot) != voter:
            raise _refused(f"it is not signed by {voter} for this round and these candidates")
        self._ballots.setdefault(ballot.seat, ballot)

    def holds(self, address: str) -> bool:
        """Say whether a ballot of this member waits here for its call."""
        experiment = self._current()
        return experiment.roster.seat_of.get(address) in self._ballots

    def step(self, *, now: bool = False) -> bool:
        """Bring the ballots once nobody awake is missing, and say whether that was done.

        Args:
            now: Do not wait for who is missing.

        Raises:
            LedgerError: The ledger failed; the ballots are kept, and the step can be repeated.
        """
        experiment = self._current()
        current = experiment.round
        held = sum(1 << seat for seat in self._ballots)
        missing = current.todo & ~experiment.roster.dormant & ~held
        if not current.todo & held or (missing and not now):
            return False
        ballots = tuple(self._ballots[seat] for seat in sorted(self._ballots))[:BALLOTS_MAX]
        try:
            self._ledger.submit(self.key, calls.VoteMany(self._number, current.number, ballots))
        except LedgerRejectedError:
            # The round went on without them: what was held is worth nothing any more.
            self._ballots.clear()
            return self._ledger.sync() > 0
        return True

    def _current(self) -> Experiment:
        """Return the experiment, and forget the ballots of another round or proposal."""
        experiment = self._ledger.experiment(self._number)
        place = (experiment.round.number, experiment.round.key)
        if place != self._round:
            self._round = place
            self._ballots.clear()
        return experiment


def _signer(experiment: Experiment, ballot: SignedBallot) -> str | None:
    current = experiment.round
    digest = ballot_digest(
        experiment.domain, experiment.number, current.number, current.key, ballot
    )
    try:
        return recover(digest, bytes.fromhex(ballot.signature or ""))
    except (SignatureError, ValueError):
        return None


def _refused(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"A ballot is refused: {why}.", peer="unknown", rule="7.3")
