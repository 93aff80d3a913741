"""The record of everything that was spent of one dataset's privacy, whoever spent it."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from colearn.errors import BudgetExceededError, ConfigError
from colearn.privacy._entries import (
    NAME,
    PURPOSE_MAX,
    Partition,
    SpendEntry,
    VoteEntry,
    event_of,
    read_entry,
)
from colearn.privacy._lines import ChainedLines
from colearn.privacy.accountant import SampledGaussian, Spend, ZeroConcentrated, epsilon_of

__all__ = ["Partition", "PrivacyLedger", "SpendEntry", "VoteEntry", "default_directory"]

_FORMAT = "colearn-spends-1"


class PrivacyLedger:
    """What was spent of one dataset, in one file, for all experiments and processes that use it.

    A spend is durable before `spend` returns, thus before a record is touched; nothing is ever
    refunded. The parts of one split have no record in common, so each has its own budget
    (parallel composition, McSherry, 2009). What other splits spent counts in full, since their
    parts may share records with this one.

    A last line that was never finished is cut: its writer had not been told to go on. Any other
    damage refuses, and nothing is reset. A copy restored from an old backup, lines cut from the
    end, or a deleted file forget what was spent later, and no one can see that from the file
    alone: keep it where nobody rolls it back. The lock needs a file system with flock, and
    there is none on Windows, where only one process may use a dataset at a time.

    Attributes:
        path: The file.
        dataset: The fingerprint or name of the dataset.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        """Name a file; `open` is the way in."""
        self.path, self.dataset = path, dataset
        first = {"format": _FORMAT, "dataset": dataset}
        self._lines = ChainedLines[SpendEntry | VoteEntry](path, first, read_entry)

    @classmethod
    def open(cls, directory: Path, dataset: str) -> PrivacyLedger:
        """Open the record of a dataset, or begin it.

        Args:
            directory: Where records are kept; made if need be, for this user alone.
            dataset: A fingerprint, or a name of 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-'.

        Raises:
            ConfigError: The name is none.
            SpendsCorruptError: The record is damaged, or that of another dataset.
            SpendsUnavailableError: It cannot be read or written.
        """
        if not isinstance(dataset, str) or not NAME.fullmatch(dataset):
            raise ConfigError(
                f"A dataset is named by 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-'; got {dataset!r}."
            )
        ledger = cls(Path(directory) / f"{dataset}.spends.jsonl", dataset)
        ledger._lines.create()
        with ledger._lines.held():
            return ledger

    def consumed(self, partition: Partition, delta: float) -> float:
        """Return the epsilon of everything that may have touched a record of a partition.

        Raises:
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be read.
        """
        with self._lines.held():
            spends = self._spends(partition)
        return _epsilon(spends, delta)

    def besides(self, split: str) -> tuple[Spend, ...]:
        """Return what other splits of the dataset have spent, which counts for all its parts.

        Raises:
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be read.
        """
        with self._lines.held():
            return self._spends(Partition(split, "none"))

    def would_exceed(
        self, partition: Partition, spend: Spend, *, epsilon: float, delta: float
    ) -> bool:
        """Say whether `spend` would be refused now; nothing is written.

        Raises:
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be read.
        """
        with self._lines.held():
            spends = self._spends(partition, spend)
        return not _epsilon(spends, delta) <= epsilon

    def spend(
        self, partition: Partition, spend: Spend, *, epsilon: float, delta: float, purpose: str
    ) -> float:
        """Write a spend down durably, unless it would exceed the budget.

        Args:
            partition: Whose records will be touched.
            spend: By which mechanism.
            epsilon: The most that may be consumed afterwards; just that much is allowed.
            delta: The delta at which epsilon is meant.
            purpose: What for; its first 200 characters are kept.

        Returns:
            The epsilon consumed afterwards.

        Raises:
            BudgetExceededError: It would be more; nothing is written.
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be written; nothing of it stays.
            ConfigError: The spend has values outside of their range.
        """
        document = {
            "split": partition.split,
            "name": partition.name,
            **event_of(spend),
            "purpose": purpose[:PURPOSE_MAX],
            "time": int(time.time()),
        }
        # Composing may take seconds, which others would wait for: so the answer is known by then.
        self.would_exceed(partition, spend, epsilon=epsilon, delta=delta)
        with self._lines.held() as descriptor:
            after = _epsilon(self._spends(partition, spend), delta)
            # Written so that NaN is refused, too.
            if not after <= epsilon:
                raise self._exceeded(partition, after, epsilon, delta)
            self._lines.append(descriptor, document)
        return after

    def vote_of(self, question: str) -> bool | None:
        """Return the vote that was kept for a question; None if there is none.

        Raises:
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be read.
        """
        with self._lines.held():
            return self._vote(_hashed(question))

    def keep_vote(self, question: str, vote: bool) -> bool:  # noqa: FBT001
        """Keep a vote durably, and return the one that stands: the first for its question.

        Raises:
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be written; nothing of it stays.
        """
        hashed = _hashed(question)
        with self._lines.held() as descriptor:
            kept = self._vote(hashed)
            if kept is None:
                self._lines.append(descriptor, {"question": hashed, "vote": bool(vote)})
                return bool(vote)
            return kept

    def entries(self) -> list[SpendEntry | VoteEntry]:
        """Return everything that was written down, oldest first.

        Raises:
            SpendsCorruptError: The record is damaged.
            SpendsUnavailableError: It cannot be read.
        """
        with self._lines.held():
            return list(self._lines.lines)

    def verify(self) -> None:
        """Read and check the whole file again.

        Raises:
            SpendsCorruptError: The record is damaged; the text names the line.
            SpendsUnavailableError: It cannot be read.
        """
        with self._lines.held(anew=True):
            pass

    def _spends(self, partition: Partition, *more: Spend) -> tuple[Spend, ...]:
        touching = (
            entry.spend
            for entry in self._lines.lines
            if isinstance(entry, SpendEntry)
            and (entry.partition == partition or entry.partition.split != partition.split)
        )
        return _merged([*touching, *more])

    def _vote(self, hashed: str) -> bool | None:
        for entry in self._lines.lines:
            if isinstance(entry, VoteEntry) and entry.question == hashed:
                return entry.vote
        return None

    def _exceeded(
        self, partition: Partition, after: float, epsilon: float, delta: float
    ) -> BudgetExceededError:
        spent = _epsilon(self._spends(partition), delta)
        return BudgetExceededError(
            f"The budget of {partition.name} is epsilon {epsilon:g} at delta {delta:g}; "
            f"{spent:.4g} are spent, and {after:.4g} would be.",
            spent=spent,
            asked=after,
            limit=epsilon,
            hint="What was spent never comes back: use other records, or agree on a larger budget.",
        )


def default_directory() -> Path:
    """Return where records of spends are kept unless somebody says otherwise.

    ``$COLEARN_PRIVACY``, else ``$XDG_STATE_HOME/colearn/privacy``, else
    ``~/.local/state/colearn/privacy``.

    Raises:
        ConfigError: ``$COLEARN_PRIVACY`` is relative: elsewhere it would be another, empty record.
    """
    if chosen := os.environ.get("COLEARN_PRIVACY"):
        if not Path(chosen).is_absolute():
            raise ConfigError(
                f"COLEARN_PRIVACY must be an absolute path, got {chosen!r}.",
                hint="The same records must be found from every folder.",
            )
        return Path(chosen)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "colearn" / "privacy"


def _merged(spends: Iterable[Spend]) -> tuple[Spend, ...]:
    """Return the same spends as few, in an order of their own."""
    counts: Counter[tuple[float, float]] = Counter()
    rhos: list[float] = []
    for spend in spends:
        if isinstance(spend, SampledGaussian):
            counts[spend.noise_multiplier, spend.sampling_rate] += spend.count
        else:
            rhos.append(spend.rho)
    gaussians = [SampledGaussian(*key, count) for key, count in sorted(counts.items())]
    return (*gaussians, *([ZeroConcentrated(math.fsum(rhos))] if rhos else []))


@lru_cache(maxsize=1024)
def _epsilon(spends: tuple[Spend, ...], delta: float) -> float:
    return epsilon_of(spends, delta)


def _hashed(question: str) -> str:
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()
