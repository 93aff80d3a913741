"""The port of every ledger: ordered calls, and the experiments they lead to (7.8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from colearn.core import Experiment
from colearn.core.calls import Call
from colearn.core.events import Event
from colearn.errors import LedgerError
from colearn.identity import Key

__all__ = ["Happening", "Head", "Ledger", "Listener"]


class Head(NamedTuple):
    """How far a ledger has been read: a height and the hash there, in hex."""

    height: int
    digest: str

    def __str__(self) -> str:
        return f"{self.height}:{self.digest}"


@dataclass(frozen=True, slots=True)
class Happening:
    """What one accepted call made known.

    Attributes:
        height: Of its row, or of its block on a chain.
        time: Seconds since 1970, by the ledger.
        signer: Who called.
        events: In their order.
    """

    height: int
    time: int
    signer: str
    events: tuple[Event, ...]


Listener = Callable[[Happening], None]


class Ledger(ABC):
    """One view of a ledger, as far as it has been read and verified.

    Nodes of one process may share a view; `listen` tells each of them everything. Who calls
    `submit` or `sync` sees the newest state afterwards. A view belongs to one thread.
    """

    kind: str = ""
    """The word for it in configurations and reports."""

    def __init__(self) -> None:
        """Start without listeners."""
        self._listeners: list[Listener] = []

    @abstractmethod
    def submit(self, key: Key, call: Call) -> tuple[Event, ...]:
        """Sign a call, send it, and return what it made known.

        Raises:
            LedgerRejectedError: The rules refuse it; `.reason` says why. Nothing has changed.
            LedgerUnavailableError: Nobody knows whether it came in; `sync`, look, try again.
            LedgerTamperedError: The ledger is not what was read before.
        """

    @abstractmethod
    def sync(self) -> int:
        """Read and verify what is new, tell the listeners, and return how many calls that were.

        Raises:
            LedgerUnavailableError: It cannot be read now.
            LedgerTamperedError: What came is not valid, or not on the line read before.
        """

    @abstractmethod
    def wait(self, timeout_s: float) -> bool:
        """Wait until something is new, then `sync`; say whether anything was.

        Raises:
            LedgerError: As `sync`.
        """

    @abstractmethod
    def now(self) -> int:
        """Return the time by which deadlines are judged, seconds since 1970."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """The last verified place."""

    @abstractmethod
    def experiment(self, number: int) -> Experiment:
        """Return the state of an experiment.

        Raises:
            LedgerError: There is none of this number.
        """

    @abstractmethod
    def certified(self, number: int) -> int:
        """Return the height up to which the experiment's rows are final (7.9)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; the ledger stays."""

    def listen(self, listener: Listener) -> None:
        """Let `listener` hear of everything that happens from now on, once and in order.

        It is called while the ledger is busy, with the state as it is right after the happening:
        it may look at `experiment`, must not call `submit`, `sync` or `wait`, and must not raise.
        """
        self._listeners.append(listener)

    def _tell(self, happening: Happening) -> None:
        for listener in self._listeners:
            listener(happening)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def unknown_experiment(number: int) -> LedgerError:
    """Return the error for an experiment that nobody created."""
    return LedgerError(
        f"There is no experiment {number} on this ledger.", hint="Experiments count from 1."
    )
