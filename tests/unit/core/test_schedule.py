import pytest

from colearn.core import TurnQueue
from colearn.errors import LocalProtocolError


def test_the_front_proposes_and_goes_to_the_back():
    queue = TurnQueue(("a", "b", "c"))
    turns = []
    for _ in range(7):
        turns.append(queue.proposer)
        queue = queue.next()
    assert turns == list("abcabca")


def test_newcomers_stand_behind_the_last_proposer_in_join_order():
    assert TurnQueue(("a", "b")).next(joined=("c", "d")).order == ("b", "a", "c", "d")


def test_leavers_are_out_the_last_proposer_too():
    assert TurnQueue(("a", "b", "c")).next(left={"b"}).order == ("c", "a")
    assert TurnQueue(("a", "b", "c")).next(left=["a"]).order == ("b", "c")
    assert TurnQueue(("a",)).next(joined=["b"], left=["b"]).order == ("a",)


def test_opening_a_round_leaves_the_old_queue_as_it_was():
    queue = TurnQueue(("a", "b"))
    queue.next(joined=["c"])
    assert queue.order == ("a", "b")


def test_an_empty_queue_has_no_proposer():
    empty = TurnQueue(("a",)).next(left={"a"})
    assert empty.order == ()
    with pytest.raises(LocalProtocolError, match="Nobody is left"):
        _ = empty.proposer
    assert empty.next(joined=["b"]).proposer == "b"


def test_a_member_cannot_stand_in_the_queue_twice():
    with pytest.raises(LocalProtocolError, match="twice"):
        TurnQueue(("a", "b", "a"))
    with pytest.raises(LocalProtocolError, match="twice"):
        TurnQueue(("a", "b")).next(joined=["a"])
