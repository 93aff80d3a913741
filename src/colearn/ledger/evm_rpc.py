"""One node of a chain, asked by JSON-RPC; everything that it answers is foreign.

Nothing that a node does raises anything but `LedgerUnavailableError` or, where it says that a
request itself is wrong, `NodeRefusal`: not an answer of another form, not one that is too long or
too slow, not a redirection. No error shows the path or the user of the node's address.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from colearn.errors import ColearnError, LedgerUnavailableError, MissingExtraError
from colearn.ledger.evm_url import host_of

try:
    import requests
    from requests.adapters import HTTPAdapter
    from web3 import HTTPProvider
    from web3.exceptions import Web3Exception
except ImportError as error:
    raise MissingExtraError("web3", extra="evm") from error

__all__ = [
    "ANSWER_BYTES_MAX",
    "NodeRefusal",
    "RpcNode",
    "TooLongError",
    "bytes_of",
    "digest_of",
    "number_of",
]

ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""A block of 36 million gas can log 4 MiB, which is 9 MiB of JSON."""

_PIECE_BYTES = 64 * 1024
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
        self._session = requests.Session()
        self._session.max_redirects = 0
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _BoundedAdapter(timeout_s))
        self._provider = HTTPProvider(
            address,
            request_kwargs={
                "timeout": timeout_s,
                # Compressed answers would have to be bounded twice.
                "headers": {"Content-Type": "application/json", "Accept-Encoding": "identity"},
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
        try:
            answer = self._provider.make_request(method, list(arguments))
        # The causes are left out of the error: their texts hold the whole address.
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "none"
            raise self._unavailable(f"answers with status {status}") from None
        except requests.TooManyRedirects:
            raise self._unavailable("sends its clients elsewhere") from None
        except _TooMuchError:
            raise TooLongError(
                f"The node {self.shown} answers with more than {ANSWER_BYTES_MAX} bytes.",
                hint="Ask another node of the chain.",
            ) from None
        except (requests.Timeout, _TooSlowError):
            raise self._unavailable(f"has not answered within {self._timeout_s:g} s") from None
        except OSError:
            raise self._unavailable("cannot be reached") from None
        except (ValueError, TypeError, KeyError, RecursionError, Web3Exception):
            raise self._unavailable("does not answer with JSON") from None
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


class _TooMuchError(Exception):
    """An answer is longer than any honest one."""


class _TooSlowError(Exception):
    """An answer comes in a trickle."""


class _BoundedAdapter(HTTPAdapter):
    """Reads no more of an answer than `ANSWER_BYTES_MAX`, and no longer than the timeout."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._within_s = timeout_s

    def build_response(self, request: Any, answer: Any) -> Any:
        response = super().build_response(request, answer)
        response.raw = _BoundedBody(answer, self._within_s)
        return response


class _BoundedBody:
    """The body of an answer, as far as `requests` reads it."""

    def __init__(self, body: Any, timeout_s: float) -> None:
        self._body = body
        self._timeout_s = timeout_s

    def stream(self, _size: int, *, decode_content: bool) -> Iterator[bytes]:
        """Yield what comes as it comes, so that a trickle is seen as one."""
        del decode_content  # it was asked for as it is
        until, count = time.monotonic() + self._timeout_s, 0
        while piece := self._body.read1(_PIECE_BYTES, decode_content=False):
            count += len(piece)
            if count > ANSWER_BYTES_MAX:
                raise _TooMuchError
            if time.monotonic() > until:
                raise _TooSlowError
            yield piece

    def close(self) -> None:
        self._body.close()

    def release_conn(self) -> None:
        self._body.release_conn()
