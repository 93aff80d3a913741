from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from colearn.core import TurnQueue

# One entry a round: how many join, and which of those present leave.
histories = st.lists(
    st.tuples(st.integers(0, 3), st.sets(st.integers(0, 11), max_size=2)), max_size=60
)


def rounds_of(first, history):
    queue = TurnQueue(tuple(f"m{i}" for i in range(first)))
    rounds = [queue]
    named = first
    for joining, leaving in history:
        joined = [f"m{named + i}" for i in range(joining)]
        named += joining
        left = {queue.order[i] for i in leaving if i < len(queue.order)}
        queue = queue.next(joined=joined, left=left)
        if not queue.order:
            break
        rounds.append(queue)
    return rounds


@given(st.integers(1, 8), histories)
def test_between_two_turns_everybody_present_throughout_has_exactly_one(first, history):
    rounds = rounds_of(first, history)
    turns = [queue.proposer for queue in rounds]
    for member in set(turns):
        places = [place for place, who in enumerate(turns) if who == member]
        for start, end in pairwise(places):
            throughout = set.intersection(*(set(q.order) for q in rounds[start : end + 1]))
            between = turns[start + 1 : end]
            for other in throughout - {member}:
                assert between.count(other) == 1


@given(st.integers(1, 8), histories)
def test_nobody_waits_longer_than_the_queue_was_when_they_joined(first, history):
    rounds = rounds_of(first, history)
    for start, opened in enumerate(rounds):
        for place, member in enumerate(opened.order):
            if start + place < len(rounds):
                then = rounds[start + place]
                if all(member in q.order for q in rounds[start : start + place + 1]):
                    turns = [q.proposer for q in rounds[start : start + place + 1]]
                    assert member in turns
                    assert then.order


@given(st.integers(1, 8), histories)
def test_the_order_depends_on_nothing_but_the_history(first, history):
    assert rounds_of(first, history) == rounds_of(first, history)
