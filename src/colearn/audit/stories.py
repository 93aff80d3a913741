"""All experiments of a ledger, each told again by its own `Story` (section 8)."""

from __future__ import annotations

from colearn.audit.report import Check
from colearn.audit.story import Story
from colearn.core.events import Created, Event

__all__ = ["Stories"]


class Stories:
    """Checks 3 to 7 of every experiment.

    Attributes:
        told: Each experiment's story, by its number.
    """

    def __init__(self, checks: dict[int, Check]) -> None:
        """Begin before the first event; faults go to `checks`, by number."""
        self.told: dict[int, Story] = {}
        self._checks = checks

    def tell(self, entry: int, time: int, event: Event) -> None:
        """Take the next event, which `entry` made known at `time`; the rules have accepted it."""
        if isinstance(event, Created):
            self.told[event.experiment] = Story(event, self._checks)
        else:
            self.told[event.experiment].tell(entry, time, event)

    def describe(self) -> None:
        """Say in the checks what was looked at."""
        stories = self.told.values()
        counts = {number: sum(story.counts[number] for story in stories) for number in (3, 4, 5)}
        rounds = sum(story.rounds_count for story in stories)
        changed = sum(len(story.models) - 1 for story in stories)
        self._checks[3].detail = f"{counts[3]} changes of the roster"
        self._checks[4].detail = f"{counts[4]} turns"
        self._checks[5].detail = f"{counts[5]} acts and deadlines"
        self._checks[6].detail = f"{rounds} rounds recounted"
        self._checks[7].detail = f"{changed} of {rounds} rounds changed the model"
