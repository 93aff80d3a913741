"""Who a learner is: one secp256k1 key, whose address is its name on every ledger (7.6)."""

from colearn.identity.key import Key
from colearn.identity.keystore import KeyFile, describe, load, save
from colearn.identity.request import (
    Claim,
    Freshness,
    Statement,
    read_head,
    read_request,
    sign_head,
    sign_request,
)

__all__ = [
    "Claim",
    "Freshness",
    "Key",
    "KeyFile",
    "Statement",
    "describe",
    "load",
    "read_head",
    "read_request",
    "save",
    "sign_head",
    "sign_request",
]
