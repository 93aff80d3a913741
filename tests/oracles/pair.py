"""A random world in which the package's rules and the oracle's are asked the same."""

import os

from colearn.core import Book, Phase, Reason, RefusedError
from colearn.core.events import Created, Opened, Proposed
from colearn.core.phase import OUTCOMES
from colearn.core.transitions import FOLLOWS, POSSIBLE
from tests.oracles.protocol_model import NotAllowedError
from tests.oracles.story import Story
from tests.oracles.wording import HERE, Wording
from tests.oracles.worlds import NAMES, World

SEED = int(os.environ.get("COLEARN_SEED", "0"))
"""Where the seeds of the worlds begin: another number is another search."""

CALLS_MAX = 300


class Pair:
    """A random world, and the package's rules beside the oracle's."""

    def __init__(self, seed, *, comparing=True):
        """Begin; without `comparing` the oracle only says what is asked next."""
        print(f"COLEARN_SEED={seed}")
        self.comparing = comparing
        self.world, self.words = World(seed), Wording()
        self.book = Book(HERE, self.world.ledger.drift)
        for name in (*NAMES, "z"):
            self.words.address(name)
        self.closed, self.stories = {}, {}
        self.possible, self.follows, self.reasons = set(), set(), set()

    def run(self):
        """Yield every call with the book before it and what came of it."""
        for _ in range(CALLS_MAX):
            if self.world.over():
                break
            before = self.book
            call, found = self.step()
            self.note_transitions(call, found, before)
            yield call, found, before

    def step(self):
        """Give both the next call; return it with its events, or with the reason of its refusal."""
        name, sender, now, arguments = asked = self.world.step()
        call = self.words.call(name, arguments)
        was, before, self.sender = repr(self.book), self.book, self.words.address(sender)
        try:
            self.book, found = self.book.apply(call, self.sender, now)
        except RefusedError as error:
            found = error.reason
        try:
            self.world.ledger.apply(name, sender, now, **arguments)
            expected = None
        except NotAllowedError as error:
            expected = str(error)
        refused = found if isinstance(found, Reason) else None
        assert refused == expected or not self.comparing, asked
        # S5: neither a refusal nor an acceptance touches what was there before.
        assert repr(before) == was
        events = () if refused else found
        closed = self.words.note_events(events)
        if self.comparing:
            self.note(events, closed)
            self.compare(asked)
        return call, found

    def note_transitions(self, call, found, book):
        """Gather in which phases calls were possible, what followed them, and refusals."""
        if isinstance(found, Reason):
            self.reasons.add(found)
            return
        before = book.experiments.get(getattr(call, "experiment", 0))
        if before is None:
            return
        self.possible.add((type(call), before.phase))
        assert before.phase in POSSIBLE[type(call)]
        phase = before.phase
        for event in found:
            if isinstance(event, Opened | Proposed):
                after = Phase(event.phase) if isinstance(event, Opened) else Phase.VOTE
                self.follows.add((phase, after))
                assert after in FOLLOWS[phase]
                phase = after

    def note(self, events, closed):
        for event in events:
            if isinstance(event, Created):
                self.stories[event.experiment] = Story(event)
            self.stories[event.experiment].tell(event)
        for event in closed:
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
