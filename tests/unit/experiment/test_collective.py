import json

import numpy as np
import pytest

from colearn import Collective, ProposedWeights, Weights
from colearn.core import Outcome
from colearn.errors import ColearnError, ConfigError
from colearn.experiment import RoundRecord, RunFolder
from colearn.schema import Schema


class Counter:
    """Adds one to its only number; votes yes when the proposal is larger."""

    def __init__(self, name, size=3, step=1.0, schema=None):
        self.name, self.step = name, step
        self.arrays = {"w": np.zeros(size)}
        if schema is not None:
            self.schema = schema

    def mli_propose_weights(self):
        if self.step is None:
            raise RuntimeError("out of order")
        return Weights(weights={"w": self.arrays["w"] + self.step})

    def mli_test_weights(self, weights):
        score = float(weights.weights["w"].sum())
        return ProposedWeights(
            weights=weights, vote_score=score, vote=score > float(self.arrays["w"].sum())
        )

    def mli_accept_weights(self, weights):
        self.arrays = weights.weights

    def mli_get_current_weights(self):
        return Weights(weights=self.arrays)

    def mli_get_current_model(self):
        raise NotImplementedError


def group(*steps):
    return [Counter(f"l{place}", step=step) for place, step in enumerate(steps)]


def test_turns_go_round_and_everybody_ends_with_the_same_model():
    learners = group(1.0, 1.0, 1.0)
    run = Collective(learners)
    records = list(run.rounds(6))
    assert [record.proposer for record in records] == ["l0", "l1", "l2"] * 2
    assert [record.round_number for record in records] == [1, 2, 3, 4, 5, 6]
    assert all(record.outcome is Outcome.ACCEPTED for record in records)
    assert {float(learner.arrays["w"][0]) for learner in learners} == {6.0}
    assert run.weights_["w"] == pytest.approx([6.0] * 3)
    assert run.stopped_ == "rounds"
    assert [record.round_number for record in run.rounds(1)] == [7]


def test_a_bad_proposal_is_rejected_and_a_failing_proposer_costs_its_turn():
    run = Collective(group(1.0, -1.0, None))
    first, second, third, fourth = run.rounds(4)
    assert (second.outcome, second.approvals, second.model) == (
        Outcome.REJECTED,
        0,
        first.model,
    )
    assert third.outcome is Outcome.NO_PROPOSAL
    assert third.failures == {"l2": "RuntimeError"}
    assert "out of order" in third.reason
    assert third.votes == {}
    assert fourth.outcome is Outcome.ACCEPTED


def test_patience_counts_proposals_that_were_not_accepted():
    run = Collective(group(-1.0, None, -1.0), patience=3)
    assert len(list(run.rounds(20))) == 4
    assert run.stopped_ == "patience"


def test_a_target_stops_the_run():
    run = Collective(group(1.0, 1.0), target=9.0)
    records = list(run.rounds(20))
    assert [record.score for record in records] == [3.0, 6.0, 9.0, 9.0]
    # The motion ends the experiment after the round that is open by then, which is skipped.
    assert (records[3].outcome, records[3].reason) == (
        Outcome.NO_PROPOSAL,
        "the experiment ends with this round",
    )
    assert run.stopped_ == "target"
    assert run.over_
    assert list(run.rounds(20)) == []


def test_one_inflated_score_does_not_reach_the_target():
    class Boaster(Counter):
        def mli_test_weights(self, weights):
            return ProposedWeights(weights=weights, vote_score=1e9, vote=True)

    run = Collective([*group(1.0, 1.0), Boaster("boaster")], target=1e6)
    assert len(list(run.rounds(6))) == 6


def test_a_proposal_that_is_no_named_arrays_is_never_published():
    class Lists(Counter):
        def mli_propose_weights(self):
            return Weights(weights=[1, 2, 3])

    run = Collective([Lists("a"), Counter("b"), Counter("c")])
    (record,) = run.rounds(1)
    assert record.outcome is Outcome.NO_PROPOSAL
    assert "list" in record.reason


@pytest.mark.parametrize(
    ("learners", "message"),
    [
        ([], "at least 2"),
        ([Counter("a")], "at least 2"),
        ([Counter("a"), Counter("a")], "called 'a'"),
        ([Counter("a"), Counter("b", size=4)], "array 'w'|Array 'w'"),
        (
            [Counter("a", schema=Schema.of(["x"])), Counter("b", schema=Schema.of(["y"]))],
            "column 'x'",
        ),
        (
            [
                Counter("a", schema=Schema.of(1, [0, 1])),
                Counter("b", schema=Schema.of(1, [0, 2])),
            ],
            "class 1 is missing",
        ),
    ],
)
def test_a_group_that_does_not_fit_is_refused_by_name(learners, message):
    with pytest.raises(ConfigError, match=message):
        Collective(learners)


def test_another_model_0_is_refused_by_the_name_of_the_array():
    other = Counter("b")
    other.arrays = {"w": np.ones(3)}
    with pytest.raises(ConfigError, match=r"'b' starts from another model .* array 'w'"):
        Collective([Counter("a"), other])


def test_the_same_object_twice_is_refused():
    one = Counter("a")
    with pytest.raises(ConfigError, match="twice"):
        Collective([one, one])


def test_bad_settings():
    with pytest.raises(ConfigError, match="patience"):
        Collective(group(1.0, 1.0), patience=0)
    with pytest.raises(ConfigError, match="threshold"):
        Collective(group(1.0, 1.0), threshold=2)
    with pytest.raises(ConfigError, match="at least 1"):
        next(Collective(group(1.0, 1.0)).rounds(0))


def test_a_run_folder_holds_records_timings_and_the_model(tmp_path):
    run = Collective(group(1.0, -1.0, 1.0), directory=tmp_path / "run")
    records = list(run.rounds(3))
    folder = RunFolder.open(tmp_path / "run")
    assert folder.records() == records
    assert folder.model().digest == run.weights_.digest
    timings = (tmp_path / "run" / "timings.jsonl").read_text().splitlines()
    assert [json.loads(line)["round_number"] for line in timings] == [1, 2, 3]
    assert "_s" not in (tmp_path / "run" / "rounds.jsonl").read_text().replace("_scores", "")
    with pytest.raises(ConfigError, match="holds a run already"):
        Collective(group(1.0, 1.0), directory=tmp_path / "run")


def test_a_folder_that_cannot_be_made_or_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ColearnError, match="Cannot write"):
        Collective(group(1.0, 1.0), directory=tmp_path / "file" / "run")
    with pytest.raises(ConfigError, match="no run"):
        RunFolder.open(tmp_path)


def test_a_full_disk_is_an_error_that_says_so_and_keeps_what_was_written(tmp_path):
    run = Collective(group(1.0, 1.0), directory=tmp_path / "run")
    rounds = run.rounds(3)
    next(rounds)
    written = (tmp_path / "run" / "rounds.jsonl").read_text()
    (tmp_path / "run" / "timings.jsonl").unlink()
    (tmp_path / "run" / "timings.jsonl").symlink_to("/dev/full")
    with pytest.raises(ColearnError, match=r"timings.jsonl.*Free some space"):
        next(rounds)
    assert (tmp_path / "run" / "rounds.jsonl").read_text().startswith(written)


@pytest.mark.parametrize("line", ["", "{}", "[]", "{", '{"votes": 3, "outcome": "accepted"}'])
def test_lines_that_are_no_records(line):
    with pytest.raises(ConfigError, match="round record"):
        RoundRecord.from_json(line)


def test_a_notebook_shows_a_table_in_which_nothing_runs():
    run = Collective([Counter("<script>alert(1)</script>"), Counter("b")])
    list(run.rounds(3))
    html = run._repr_html_()
    assert "3 rounds" in html
    assert "<script>" not in html
    assert html.count("<tr>") == 4


@pytest.mark.parametrize(
    "fields", [{"vote_score": "best"}, {"test_score": []}, {"vote": "no"}, {"vote_score": 10**400}]
)
def test_a_forged_entry_is_silence_and_takes_no_round_down(fields):
    class Forger(Counter):
        def mli_test_weights(self, weights):
            fair = {"weights": weights, "vote_score": 1.0, "test_score": None, "vote": False}
            return ProposedWeights.model_construct(**{**fair, **fields})

    run = Collective([*group(1.0, 1.0), Forger("forger")])
    for record in run.rounds(3):
        assert record.outcome is Outcome.ACCEPTED
        assert record.votes.get("forger", "silent") == "silent"
        assert RoundRecord.from_json(record.to_json()) == record
