"""The pure rules of the protocol: values in, values out.

Nothing here reads a clock, a file, a network or a random source, and nothing is imported but the
values of the standard library and the pure functions of `colearn.crypto`, so that any two programs
that see the same calls decide alike.

The modules, lowest first: `phase`, `rules`, `tally`, `schedule`, `tolerance` are values; `calls`,
`events`, `refusal`, `bindings`, `encoding` are what a ledger carries; `experiment` is the state,
`transitions`, `progress`, `acts`, `ballots`, `membership` change it, and `machine` is the one way
in; `chain` and `replay` are the log; `decide` says what is due.
"""

from colearn.core.chain import Entry, Genesis, Row
from colearn.core.decide import Due, Duty, decide
from colearn.core.encoding import decode_call, encode_call
from colearn.core.experiment import Experiment, Roster, Round
from colearn.core.machine import Book
from colearn.core.phase import MemberStatus, MotionKind, Phase
from colearn.core.refusal import Reason, RefusedError
from colearn.core.replay import InvalidRowError, Replica, Step
from colearn.core.rules import FRACTION_PART_MAX, Rules, Threshold, exact_threshold
from colearn.core.schedule import TurnQueue
from colearn.core.tally import Ballot, Outcome, Tally, approvals_needed, counted_members
from colearn.core.tolerance import Tolerance, certifiers, faults, tolerance

__all__ = [
    "FRACTION_PART_MAX",
    "Ballot",
    "Book",
    "Due",
    "Duty",
    "Entry",
    "Experiment",
    "Genesis",
    "InvalidRowError",
    "MemberStatus",
    "MotionKind",
    "Outcome",
    "Phase",
    "Reason",
    "RefusedError",
    "Replica",
    "Roster",
    "Round",
    "Row",
    "Rules",
    "Step",
    "Tally",
    "Threshold",
    "Tolerance",
    "TurnQueue",
    "approvals_needed",
    "certifiers",
    "counted_members",
    "decide",
    "decode_call",
    "encode_call",
    "exact_threshold",
    "faults",
    "tolerance",
]
