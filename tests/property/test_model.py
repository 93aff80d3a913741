"""The pure rules against the oracle, call by call, honest and not (7.8)."""

import os

import pytest
from tests.oracles.protocol_model import NotAllowedError
from tests.oracles.story import Story
from tests.oracles.wording import HERE, Wording
from tests.oracles.worlds import NAMES, World

from colearn.core import Book, Phase, Reason, RefusedError
from colearn.core.calls import CALLS
from colearn.core.events import Created, Opened, Proposed
from colearn.core.phase import OUTCOMES
from colearn.core.transitions import FOLLOWS, POSSIBLE

SEED = int(os.environ.get("COLEARN_SEED", "0"))
"""Where the seeds of the worlds begin: another number is another search."""

BATCH, CALLS_MAX = 15, 300


class Pair:
    """A random world, and the package's rules beside the oracle's."""

    def __init__(self, seed):
        print(f"COLEARN_SEED={seed}")
        self.world, self.words = World(seed), Wording()
        self.book = Book(HERE, self.world.ledger.drift)
        for name in (*NAMES, "z"):
            self.words.address(name)
        self.closed, self.stories = {}, {}

    def run(self):
        """Yield every call with the book before it and what came of it."""
        for _ in range(CALLS_MAX):
            if self.world.over():
                break
            before = self.book
            yield (*self.step(), before)

    def step(self):
        """Give both the next call; return it with its events, or with the reason of its refusal."""
        name, sender, now, arguments = asked = self.world.step()
        call = self.words.call(name, arguments)
        was, before = repr(self.book), self.book
        try:
            self.book, found = self.book.apply(call, self.words.address(sender), now)
        except RefusedError as error:
            found = error.reason
        try:
            self.world.ledger.apply(name, sender, now, **arguments)
            expected = None
        except NotAllowedError as error:
            expected = str(error)
        assert (found if isinstance(found, Reason) else None) == expected, asked
        # S5: neither a refusal nor an acceptance touches what was there before.
        assert repr(before) == was
        if not isinstance(found, Reason):
            self.note(found)
        self.compare(asked)
        return call, found

    def note(self, events):
        for event in events:
            if isinstance(event, Created):
                self.stories[event.experiment] = Story(event)
            self.stories[event.experiment].tell(event)
        for event in self.words.note_events(events):
            roster = self.book.experiments[event.experiment].roster
            proposer = self.words.names[roster.addresses[event.proposer]]
            row = (event.round_number, proposer, OUTCOMES[event.outcome], event.model)
            self.closed.setdefault(event.experiment, []).append(row)

    def compare(self, asked):
        assert len(self.book.experiments) == len(self.world.ledger.experiments)
        for expected in self.world.ledger.experiments:
            found = self.book.experiments[expected.number]
            assert self.words.state(found) == self.words.expected(expected), asked
            rows = [(*row[:3], self.words.digest(row[3])) for row in expected.story]
            assert self.closed.get(expected.number, []) == rows, asked
            self.stories[expected.number].must_be(found)


@pytest.mark.parametrize("batch", range(8))
def test_the_rules_the_oracle_and_the_events_agree_after_every_call(batch):
    for seed in range(SEED + batch * BATCH, SEED + (batch + 1) * BATCH):
        for _ in Pair(seed).run():
            pass


def test_the_transition_table_is_what_random_worlds_show():
    possible = {CALLS[name]: set() for name in CALLS}
    follows, reasons = {phase: set() for phase in Phase}, set()
    for seed in range(1000, 1120):
        for call, found, book in Pair(seed).run():
            if isinstance(found, Reason):
                reasons.add(found)
                continue
            before = book.experiments.get(getattr(call, "experiment", 0))
            if before is None:
                continue
            possible[type(call)].add(before.phase)
            phase = before.phase
            for event in found:
                if isinstance(event, Opened | Proposed):
                    after = Phase(event.phase) if isinstance(event, Opened) else Phase.VOTE
                    follows[phase].add(after)
                    phase = after
    assert possible == POSSIBLE
    assert follows == FOLLOWS
    # 256 seats take longer than these worlds live.
    assert reasons == set(Reason) - {Reason.FULL}
