"""Calls are read back from the events of a chain, and nothing else passes for them (7.3, 7.8)."""

import importlib.util
import os
import random
from dataclasses import fields, replace
from itertools import groupby

import pytest

if importlib.util.find_spec("pyrevm") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no pyrevm here: pip install 'colearn[evm]'", allow_module_level=True)

from tests.worlds import DOMAIN, SEED, Twins, World, random_word

from colearn.core import Phase, calls
from colearn.core import events as happened
from colearn.core.events import Event
from colearn.core.machine import Book
from colearn.ledger.evm_calls import Retold, RulesDisagreeError, retell


class Recorded(Twins):
    """Remembers what every accepted call logged, and when."""

    def __init__(self, drift_s=0):
        super().__init__(drift_s)
        self.accepted = []

    def apply(self, call, sender, now):
        made_known = super().apply(call, sender, now)
        if made_known:
            self.accepted.append((now, call, sender, made_known))
        return made_known


def played(seed, steps=220):
    chance = random.Random(seed)
    twins = Recorded(drift_s=chance.choice((0, 5)))
    for council, blind in ((False, False), (True, False), (False, True), (True, True)):
        word = random_word(chance, council=council, blind=blind)
        world = World(twins, chance, size=chance.randint(2, 7), word=word)
        for _ in range(steps):
            world.step()
    return chance, twins


def transactions(chance, accepted):
    """The accepted calls in transactions, each of one or several calls of one moment."""
    for now, group in groupby(accepted, key=lambda entry: entry[0]):
        left = list(group)
        while left:
            count = chance.choice((1, 1, 2, 3))
            some, left = left[:count], left[count:]
            yield now, [event for *_, events in some for event in events], some


def told(state, events, now):
    return list(retell(state, events, now, block=7, transaction="ab" * 32))


def test_the_events_alone_give_the_same_experiments_again():
    print(f"COLEARN_SEED={SEED}")
    kinds, several = set(), 0
    for part in range(8):
        chance, twins = played(f"{SEED} retell {part}")
        state = Retold(Book(DOMAIN, twins.book.drift_s))
        for now, events, made in transactions(chance, twins.accepted):
            several += len(made) > 1
            steps = told(state, events, now)
            assert [event for step in steps for event in step.events] == events
            if len(steps) == len(made):
                for step, (_, call, sender, _) in zip(steps, made, strict=True):
                    anybody = isinstance(call, calls.Advance | calls.VoteMany)
                    assert anybody or step.sender == sender
            kinds |= {type(step.call) for step in steps}
            state = steps[-1].state
        assert state.book.experiments == twins.book.experiments
    assert several > 50
    # An open ballot is read as a relayed one.
    assert set(calls.CALLS.values()) - kinds == {calls.Vote}


def altered(chance, event, other):
    """The event with one field changed, as a lying node might."""
    name = chance.choice([field.name for field in fields(event)])
    value = getattr(event, name)
    if isinstance(value, bool):
        changed = not value
    elif isinstance(value, int):
        changed = value ^ 1 << chance.choice((0, 1, 4, 31, 255))
    elif isinstance(value, tuple):
        changed = value[:-1] if chance.random() < 0.5 else (*value, "ab" * 32)
    elif value.startswith("0x") and len(value) == 42:
        changed = "0x" + chance.choice((f"{chance.randrange(2**160):040x}", "00" * 20))
    else:
        changed = f"{chance.randrange(2**256):064x}" if len(value) == 64 else value + "x"
    return chance.choice((replace(event, **{name: changed}),) * 3 + (other,))


def test_a_changed_a_missing_an_added_and_a_moved_event_are_seen():
    chance, twins = played(f"{SEED} alter", steps=120)
    state = Retold(Book(DOMAIN, twins.book.drift_s))
    seen, unseen, errors = 0, 0, []
    everything = [event for *_, events in twins.accepted for event in events]
    for now, events, _ in transactions(chance, twins.accepted):
        honest = told(state, events, now)
        for _ in range(4):
            wrong = list(events)
            place = chance.randrange(len(wrong))
            how = chance.choice(("alter", "alter", "drop", "add", "swap"))
            if how == "alter":
                wrong[place] = altered(chance, wrong[place], chance.choice(everything))
            elif how == "drop":
                del wrong[place]
            elif how == "add":
                wrong.insert(place, chance.choice((*everything, wrong[place])))
            else:
                other = chance.randrange(len(wrong))
                wrong[place], wrong[other] = wrong[other], wrong[place]
            if wrong == events:
                continue
            try:
                steps = told(state, wrong, now)
            except RulesDisagreeError as error:
                seen += 1
                errors.append(error)
            else:
                # Another story that the rules allow as well: only the chain tells which is true.
                unseen += 1
                assert [event for step in steps for event in step.events] == wrong
        state = honest[-1].state
    print(f"{seen} seen, {unseen} other stories")
    for error in errors:
        assert (error.entry, error.rule, error.transaction) == (7, "7.8", "ab" * 32)
        assert "0x" + "ab" * 32 in str(error)
        assert max(len(error.expected), len(error.found)) < 1100
    assert seen > 2 * unseen


def test_what_follows_from_a_call_cannot_be_changed_or_left_out_unseen():
    chance, twins = played(f"{SEED} consequences", steps=120)
    state = Retold(Book(DOMAIN, twins.book.drift_s))
    seen = 0
    for now, events, _ in transactions(chance, twins.accepted):
        for place, event in enumerate(events):
            if not isinstance(event, happened.Opened | happened.Closed):
                continue
            for change in ([], [altered(chance, event, event)], [event, event]):
                wrong = [*events[:place], *change, *events[place + 1 :]]
                if wrong != events:
                    with pytest.raises(RulesDisagreeError):
                        told(state, wrong, now)
                    seen += 1
        state = told(state, events, now)[-1].state
    assert seen > 60


def test_nobody_acts_in_an_experiment_that_was_not_created():
    state = Retold(Book(DOMAIN, 0))
    zero, digest = "0x" + "00" * 20, "ab" * 32
    invited = happened.Member(1, "0x" + "11" * 20, 1)
    for event in (invited, happened.Started(1, "00" * 32), happened.Joined(1, zero, 0, digest)):
        with pytest.raises(RulesDisagreeError, match="an experiment that was created"):
            told(state, [event], 1)


def test_no_call_begins_with_a_consequence():
    _, twins = played(f"{SEED} begin", steps=30)
    state = Retold(twins.book, dict.fromkeys(twins.book.experiments, "00" * 32))
    consequences: list[Event] = [
        happened.Opened(1, 1, int(Phase.PROPOSE), 0, 5),
        happened.Closed(1, 1, 0, 1, "ab" * 32),
        happened.Member(1, "0x" + "11" * 20, 2),
        happened.Member(1, "0x" + "11" * 20, 9),
    ]
    for event in consequences:
        with pytest.raises(RulesDisagreeError, match="event of a call|an invitation"):
            told(state, [event], 1)
