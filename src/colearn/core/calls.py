"""The calls of the ledger (7.3): what a signer may ask for, with the contract's own names.

Digests are 64 lower-case hex digits, addresses "0x" and 40. Whole numbers are below 2**256, as in
the contract; sets of members are masks over seats.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CALLS",
    "Abstain",
    "Advance",
    "Call",
    "Commit",
    "Confirm",
    "Contribute",
    "Create",
    "Invite",
    "Join",
    "Leave",
    "Motion",
    "Propose",
    "Reveal",
    "SignedBallot",
    "Skip",
    "Start",
    "Vote",
    "VoteMany",
    "Wake",
]

Address = str
Digest = str
Number = int
Text = str
Addresses = tuple[str, ...]
Digests = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Open an experiment; `rules` is the packed word of `Rules.to_word`."""

    specification: Digest
    model: Digest
    rules: Number
    uri: Text


@dataclass(frozen=True, slots=True)
class Invite:
    """Let addresses join before the start; the creator's right."""

    experiment: Number
    who: Addresses


@dataclass(frozen=True, slots=True)
class Join:
    """Take a seat; `moments` is the digest of the member's own (6.2), zero when not used."""

    experiment: Number
    specification: Digest
    model: Digest
    moments: Digest


@dataclass(frozen=True, slots=True)
class Start:
    """Open round 1 with the roster whose digest is named (7.3)."""

    experiment: Number
    roster: Digest


@dataclass(frozen=True, slots=True)
class Contribute:
    """Post the digest of a contribution to the council (5.1)."""

    experiment: Number
    round_number: Number
    parent: Digest
    digest: Digest


@dataclass(frozen=True, slots=True)
class Propose:
    """Name 1 to 8 candidates and the seats whose contributions they merge (5.2)."""

    experiment: Number
    round_number: Number
    parent: Digest
    included: Number
    candidates: Digests
    uri: Text


@dataclass(frozen=True, slots=True)
class Skip:
    """End one's own turn at once, without a proposal (P3.6)."""

    experiment: Number
    round_number: Number


@dataclass(frozen=True, slots=True)
class Vote:
    """An open ballot: bit i of `not_worse` approves candidate i (5.3)."""

    experiment: Number
    round_number: Number
    key: Digest
    not_worse: Number
    better: Number
    note: Digest


@dataclass(frozen=True, slots=True)
class Abstain:
    """Leave the count, down to its floor (P3.4)."""

    experiment: Number
    round_number: Number
    key: Digest


@dataclass(frozen=True, slots=True)
class Commit:
    """A blind ballot's commitment (7.4)."""

    experiment: Number
    round_number: Number
    commitment: Digest


@dataclass(frozen=True, slots=True)
class Reveal:
    """Open a commitment; `salt` is the 32 random bytes it covers."""

    experiment: Number
    round_number: Number
    not_worse: Number
    better: Number
    note: Digest
    salt: Digest


@dataclass(frozen=True, slots=True)
class SignedBallot:
    """A ballot that a relay brings (7.3).

    The signature is r, s and v, 65 bytes in hex. None stands for one that a chain has verified
    already; no encoded call has it.
    """

    seat: Number
    not_worse: Number
    better: Number
    note: Digest
    abstain: bool
    signature: str | None


@dataclass(frozen=True, slots=True)
class VoteMany:
    """Bring the signed ballots of others, up to 256 (6.4)."""

    experiment: Number
    round_number: Number
    ballots: tuple[SignedBallot, ...]


@dataclass(frozen=True, slots=True)
class Advance:
    """End a phase whose deadline has passed; anybody may (7.2)."""

    experiment: Number
    round_number: Number
    phase: Number


@dataclass(frozen=True, slots=True)
class Wake:
    """Be waited for again (7.2)."""

    experiment: Number


@dataclass(frozen=True, slots=True)
class Leave:
    """Be no member from the next round on (7.7)."""

    experiment: Number


@dataclass(frozen=True, slots=True)
class Motion:
    """Open or support a motion of this roster epoch (7.7)."""

    experiment: Number
    epoch: Number
    kind: Number
    target: Address


@dataclass(frozen=True, slots=True)
class Confirm:
    """Say which model one holds when the experiment is over (7.7)."""

    experiment: Number
    model: Digest


Call = (
    Create
    | Invite
    | Join
    | Start
    | Contribute
    | Propose
    | Skip
    | Vote
    | Abstain
    | Commit
    | Reveal
    | VoteMany
    | Advance
    | Wake
    | Leave
    | Motion
    | Confirm
)

CALLS: dict[str, type[Call]] = {
    "create": Create,
    "invite": Invite,
    "join": Join,
    "start": Start,
    "contribute": Contribute,
    "propose": Propose,
    "skip": Skip,
    "vote": Vote,
    "abstain": Abstain,
    "commit": Commit,
    "reveal": Reveal,
    "vote_many": VoteMany,
    "advance": Advance,
    "wake": Wake,
    "leave": Leave,
    "motion": Motion,
    "confirm": Confirm,
}
