"""One node of a chain, asked by JSON-RPC; everything that it answers is foreign.

Nothing that a node does raises anything but `LedgerUnavailableError` or, where it says that a
request itself is wrong, `NodeRefusal`: not an answer of another form, not one that is too long or
too slow, not a redirection. No error shows the path or the user of the node's address.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from colearn.errors import ColearnError, LedgerUnavailableError, MissingExtraError
from colearn.ledger._web3 import HTTPProvider, Web3Exception
from colearn.ledger.evm_session import (
    ANSWER_BYTES_MAX,
    TooMuchError,
    TooSlowError,
    bounded_session,
)
from colearn.ledger.evm_url import host_of

try:
    import requests
except ImportError as error:  # it comes with web3
    raise MissingExtraError("web3", extra="evm") from error

__all__ = [
    "NodeRefusal",
    "RpcNode",
    "TooLongError",
    "bytes_of",
    "digest_of",
    "number_of",
]

_TRIES = 2
"""A connection that was kept may be closed on the other side; every request may be repeated."""

_SAID_MAX = 300
_NUMBER = re.compile("0x[0-9a-fA-F]{1,64}")
_DIGEST = re.compile("0x[0-9a-fA-F]{64}")
_BYTES = re.compile("0x(?:[0-9a-fA-F]{2})*")
_UNPRINTABLE = re.compile(r"[^ -~]")


class NodeRefusal(ColearnError):  # noqa: N818  (an answer, which most callers expect)
    """The node understood a request and refuses it.

    Attributes:
        said: Its words, at most 300 printable characters; they may be a lie.
        data: What a reverted call returned; empty where the node tells nothing.
    """

    def __init__(self, said: str, data: bytes) -> None:
        """Keep the words and the data."""
        super().__init__(f"The node says: {said}.")
        self.said = said
        self.data = data


class TooLongError(LedgerUnavailableError):
    """An answer was longer than any is read."""


class RpcNode:
    """A node of a chain.

    Attributes:
        shown: Its address as it may be shown.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        """Name a node; nothing is asked yet.

        Args:
            address: Its http(s) address.
            timeout_s: How long it may take to connect, to begin an answer, and to end it.
        """
        self.shown = host_of(address)
        self._timeout_s = timeout_s
        self._session = bounded_session(timeout_s)
        self._provider = HTTPProvider(
            address,
            request_kwargs={
                "timeout": timeout_s,
                "headers": {"Content-Type": "application/json"},
            },
            session=self._session,
            exception_retry_configuration=None,
        )

    def ask(self, method: str, *arguments: Any) -> Any:
        """Ask, and return the result as JSON has it.

        Raises:
            NodeRefusal: It answers with an error.
            LedgerUnavailableError: It does not answer, or with something else.
        """
        answer = self._answer(method, list(arguments))
        if not isinstance(answer, Mapping):
            raise self._unavailable("does not answer as JSON-RPC says")
        if answer.get("error") is not None:
            raise _refusal(answer["error"])
        if "result" not in answer:
            raise self._unavailable("does not answer as JSON-RPC says")
        return answer["result"]

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _answer(self, method: str, arguments: list[Any]) -> Any:
        try:
            return self._sent(method, arguments)
        # The causes are left out of the error: their texts hold the whole address.
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "none"
            raise self._unavailable(f"answers with status {status}") from None
        except requests.TooManyRedirects:
            raise self._unavailable("sends its clients elsewhere") from None
        except TooMuchError:
            raise TooLongError(
                f"The node {self.shown} answers with more than {ANSWER_BYTES_MAX} bytes.",
                hint="Ask another node of the chain.",
            ) from None
        except (requests.Timeout, TooSlowError):
            raise self._unavailable(f"has not answered within {self._timeout_s:g} s") from None
        except requests.exceptions.SSLError:
            raise self._unavailable("has no certificate that is trusted here") from None
        except OSError:
            raise self._unavailable("cannot be reached") from None
        except (ValueError, TypeError, KeyError, RecursionError, Web3Exception):
            raise self._unavailable("does not answer with JSON") from None

    def _sent(self, method: str, arguments: list[Any]) -> Any:
        until = time.monotonic() + self._timeout_s
        for left in reversed(range(_TRIES)):
            try:
                return self._provider.make_request(method, arguments)
            except requests.ConnectionError as error:
                if time.monotonic() >= until:
                    raise TooSlowError from error
                if not left:
                    raise
        raise TooSlowError

    def _unavailable(self, what: str) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"The node {self.shown} {what}.", hint="Is it running? Try again, or ask another node."
        )


def number_of(value: Any) -> int:
    """Read a number of an answer.

    Raises:
        LedgerUnavailableError: It is none.
    """
    return int(_matched(value, _NUMBER, "a number"), 16)


def digest_of(value: Any) -> str:
    """Read a hash of an answer; return 64 lower-case hex digits.

    Raises:
        LedgerUnavailableError: It is none.
    """
    return _matched(value, _DIGEST, "a hash")[2:].lower()


def bytes_of(value: Any) -> bytes:
    """Read bytes of an answer.

    Raises:
        LedgerUnavailableError: They are none.
    """
    return bytes.fromhex(_matched(value, _BYTES, "bytes")[2:])


def _matched(value: Any, form: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise LedgerUnavailableError(
            f"The node's answer has {_printable(value)!r} where {what} belongs.",
            hint="Ask another node of the chain.",
        )
    return value


def _refusal(error: Any) -> NodeRefusal:
    """Read an error as nodes give it: data is a text or, of some, a document with one."""
    if not isinstance(error, Mapping):
        return NodeRefusal(_printable(error), b"")
    data = error.get("data")
    if isinstance(data, Mapping):
        data = data.get("data", data.get("result"))
    known = data[2:] if isinstance(data, str) and _BYTES.fullmatch(data) else ""
    return NodeRefusal(_printable(error.get("message")), bytes.fromhex(known))


def _printable(value: Any) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return _UNPRINTABLE.sub("?", text[:_SAID_MAX])
