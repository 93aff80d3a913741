"""Every exception and warning Colearn raises.

The tree; a name in brackets is a builtin the class also derives from::

    ColearnError                  what happened, expected, got; .hint says what to do
    ├── ConfigError [ValueError]  the user's rules, experiment file or arguments
    ├── MissingExtraError         a package of an optional extra is not installed
    ├── WeightsError              names, shapes, dtypes, not finite, codec, trees, too large
    ├── LearnerError              an adapter or a user's learner failed; .learner names it
    ├── PrivacyError              a mechanism could not keep its promise, so nothing was released
    │   ├── BudgetExceededError   the budget does not allow it; .spent .asked .limit
    │   ├── SpendsCorruptError    the record of earlier spends is damaged
    │   └── SpendsUnavailableError  a spend cannot be written down durably
    ├── SignatureError            bytes that are no signature of anybody
    ├── ProtocolError             a rule of the protocol was broken
    │   ├── LocalProtocolError    by this program: a bug, or a call out of turn
    │   └── RemoteProtocolError   by somebody else's message
    ├── LedgerError               the ledger did not do what it was asked
    │   ├── LedgerConflictError   somebody else's entry came first; read on and try again
    │   ├── LedgerUnavailableError  it cannot be reached, or does not answer in time
    │   ├── LedgerRejectedError   the rules refuse the call; .reason says why
    │   └── LedgerTamperedError   its rows are not what was signed; .entry .rule
    └── StoreError                a store of blobs failed, or was asked for nonsense
        ├── BlobNotFoundError     it has no blob of this digest
        ├── DigestMismatchError   it gave other bytes than those of the digest
        ├── BlobTooLargeError     the blob is larger than the caller allows
        ├── PeerUnreachableError  nobody who may have it can be reached, or answers as agreed
        └── PeerTimeoutError      it did not come in time, or came too slowly

    ColearnWarning [UserWarning]  something works, but not as well as the user is likely to think

"Rejected" and "no proposal" are outcomes of a round, never errors.
"""

from __future__ import annotations

__all__ = [
    "BlobNotFoundError",
    "BlobTooLargeError",
    "BudgetExceededError",
    "ColearnError",
    "ColearnWarning",
    "ConfigError",
    "DigestMismatchError",
    "LearnerError",
    "LedgerConflictError",
    "LedgerError",
    "LedgerRejectedError",
    "LedgerTamperedError",
    "LedgerUnavailableError",
    "LocalProtocolError",
    "MissingExtraError",
    "PeerTimeoutError",
    "PeerUnreachableError",
    "PrivacyError",
    "ProtocolError",
    "RemoteProtocolError",
    "SignatureError",
    "SpendsCorruptError",
    "SpendsUnavailableError",
    "StoreError",
    "WeightsError",
]


class ColearnError(Exception):
    """The root of the tree.

    Attributes:
        hint: What to do about it, in one sentence; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Build the error from what happened (`message`) and what to do about it (`hint`)."""
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} {self.hint}" if self.hint else message


class ConfigError(ColearnError, ValueError):
    """The user's rules, experiment file or arguments are wrong; the text names the key."""


class MissingExtraError(ColearnError):
    """A package that comes with an optional extra is not installed.

    Attributes:
        extra: The extra's name, as in ``pip install "colearn[extra]"``.
    """

    def __init__(self, package: str, *, extra: str) -> None:
        """Say that `package` is missing and which `extra` installs it."""
        super().__init__(
            f"The package {package!r} is needed for this and is not installed.",
            hint=f'Run: pip install "colearn[{extra}]"',
        )
        self.extra = extra


class WeightsError(ColearnError):
    """Weights that are no good: names, shapes, dtypes, values, codec, tree structure or size."""


class LearnerError(ColearnError):
    """A learner failed while it trained, evaluated or accepted; the cause is chained.

    Attributes:
        learner: The learner's name.
    """

    def __init__(self, message: str, *, learner: str, hint: str = "") -> None:
        """Say what failed in the learner called `learner`."""
        super().__init__(f"Learner {learner!r}: {message}", hint=hint)
        self.learner = learner


class PrivacyError(ColearnError):
    """A private mechanism could not keep what it promises, and has released nothing."""


class BudgetExceededError(PrivacyError):
    """A privacy budget does not allow what was asked; nothing was spent and no data touched.

    Attributes:
        spent: Epsilon consumed so far.
        asked: Epsilon that would be consumed afterwards.
        limit: The largest epsilon allowed.
    """

    def __init__(
        self, message: str, *, spent: float, asked: float, limit: float, hint: str = ""
    ) -> None:
        """Say what was asked of which budget."""
        super().__init__(message, hint=hint)
        self.spent = spent
        self.asked = asked
        self.limit = limit


class SpendsCorruptError(PrivacyError):
    """The record of what was spent before is damaged: nobody knows what is left.

    It is never reset: a budget that forgets is none.
    """


class SpendsUnavailableError(PrivacyError):
    """A spend cannot be written down durably, so nothing was spent."""


class SignatureError(ColearnError):
    """Bytes that are no signature of anybody, or a digest that cannot be signed (7.6)."""


class ProtocolError(ColearnError):
    """A rule of the protocol was broken."""


class LocalProtocolError(ProtocolError):
    """This program broke the protocol: a bug, or a call out of turn."""


class RemoteProtocolError(ProtocolError):
    """A message from somebody else broke the protocol.

    Attributes:
        peer: Who sent it.
        round_number: The round it belongs to, counted from 1 (P3.6); None outside a round.
        rule: The number of the broken rule, such as ``"P3.5"``.
    """

    def __init__(
        self, message: str, *, peer: str, rule: str, round_number: int | None = None, hint: str = ""
    ) -> None:
        """Say which `rule` the `peer` broke, and in which round."""
        super().__init__(message, hint=hint)
        self.peer = peer
        self.rule = rule
        self.round_number = round_number


class LedgerError(ColearnError):
    """The ledger did not do what it was asked."""


class LedgerConflictError(LedgerError):
    """Somebody else's entry came first; read on and try again."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be reached, or does not answer in time."""


class LedgerRejectedError(LedgerError):
    """The rules refuse the call, so it is no row of the ledger (7.9).

    Attributes:
        reason: Why, in the words of the rules.
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        """Say which call was refused, and the `reason` the rules gave."""
        super().__init__(message, hint=hint)
        self.reason = reason


class LedgerTamperedError(LedgerError):
    """The ledger's rows are not what their signers signed, or not what was read before.

    Attributes:
        entry: The place of the first wrong row, counted as the ledger counts; None when it is
            no single row, as with a log that became shorter.
        rule: The number of the broken rule, such as ``"7.9"``.
    """

    def __init__(self, message: str, *, entry: int | None, rule: str, hint: str = "") -> None:
        """Say which `rule` the row at place `entry` breaks."""
        super().__init__(message, hint=hint)
        self.entry = entry
        self.rule = rule


class StoreError(ColearnError):
    """A store of blobs failed, or was asked for something that is no digest."""


class BlobNotFoundError(StoreError):
    """The store has no blob of this digest."""


class DigestMismatchError(StoreError):
    """The store gave other bytes than those of the digest; they were thrown away."""


class BlobTooLargeError(StoreError):
    """The blob is larger than the caller allows; it was not read."""


class PeerUnreachableError(StoreError):
    """Nobody who may have the blob can be reached, or answers as the protocol says."""


class PeerTimeoutError(StoreError):
    """The blob did not come in the time that it had, or came too slowly to go on."""


class ColearnWarning(UserWarning):
    """Something works, but not as well as the user is likely to think."""
