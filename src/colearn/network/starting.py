"""When the creator opens round 1, and what a member says of an experiment as a whole (7.3, 7.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colearn.core import Experiment, MotionKind, Phase, calls
from colearn.core.experiment import NOBODY
from colearn.crypto import checksum_address
from colearn.errors import ConfigError, LedgerConflictError
from colearn.identity import Key
from colearn.ledger import Ledger

__all__ = ["StartWhen", "all_joined", "at_once", "finish", "members_joined", "start", "state_of"]

_TRIES = 8
"""How often a call is signed when another process with the same key was faster."""

StartWhen = Callable[[Experiment], bool]
"""Says of an experiment in its setup whether to start it now."""


def all_joined(experiment: Experiment) -> bool:
    """Start once everybody who is invited has joined."""
    return not experiment.roster.invited and at_once(experiment)


def at_once(experiment: Experiment) -> bool:
    """Start with those that have joined: two at least."""
    return len(experiment.roster.addresses) > 1


def members_joined(count: int) -> StartWhen:
    """Return what starts once `count` members have joined.

    Raises:
        ConfigError: It is below 2.
    """
    if count < 2:
        raise ConfigError(f"An experiment needs at least 2 members, got {count}.")
    return lambda experiment: len(experiment.roster.addresses) >= count


def start(ledger: Ledger, key: Key, number: int) -> None:
    """Open round 1 with the roster as it was read (7.3).

    Raises:
        LedgerError: The ledger refuses, or cannot be reached.
    """
    ledger.submit(key, calls.Start(number, ledger.experiment(number).roster.digest))


def finish(ledger: Ledger, key: Key, number: int) -> bool:
    """Open or back the motion that ends the experiment after the open round (7.7).

    Returns:
        Whether the motion has passed by that.

    Raises:
        ConfigError: This key is no member of a running experiment.
        LedgerError: The ledger refuses, or cannot be reached.
    """
    for left in reversed(range(_TRIES)):
        try:
            return _finish(ledger, key, number)
        except LedgerConflictError:
            # The member's own node runs, and writes with the same key at the same time.
            if not left:
                raise
            ledger.sync()
    raise AssertionError("unreachable")


def _finish(ledger: Ledger, key: Key, number: int) -> bool:
    experiment = ledger.experiment(number)
    roster = experiment.roster
    seat = roster.seat(key.address)
    if experiment.phase in (Phase.SETUP, Phase.OVER):
        was = "has not started" if experiment.phase is Phase.SETUP else "is over"
        raise ConfigError(f"Experiment {number} {was}.")
    if seat is None:
        raise ConfigError(
            f"{checksum_address(key.address)} is no member of experiment {number}.",
            hint="A member that joined after the start is one from the next round on.",
        )
    kind = int(MotionKind.FINISH)
    supporters = roster.motions.get((kind, NOBODY), 0)
    if not experiment.finish and not supporters >> seat & 1:
        ledger.submit(key, calls.Motion(number, roster.epoch, kind, NOBODY))
    return ledger.experiment(number).finish


def state_of(ledger: Ledger, number: int, address: str) -> dict[str, Any]:
    """Return how an experiment stands, for programs and people."""
    experiment = ledger.experiment(number)
    roster, current = experiment.roster, experiment.round
    voting = current.phase in (Phase.CONTRIBUTE, Phase.PROPOSE, Phase.VOTE, Phase.REVEAL)
    return {
        "experiment": number,
        "phase": current.phase.name.lower(),
        "round": current.number,
        "counted": experiment.counted,
        "proposer": checksum_address(roster.addresses[experiment.front]) if voting else None,
        "deadline": current.deadline if voting else None,
        "members": roster.size if voting else len(roster.addresses),
        "invited": len(roster.invited),
        "seat": roster.seat_of.get(address),
        "member": roster.seat(address) is not None,
        "finishing": experiment.finish,
        "model": experiment.model,
        "head": str(ledger.head),
        "certified": ledger.certified(number),
        "now": ledger.now(),
    }
