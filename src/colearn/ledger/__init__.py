"""The ledgers: one behaviour, wherever the calls are ordered (protocol 7.8).

The hosted and the EVM ledger need extras, and are imported from their own modules.
"""

from colearn.ledger.base import Happening, Head, Ledger, Listener
from colearn.ledger.embedded import EmbeddedLedger
from colearn.ledger.log import LogLedger, StoredRow

__all__ = [
    "EmbeddedLedger",
    "Happening",
    "Head",
    "Ledger",
    "Listener",
    "LogLedger",
    "StoredRow",
]
