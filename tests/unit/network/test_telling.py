from fractions import Fraction

import pytest

from colearn.core import MemberStatus, MotionKind, Phase, Rules
from colearn.core.events import (
    Awoke,
    Closed,
    Confirmed,
    Created,
    Joined,
    Member,
    Missed,
    MotionSupported,
    Opened,
    Proposed,
    Started,
    Voted,
)
from colearn.core.experiment import NOBODY
from colearn.crypto import checksum_address
from colearn.experiment import Collective, parse_config, plan
from colearn.ledger import EmbeddedLedger, Happening
from colearn.network.telling import Narrator
from colearn.node import FAILED

A, B, C, D = ("0x" + digit * 40 for digit in "1234")
MODEL, PROPOSAL, ZERO = "5" * 64, "6" * 64, "0" * 64


def told(narrator, *events):
    return narrator.hear(Happening(7, 100, A, events))


def seated(members=(A, B, C), threshold=Fraction(1, 2)):
    narrator = Narrator(1, me=B)
    word = Rules(threshold).to_word()
    lines = told(narrator, Created(1, A, ZERO, MODEL, word, ""))
    for seat, member in enumerate(members):
        lines += told(narrator, Joined(1, member, seat, ZERO))
    lines += told(narrator, Started(1, ZERO), Opened(1, 1, Phase.PROPOSE, 0, 200))
    return narrator, lines


def proposed(narrator, number, seat=0, proposer=A):
    return told(narrator, Proposed(1, number, proposer, ZERO, MODEL, 0, (PROPOSAL,), "", 300))


def vote(voter, number=1, *, yes=True, abstain=False, note=ZERO):
    return Voted(1, number, voter, int(yes), 0, abstain, note)


def test_a_run_is_told_as_its_records_tell_it(tmp_path):
    config = parse_config(
        {
            "rounds": 8,
            "task": {"use": "colearn.tasks:digits", "split": {"learners": 4}},
            "learner": {
                "use": "colearn.learners:SklearnLearner",
                "with": {
                    "estimator": "sklearn.linear_model:SGDClassifier",
                    "loss": "log_loss",
                    "learning_rate": "constant",
                    "eta0": 0.3,
                },
            },
            "hostile": {"learners": 1},
        }
    )
    run = Collective(plan(config).group(), directory=tmp_path, rounds=8)
    records = list(run.rounds())
    run.close()
    lines = []
    narrator = Narrator(1)
    with EmbeddedLedger(tmp_path / "ledger.db") as ledger:
        ledger.listen(lambda happening: lines.extend(narrator.hear(happening)))
        ledger.sync()
        addresses = dict(zip(run.names, ledger.experiment(1).roster.addresses, strict=True))
    rounds = [line.document for line in lines if line.document["event"] == "round"]
    assert len(rounds) == len(records) == 8
    assert {record.outcome for record in records} == {"accepted", "rejected"}
    for document, record in zip(rounds, records, strict=True):
        assert document["proposer"] == checksum_address(addresses[record.proposer])
        for name in (
            "outcome",
            "approvals",
            "rejections",
            "abstentions",
            "silent",
            "needed",
            "members",
            "model",
            "proposal",
        ):
            assert document[name] == getattr(record, name), name
        assert document["round"] == record.round_number
    assert lines[-1].document["event"] == "confirmed"


def test_ballots_of_all_kinds_are_counted():
    narrator, _ = seated((A, B, C, D))
    proposed(narrator, 1)
    told(narrator, vote(B), vote(C, yes=False, note=FAILED))
    line = told(narrator, vote(D, abstain=True), Closed(1, 1, 0, 1, PROPOSAL))[0]
    assert line.document["approvals"] == 1
    assert line.document["silent"] == 1
    assert line.document["abstentions"] == 1
    assert line.text == "round 1: 0x1111...1111 accepted, 1 of 3 others approved, 1 needed"
    assert (line.document["height"], line.document["time"]) == (7, 100)
    empty = told(narrator, Closed(1, 2, 1, 3, PROPOSAL))[0]
    assert empty.text == "round 2: 0x2222...2222 (you) no proposal"
    assert "approvals" not in empty.document


def test_members_come_and_go_when_a_round_opens():
    narrator, _ = seated()
    told(narrator, Member(1, C, MemberStatus.LEAVING), Joined(1, D, 3, ZERO))
    proposed(narrator, 1)
    assert told(narrator, Closed(1, 1, 0, 2, MODEL))[0].document["members"] == 3
    told(narrator, Opened(1, 2, Phase.PROPOSE, 1, 300), Joined(1, C, 4, ZERO))
    proposed(narrator, 2, 1, B)
    assert told(narrator, Closed(1, 2, 1, 2, MODEL))[0].document["members"] == 3
    told(narrator, Opened(1, 3, Phase.PROPOSE, 3, 300))
    proposed(narrator, 3, 3, D)
    line = told(narrator, Closed(1, 3, 3, 2, MODEL))[0]
    assert line.document["members"] == 4
    assert line.document["proposer"] == D


@pytest.mark.parametrize(
    ("event", "text", "name"),
    [
        (Missed(1, 4, Phase.VOTE, 0b101), "round 4: 0x1111...1111 missed the vote deadline", "missed"),
        (MotionSupported(1, A, NOBODY, MotionKind.FINISH, 0, True), "0x1111...1111 supports the motion to end the experiment, which passes", "motion"),
        (MotionSupported(1, A, B, MotionKind.EXPEL, 0, False), "0x1111...1111 supports the motion to expel 0x2222...2222 (you)", "motion"),
        (Awoke(1, C), "0x3333...3333 is back", "awoke"),
        (Member(1, D, MemberStatus.ADMITTED), "0x4444...4444 may join: the members admit it", "admitted"),
        (Confirmed(1, B, MODEL), "0x2222...2222 (you) holds the final model", "confirmed"),
        (Opened(1, 9, Phase.OVER, 0, 0), "The experiment is over.", "over"),
    ],
)  # fmt: skip
def test_everything_that_matters_has_a_line(event, text, name):
    narrator, _ = seated()
    line = told(narrator, event)[0]
    assert line.text == text
    assert line.document["event"] == name


def test_other_experiments_of_the_ledger_are_not_told():
    narrator, lines = seated()
    assert [line.document["event"] for line in lines] == [
        "created",
        "joined",
        "joined",
        "joined",
        "started",
    ]
    assert told(narrator, Joined(2, D, 0, ZERO), Closed(2, 1, 0, 1, MODEL)) == []


def test_a_ledger_that_is_read_again_is_told_again_and_the_same():
    narrator, first = seated()
    proposed(narrator, 1)
    one = told(narrator, vote(B), Closed(1, 1, 0, 1, PROPOSAL))
    word = Rules(Fraction(1, 2)).to_word()
    again = told(narrator, Created(1, A, ZERO, MODEL, word, ""))
    for seat, member in enumerate((A, B, C)):
        again += told(narrator, Joined(1, member, seat, ZERO))
    again += told(narrator, Started(1, ZERO), Opened(1, 1, Phase.PROPOSE, 0, 200))
    assert again == first
    proposed(narrator, 1)
    assert told(narrator, vote(B), Closed(1, 1, 0, 1, PROPOSAL)) == one


def test_a_seat_that_is_given_again_belongs_to_the_last_one_and_nothing_unheard_breaks_it():
    narrator, _ = seated((A, B))
    told(narrator, Joined(1, D, 1, ZERO))
    assert told(narrator, Closed(1, 1, 1, 3, MODEL))[0].document["proposer"] == D
    assert told(narrator, Closed(1, 1, 9, 3, MODEL))[0].document["proposer"] == NOBODY
