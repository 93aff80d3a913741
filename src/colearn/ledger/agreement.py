"""Where the contract's storage and the pure rules differ in the state of an experiment (7.8).

The contract packs its state into words and leaves behind what no rule will read again; this reads
all that a rule can still read. The layout of the words stands in the contract's source.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from colearn.core.bindings import word
from colearn.core.experiment import Experiment, seats_of
from colearn.core.phase import Phase
from colearn.crypto import keccak256
from colearn.ledger.bytecode import BytecodeReplica

__all__ = ["differences"]

_TURN = {
    "round": (0, 32),
    "counted": (32, 32),
    "deadline": (64, 40),
    "phase": (104, 4),
    "tried": (108, 8),
    "front": (116, 8),
    "candidates": (124, 4),
    "n": (128, 12),
    "cast": (140, 12),
    "abstained": (152, 12),
    "approvals": (164, 12),
    "numerator": (176, 16),
    "denominator": (192, 16),
    "empty": (208, 12),
    "streak": (220, 16),
    "blind": (236, 1),
    "late": (237, 1),
    "changed": (238, 1),
    "finish": (239, 1),
    "council": (240, 1),
    "early": (241, 1),
    "spare flags": (242, 2),
    "asleep": (244, 12),
}
"""Lowest bit and width of each field of the turn word."""

_ADDRESS_BITS = 2**160 - 1
_STREAK_MAX = 2**16 - 1
_PASSED = 2**256 - 1
_VOTING = (Phase.VOTE, Phase.REVEAL)
_STILL = (Phase.SETUP, Phase.OVER)

_Compared = Iterator[tuple[str, object, object]]
"""Name, what the contract has, what the rules have."""


def differences(replica: BytecodeReplica, experiment: Experiment) -> tuple[str, ...]:
    """Return a sentence for each field in which the two differ; none where they agree.

    Args:
        replica: The contract, after the same calls.
        experiment: What the pure rules have made of them.
    """
    compared = (_turn, _desk, _masks, _seats, _people, _motions, _ballots)
    return tuple(
        f"{name}: the contract has {found}, the rules have {expected}"
        for compare in compared
        for name, found, expected in compare(replica, experiment)
        if found != expected
    )


def _field(value: int, low: int, width: int) -> int:
    return value >> low & ((1 << width) - 1)


def _digest(value: int) -> str:
    return word(value).hex()


def _turn(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    packed = replica.read("turn", experiment.number)
    found = {name: _field(packed, *place) for name, place in _TURN.items()}
    current, roster, rules = experiment.round, experiment.roster, experiment.rules
    expected = {
        "round": current.number,
        "counted": experiment.counted,
        "deadline": current.deadline,
        "phase": current.phase,
        "n": roster.size,
        "empty": experiment.empty,
        "streak": min(experiment.streak, _STREAK_MAX),
        "blind": experiment.blind,
        "late": roster.missed_once != 0,
        "changed": roster.changed,
        "finish": experiment.finish,
        "council": experiment.council,
        "early": rules.early_close,
        "spare flags": 0,
        "asleep": roster.missed_twice.bit_count(),
    }
    if current.phase not in _STILL:
        expected |= {"front": experiment.front, "tried": current.tried}
    if current.phase in _VOTING:
        expected |= {
            "candidates": len(current.candidates),
            "cast": current.cast,
            "abstained": current.abstainers.bit_count(),
        }
    for name, value in expected.items():
        yield name, found[name], value
    denominator = found["denominator"]
    threshold = Fraction(found["numerator"], denominator) if denominator else None
    yield "threshold", threshold, rules.threshold


def _desk(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    number, roster = experiment.number, experiment.roster
    packed = replica.read("desk", number)
    yield "creator", _field(packed, 0, 160), int(experiment.creator, 16)
    yield "seats given", _field(packed, 160, 16), len(roster.addresses)
    yield "seats opened", _field(packed, 176, 16), roster.opened
    yield "epoch", packed >> 192, roster.epoch
    yield "origin", _digest(replica.read("origin", number)), experiment.origin
    yield "model", _digest(replica.read("model", number)), experiment.model
    if experiment.phase is Phase.SETUP:
        yield "roster", _digest(replica.read("key", number)), roster.digest


def _masks(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    number, roster, current = experiment.number, experiment.roster, experiment.round
    members, todo = replica.read("members", number), replica.read("todo", number)
    yield "members", members, roster.members
    yield "leaving", replica.read("leaving", number), roster.leaving
    yield "missed once", replica.read("missed1", number), roster.missed_once
    yield "missed twice", replica.read("missed2", number), roster.missed_twice
    if current.phase is not Phase.PROPOSE:
        yield "todo", todo, current.todo
    if current.phase in (Phase.CONTRIBUTE, Phase.PROPOSE) and experiment.council:
        contributed = sum(1 << seat for seat in current.contributions)
        yield "contributions", members & ~todo, contributed


def _seats(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    roster = experiment.roster
    ring = [replica.read("ring", experiment.number, seat) for seat in range(len(roster.addresses))]
    for seat, address in enumerate(roster.addresses):
        yield f"address of seat {seat}", ring[seat] & _ADDRESS_BITS, int(address, 16)
    if experiment.phase in _STILL:
        return
    order, seat = [], experiment.front
    for _ in ring:
        if roster.members >> seat & 1:
            order.append(seat)
        seat = ring[seat] >> 160
        if seat == experiment.front:
            break
    yield "turns", tuple(order), roster.queue.order
    yield "seat behind the last turn", seat, experiment.front


def _people(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    roster = experiment.roster
    for address in sorted({*roster.seat_of, *roster.invited, *roster.opener}):
        packed = replica.read("people", experiment.number, address)
        yield f"seat of {address}", _field(packed, 0, 16) - 1, roster.seat_of.get(address, -1)
        yield f"right of {address}", _field(packed, 16, 8), roster.invited.get(address, 0)
        found = (_field(packed, 24, 32), packed >> 56)
        expected = (0, 0)
        if address in roster.opener:
            epoch, kind, target = roster.opener[address]
            expected = (epoch + 1, _motion_key(epoch, kind, target))
        yield f"motion of {address}", found, expected


def _motion_key(epoch: int, kind: int, target: str) -> int:
    covered = word(epoch) + word(kind) + word(int(target, 16))
    return int.from_bytes(keccak256(covered)[:20], "big")


def _motions(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    for (kind, target), supporters in experiment.roster.motions.items():
        key = _motion_key(experiment.roster.epoch, kind, target)
        found = replica.read("motions", experiment.number, key)
        expected = supporters if supporters >= 0 else _PASSED
        yield f"supporters of motion {kind} about {target}", found, expected


def _ballots(replica: BytecodeReplica, experiment: Experiment) -> _Compared:
    current, number = experiment.round, experiment.number
    if current.phase not in _VOTING:
        return
    yield "key", _digest(replica.read("key", number)), current.key
    for index, candidate in enumerate(current.candidates):
        found = replica.read("candidates", number, offset=index)
        yield f"candidate {index}", _digest(found), candidate
    if len(current.candidates) == 1:
        found = _field(replica.read("turn", number), *_TURN["approvals"])
        yield "approvals", (found,), current.approvals
    elif current.cast:
        lanes = replica.read("tallies", number)
        counts = tuple(_field(lanes, 16 * index, 16) for index in range(len(current.candidates)))
        yield "approvals", counts, current.approvals
        yield "spare lanes", lanes >> 16 * len(current.candidates), 0
    if experiment.blind and current.abstainers:
        yield "abstainers", replica.read("abstainers", number), current.abstainers
    for seat in seats_of(sum(1 << seat for seat in current.commitments)):
        address = experiment.roster.addresses[seat]
        found = replica.read("commitments", number, address)
        yield f"commitment of {address}", _digest(found), current.commitments[seat]
