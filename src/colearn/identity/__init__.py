"""Who a learner is: one secp256k1 key, whose address is its name on every ledger (7.6)."""

from colearn.identity.key import Key
from colearn.identity.keystore import KeyFile, describe, load, save

__all__ = ["Key", "KeyFile", "describe", "load", "save"]
