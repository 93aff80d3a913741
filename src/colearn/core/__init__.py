"""The pure rules of the protocol: values in, values out.

Nothing here reads a clock, a file, a network or a random source, and nothing is imported but the
values of the standard library, so that any two programs that see the same ballots decide alike.
"""

from colearn.core.rules import FRACTION_PART_MAX, Rules, Threshold, exact_threshold
from colearn.core.schedule import TurnQueue
from colearn.core.tally import Ballot, Outcome, Tally, approvals_needed, counted_members
from colearn.core.tolerance import Tolerance, tolerance

__all__ = [
    "FRACTION_PART_MAX",
    "Ballot",
    "Outcome",
    "Rules",
    "Tally",
    "Threshold",
    "Tolerance",
    "TurnQueue",
    "approvals_needed",
    "counted_members",
    "exact_threshold",
    "tolerance",
]
