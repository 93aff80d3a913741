"""What the nodes of a run saw, kept so that a killed run writes the same records again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace

from colearn.errors import ConfigError
from colearn.experiment.records import finite_or_none
from colearn.worker import Observation

__all__ = ["Journal"]

_FIELDS = {field.name for field in fields(Observation)}
_OPTIONAL = {"monitored"}
"""Left out where it is empty, as of learners that monitor nothing."""


class Journal:
    """Observations by round and member; a later one adds to an earlier one.

    A node tells what it saw before it acts, so whatever the ledger knows of a learner in this
    process, the journal can explain.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        """Start empty; `write` takes each observation as a line of JSON."""
        self._write = write
        self._seen: dict[tuple[int, str], Observation] = {}

    def __call__(self, observation: Observation) -> None:
        """Take what a node saw."""
        plain = replace(
            observation,
            vote_score=finite_or_none(observation.vote_score),
            test_score=finite_or_none(observation.test_score),
            monitored={
                name: finite_or_none(value) for name, value in observation.monitored.items()
            },
        )
        if self._write is not None:
            document = asdict(plain)
            if not plain.monitored:
                del document["monitored"]
            self._write(json.dumps(document, sort_keys=True, allow_nan=False))
        self._add(plain)

    def load(self, lines: list[str]) -> None:
        """Read what was written before.

        Raises:
            ConfigError: A line is no observation.
        """
        for line in lines:
            try:
                document = json.loads(line)
                fits = isinstance(document, dict) and set(document) | _OPTIONAL == _FIELDS
                observation = Observation(**document) if fits else None
            except (ValueError, TypeError, RecursionError):
                observation = None
            if observation is None:
                raise ConfigError(f"Expected an observation, got {line[:80]!r}.")
            self._add(observation)

    def of(self, round_number: int, member: str) -> Observation:
        """Return what a member saw in a round; an empty observation where it saw nothing."""
        seen = self._seen.get((round_number, member))
        return seen if seen is not None else Observation(round_number, member)

    def forget(self, round_number: int) -> None:
        """Drop a round whose record is written."""
        for key in [key for key in self._seen if key[0] <= round_number]:
            del self._seen[key]

    def _add(self, observation: Observation) -> None:
        key = (observation.round_number, observation.member)
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = observation
            return
        news = {
            name: value
            for name in ("vote_score", "test_score", "failure", "reason", "monitored")
            if (value := getattr(observation, name)) not in (None, "", {})
        }
        self._seen[key] = replace(before, **news)
