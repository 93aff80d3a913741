"""The pure rules against the oracle, call by call, honest and not (7.8)."""

import os

import pytest

from colearn.core import Book, Phase, RefusedError
from colearn.core.events import Opened, Proposed
from colearn.core.experiment import Experiment
from colearn.core.phase import OUTCOMES
from colearn.core.transitions import FOLLOWS, POSSIBLE
from tests.oracles.protocol_model import Refused
from tests.oracles.wording import HERE, Wording
from tests.oracles.worlds import World

SEED = int(os.environ.get("COLEARN_SEED", "0"))
"""Where the seeds of the worlds begin: another number is another search."""


class Pair:
    """A random world, and the package's rules beside the oracle's."""

    def __init__(self, seed):
        self.world, self.words = World(seed), Wording()
        self.book = Book(HERE, self.world.ledger.drift)
        for name in "abcdefghijklz":
            self.words.address(name)
        self.stories = {}

    def step(self):
        """Give both the next call; return it with the events, None where it was refused."""
        name, sender, now, arguments = self.world.step()
        call = self.words.call(name, arguments)
        before, book, events = repr(self.book), self.book, None
        try:
            book, events = self.book.apply(call, self.words.address(sender), now)
            said = "accepted"
        except RefusedError as error:
            said = str(error.reason)
        try:
            self.world.ledger.apply(name, sender, now, **arguments)
            expected = "accepted"
        except Refused as error:
            expected = str(error)
        assert said == expected, (name, sender, now, arguments)
        # S5: neither a refusal nor an acceptance touches what was there before.
        assert repr(self.book) == before
        was, self.book = self.book, book
        if events is not None:
            self.note(events)
        self.compare(name, sender, now, arguments)
        return call, was, events

    def note(self, events):
        for event in self.words.note_events(events):
            roster = self.book.experiments[event.experiment].roster
            proposer = self.words.names[roster.addresses[event.proposer]]
            row = (event.round_number, proposer, str(OUTCOMES[event.outcome]), event.model)
            self.stories.setdefault(event.experiment, []).append(row)

    def compare(self, *call):
        assert len(self.book.experiments) == len(self.world.ledger.experiments)
        for expected in self.world.ledger.experiments:
            found = self.book.experiments[expected.number]
            assert self.words.state(found) == self.words.expected(expected), call
            story = [(*row[:3], self.words.digest(row[3])) for row in expected.story]
            assert self.stories.get(expected.number, []) == story, call


@pytest.mark.parametrize("batch", range(8))
def test_the_rules_and_the_oracle_agree_after_every_call(batch):
    for seed in range(SEED + batch * 25, SEED + batch * 25 + 25):
        print(f"COLEARN_SEED={seed}")
        pair = Pair(seed)
        for _ in range(220):
            pair.step()
