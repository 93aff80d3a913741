"""The contract's own bytecode in a private EVM: the second implementation of the rules (7.8).

The rules exist twice, in Python and in the contract, and have to agree after every call: accepted
or refused, for which reason, with which events, in what state. Tests and audits hold the pure rules
against this; `colearn.ledger.agreement` compares the states. Needs the extra `evm`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

from colearn.core.bindings import Domain, word
from colearn.core.calls import Call
from colearn.core.events import Event
from colearn.core.refusal import RefusedError
from colearn.crypto import keccak256
from colearn.errors import LedgerError, MissingExtraError
from colearn.ledger.abi import from_log, refusal, to_calldata
from colearn.ledger.contract import artefact

try:
    import pyrevm
except ImportError as error:
    raise MissingExtraError("pyrevm", extra="evm") from error

__all__ = ["NOW_MAX", "BytecodeReplica", "slot"]

NOW_MAX = 2**40 - 2**32
"""The contract keeps deadlines in 40 bits, and the longest phase has 32: the year 36,676."""

_FORK = "LONDON"
_DEPLOYER = "0x" + "c0" * 20
_WORD_BYTES = 32
_REVERTED = re.compile(r"Revert \{.* output: 0x([0-9a-f]*) \}", re.DOTALL)


class BytecodeReplica:
    """The bytecode that comes with the package, alone on a chain of its own.

    Attributes:
        domain: The chain id and the contract's own address, so that ballots and commitments made
            for a log or for another chain are valid here.
    """

    def __init__(self, domain: Domain, drift_s: int = 0) -> None:
        """Deploy the contract with this drift, in seconds (7.2), and put it where `domain` says.

        Raises:
            LedgerError: The constructor refuses the drift.
        """
        self.domain = domain
        config = pyrevm.CfgEnv(chain_id=domain.chain_id)
        self._evm = pyrevm.EVM(env=pyrevm.Env(cfg=config), spec_id=_FORK)
        compiled = artefact()
        try:
            deployed = self._evm.deploy(_DEPLOYER, compiled.bytecode + word(drift_s))
        except (RuntimeError, OverflowError) as error:
            raise LedgerError(f"The contract takes no drift of {drift_s} s.") from error
        # The constructor leaves one immutable word behind the code; this EVM pads what it returns.
        code = (self._evm.get_code(deployed) or b"")[: len(compiled.runtime) + _WORD_BYTES]
        self._evm.insert_account_info(domain.contract, pyrevm.AccountInfo(nonce=1, code=code))

    def apply(self, call: Call, sender: str, now: int) -> tuple[Event, ...]:
        """Send a call to the contract, and return what it logged.

        Args:
            call: What is asked.
            sender: Who asks, a lower-case address.
            now: The block's time in seconds since 1970, below `NOW_MAX`.

        Raises:
            RefusedError: The contract refuses the call, and nothing has changed (S5).
            LocalProtocolError: A field of the call is not what the contract takes.
            LedgerError: `now` is out of range, or the contract failed as it never may.
        """
        if not 0 <= now < NOW_MAX:
            raise LedgerError(f"The contract counts seconds below {NOW_MAX}, got {now}.")
        calldata = to_calldata(call)
        self._evm.set_block_env(pyrevm.BlockEnv(number=1, timestamp=now))
        try:
            self._evm.message_call(sender, self.domain.contract, calldata)
        except RuntimeError as error:
            _raise_refusal(error)
        result = self._evm.result
        assert result is not None
        return tuple(from_log(*log.data) for log in result.logs)

    def read(self, variable: str, *keys: int | str, offset: int = 0) -> int:
        """Return a word of the contract's storage, found as by `slot`."""
        return int(self._evm.storage(self.domain.contract, slot(variable, *keys, offset=offset)))


def slot(variable: str, *keys: int | str, offset: int = 0) -> int:
    """Return where the contract's storage has a word.

    Args:
        variable: Its name in the source.
        keys: What a mapping is read at, outermost first: numbers, and addresses as text.
        offset: The index into an array.
    """
    place = artefact().storage[variable]
    for key in keys:
        place = _behind(place, int(key, 16) if isinstance(key, str) else key)
    return place + offset


@lru_cache(maxsize=2**16)
def _behind(place: int, key: int) -> int:
    """Return the slot of a mapping's value, as the compiler lays mappings out."""
    return int.from_bytes(keccak256(word(place) + word(key)), "big")


def _raise_refusal(error: RuntimeError) -> NoReturn:
    """Raise what the contract's failure means; the EVM hands the data over as text only."""
    reverted = _REVERTED.search(str(error))
    reason = refusal(bytes.fromhex(reverted[1])) if reverted else None
    if reason is None:
        raise LedgerError(f"The contract failed without a reason of the rules: {error}.") from error
    raise RefusedError(reason) from error
