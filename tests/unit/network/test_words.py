from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from colearn.core import Experiment, Roster, Rules
from colearn.crypto import checksum_address
from colearn.experiment import parse_config
from colearn.network.invitation import Invitation
from colearn.network.joining import Offer
from colearn.network.terms import Terms
from colearn.network.words import as_document, duration, in_words, plain, tolerance_lines
from colearn.preprocess import Scaling
from colearn.schema import Schema
from colearn.weights import freeze

A, B, C = ("0x" + pair * 20 for pair in ("ab", "cd", "ef"))
MODEL = freeze({"coef": np.zeros(3)})


def offer(rules=None, schema=None, scaling=None, **document):
    config = parse_config({"name": "flowers", **document})
    rules = rules or Rules(rounds=20, patience=5, early_close=True)
    terms = Terms(config, rules, MODEL.digest, False, schema, scaling)
    roster = Roster(addresses=(A, B), seat_of={A: 0, B: 1}, invited={C: 1})
    experiment = Experiment(number=3, roster=roster, rules=rules)
    invitation = Invitation("http://h:1", "1" * 64, 3, "2" * 64, MODEL.digest, "hosted")
    return Offer(invitation, experiment, b"", terms, MODEL)


def text_of(given, address=C):
    return "\n".join(f"{label}: {text}" for label, text in in_words(given, address))


def test_everything_that_is_signed_is_said():
    schema = Schema.of(["a", "b"], [0, 1])
    text = text_of(offer(schema=schema, scaling=Scaling.divide(2.0, 2)))
    for said in (
        "flowers, number 3", "more than 1/2 stand behind it", "10 min", "ends once its outcome is certain",
        "20 rounds with a proposal, or 5 proposals in a row",
        "With 3 members a proposal needs 1 approval of 2 others",
        f"{checksum_address(A)} joined", f"{checksum_address(C)} invited (you)", "2 columns: a, b",
        "2 classes: 0, 1", "public constants", "colearn.learners:SklearnLearner", MODEL.cid,
        "privacy: none", "http://h:1", "2" * 64, "not worse on its own rows (z = -2)",
    ):  # fmt: skip
        assert said in text, said
    assert text.count("(you)") == 1


def test_other_rules_have_other_words():
    blind = Rules(Fraction(1), reveal_s=30, propose_s=7200, vote_s=90)
    text = text_of(offer(blind, vote={"mode": "classic"}, target=0.9, preprocess={"use": "shared"}))
    for said in (
        "all members stand behind it", "Votes are blind, and opened within 30 s", "2 h", "90 s",
        "scores better on its own rows", "a score of 0.9", "shared moments", "none declared",
        "warning: one silent member stops everything.",
    ):  # fmt: skip
        assert said in text, said
    text = text_of(offer(Rules(Fraction(1, 3)), preprocess={"use": "none"}))
    assert "warning: a minority decides" in text
    assert "when members vote for it" in text
    assert "scaling: none" in text


def test_no_byte_of_a_stranger_reaches_the_terminal_as_a_command():
    evil = "a\x1b[2J\nprivacy: full\u202e\x07"
    schema = Schema.of([evil, "b"], ["\x1b]0;x", "y"])
    given = offer(schema=schema, task={"use": "colearn.tasks:iris", "with": {evil: evil}})
    assert all(text.isprintable() for _, text in in_words(given, C))
    assert plain("x" * 1000) == "x" * 200 + "..."


def test_long_lists_are_shortened():
    schema = Schema.of(784, range(10))
    text = text_of(offer(schema=schema))
    assert "784 columns: x0 to x783" in text
    assert "10 classes: 0 to 9" in text


def test_programs_get_the_same_as_a_document():
    given = offer(schema=Schema.of(2, ["n", "y"]))
    document = as_document(given, C)
    assert document["classes"] == ["n", "y"]
    assert document["features"] == 2
    assert document["joined"] == [checksum_address(A), checksum_address(B)]
    assert document["invited"] == [checksum_address(C)]
    assert document["privacy"] is None
    assert as_document(replace(given, terms=replace(given.terms, schema=None)), C)["features"] == 0


@pytest.mark.parametrize(
    ("seconds", "said"), [(1, "1 s"), (60, "1 min"), (90, "90 s"), (3600, "1 h"), (86400, "1 d")]
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_one_member_survives_nothing_yet():
    assert tolerance_lines(Rules(), 1) == ["1 of at least 2 members so far"]
