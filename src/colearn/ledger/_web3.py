"""What is used of web3.py, imported here and nowhere else.

One of the packages behind it raises the interpreter's recursion limit to 100,000 when it is
imported. With that, JSON that is nested deeply enough kills the process instead of raising
RecursionError, wherever in the process it is read; so the limit is put back.
"""

from __future__ import annotations

import sys

from colearn.errors import MissingExtraError

_limit = sys.getrecursionlimit()
try:
    from eth_account import Account
    from web3 import HTTPProvider
    from web3.exceptions import Web3Exception
except ImportError as error:
    raise MissingExtraError("web3", extra="evm") from error
finally:
    sys.setrecursionlimit(_limit)

__all__ = ["Account", "HTTPProvider", "Web3Exception"]
