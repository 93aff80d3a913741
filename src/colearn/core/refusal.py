"""Why the rules refuse a call: a closed list of reasons, the contract's revert texts."""

from __future__ import annotations

from enum import StrEnum

from colearn.errors import ColearnError

__all__ = ["Reason", "RefusedError", "require"]


class Reason(StrEnum):
    """Every reason there is; the contract says the same words."""

    THRESHOLD = "threshold out of range"
    DEADLINE_SHORT = "deadline too short"
    RESERVED = "reserved bits set"
    CREATOR = "only the creator may"
    STARTED = "already started"
    OVER = "experiment is over"
    NOT_INVITED = "not invited"
    MEMBER_ALREADY = "already a member"
    FULL = "no seat is left"
    ORIGIN = "another specification or model"
    TOO_FEW = "fewer than two members"
    ROSTER = "another roster"
    PHASE = "another phase or round"
    LATE = "deadline has passed"
    EARLY = "deadline has not passed"
    PARENT = "parent is not the model"
    NO_MEMBER = "no member"
    NOT_AWAITED = "not awaited"
    TURN = "not your turn"
    NO_CANDIDATE = "no candidate"
    CANDIDATES_EQUAL = "candidates must differ"
    TOO_FEW_INCLUDED = "too few contributions included"
    NOT_CONTRIBUTED = "included without contribution"
    BLIND = "votes are blind"
    OPEN = "votes are open"
    CANDIDATES = "other candidates"
    MASKS = "masks out of range"
    COMMITMENT = "commitment does not match"
    NO_VOTER = "no voter of this round"
    SIGNATURE = "signature does not match"
    NOTHING_NEW = "nothing new"
    NOTHING_MISSED = "nothing missed"
    NOT_RUNNING = "not running"
    LEAVING = "already leaving"
    ONESELF = "no motion about oneself"
    EPOCH = "another roster epoch"
    TARGET = "no such target"
    SUPPORTED = "already supported"
    ONE_MOTION = "one open motion a member"
    TWO_STAY = "two members must stay"
    NOT_OVER = "not over"
    FINAL_MODEL = "not the final model"


class RefusedError(ColearnError):
    """The rules refuse a call, and nothing has changed.

    Attributes:
        reason: Which rule stands against it.
    """

    def __init__(self, reason: Reason) -> None:
        """Refuse for `reason`."""
        super().__init__(f"The rules refuse this call: {reason}.")
        self.reason = reason


def require(holds: bool, reason: Reason) -> None:  # noqa: FBT001
    """Refuse for `reason` unless it holds."""
    if not holds:
        raise RefusedError(reason)
