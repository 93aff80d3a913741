"""A proposal that claims too much, or nothing where something was agreed, gets no vote (P3.5)."""

import numpy as np
import pytest

from colearn import (
    DiffPrivBudget,
    DiffPrivConfig,
    ProposedWeights,
    TrainingSummary,
    Weights,
    run_one_round,
)
from colearn.audit import audit, open_source
from colearn.core import Ballot
from colearn.experiment import Collective
from colearn.interface import ErrorCodes
from colearn.privacy.claim import config_digest
from colearn.store import Archive, MemoryStore
from colearn.weights import freeze
from colearn.worker import Judge, LocalWorker, Propose

AGREED = DiffPrivConfig(target_epsilon=3.0, target_delta=1e-5, max_grad_norm=1.0)
MODEL = {"w": np.zeros(3)}


def claim(consumed=1.0, target=3.0, *, delta=1e-5, config=None, noise="secure"):
    budget = DiffPrivBudget(
        target_epsilon=target, target_delta=1e-5, consumed_epsilon=consumed, consumed_delta=delta
    )
    digest = config_digest(AGREED) if config is None else config
    return TrainingSummary(dp_budget=budget, dp_config=digest, dp_noise=noise)


def raw(made):
    """Return a claim as a liar writes it, whatever it says."""
    budget = made.dp_budget
    return {
        "dp.config": made.dp_config,
        "dp.noise": made.dp_noise,
        **{f"dp.{name}": repr(value) for name, value in budget.model_dump().items()},
    }


class Member:
    """Proposes with the claims it is given, and approves of everything."""

    def __init__(self, name="ada", claims=()):
        self.name, self.claims = name, list(claims)
        self.model, self.turns, self.asked = MODEL["w"], 0, 0

    def mli_propose_weights(self):
        self.turns += 1
        made = self.claims.pop(0) if self.claims else None
        return Weights(weights={"w": self.model + self.turns}, training_summary=made)

    def mli_test_weights(self, weights):
        self.asked += 1
        return ProposedWeights(weights=weights, vote_score=1.0, vote=True)

    def mli_accept_weights(self, weights):
        self.model = weights.weights["w"]

    def mli_get_current_weights(self):
        return Weights(weights={"w": self.model})


BAD = {
    "no claim": None,
    "over the target": claim(3.0000001),
    "another target": claim(1.0, 30.0),
    "more delta": claim(delta=2e-5),
    "other settings": claim(config="ab" * 32),
    "a simulation": claim(noise="simulation"),
    "negative": claim(-1.0),
}


@pytest.mark.parametrize("made", BAD.values(), ids=BAD)
def test_no_honest_voter_approves_it_and_none_is_asked(made):
    archive = Archive(MemoryStore())
    model = archive.get(archive.put(freeze(MODEL)))
    metadata = {} if made is None else raw(made)
    digest = archive.put(archive.freeze({"w": np.ones(3)}, metadata=metadata))
    voter = Member()
    worker = LocalWorker(voter, archive, model.digest, privacy=AGREED)
    done = worker.work(Judge(1, model.digest, (digest,)))
    assert done.ballots == (Ballot.REJECT,)
    assert voter.asked == 0
    assert done.observations[0].reason


def test_at_exactly_the_target_it_is_judged():
    archive = Archive(MemoryStore())
    model = archive.get(archive.put(freeze(MODEL)))
    worker = LocalWorker(Member(claims=[claim(3.0)]), archive, model.digest, privacy=AGREED)
    done = worker.work(Propose(1, model.digest))
    assert done.proposal is not None
    assert worker.work(Judge(2, model.digest, (done.proposal,))).ballots == (Ballot.APPROVE,)


@pytest.mark.parametrize("made", BAD.values(), ids=BAD)
def test_its_own_node_makes_no_proposal_of_it(made):
    archive = Archive(MemoryStore())
    model = archive.get(archive.put(freeze(MODEL)))
    worker = LocalWorker(Member(claims=[made]), archive, model.digest, privacy=AGREED)
    done = worker.work(Propose(1, model.digest))
    assert done.proposal is None
    assert done.observations[0].reason


def test_the_minimal_driver_refuses_what_is_over_its_own_target():
    group = [Member("a", [claim(3.1)]), Member("b"), Member("c")]
    assert not run_one_round(0, group)[1]
    assert all(each.asked == 0 for each in group)
    group = [Member("a", [claim(3.0)]), Member("b"), Member("c")]
    assert run_one_round(0, group)[1]


def test_a_spent_budget_is_a_turn_without_a_proposal():
    spent = TrainingSummary(error_code=ErrorCodes.DP_BUDGET_EXCEEDED)
    run = Collective([Member("a", [spent]), Member("b", [claim()])], privacy=AGREED)
    records = list(run.rounds(2))
    assert [str(each.outcome) for each in records] == ["no proposal", "accepted"]
    assert records[0].reason == "DP_BUDGET_EXCEEDED"
    run.close()


def audited(tmp_path, members, rounds, privacy=AGREED):
    run = Collective(members, directory=tmp_path / "run", privacy=privacy)
    for _ in run.rounds(rounds):
        pass
    run.close()
    report = audit(open_source(str(tmp_path / "run")))
    return {check.number: check for check in report.checks}


def test_the_audit_passes_claims_that_rise_to_the_target(tmp_path):
    members = [Member("a", [claim(1.0), claim(3.0)]), Member("b", [claim(0.5), claim(2.0)])]
    check = audited(tmp_path, members, 4)[11]
    assert check.verdict == "passed"
    assert check.detail == "4 claims read"


def test_the_audit_finds_a_claim_that_falls(tmp_path):
    members = [Member("a", [claim(2.0), claim(1.9)]), Member("b", [claim(1.0), claim(2.0)])]
    (finding,) = audited(tmp_path, members, 4)[11].findings
    assert "at least 2" in finding.expected
    assert finding.found == "1.9"


def test_the_audit_finds_an_accepted_proposal_that_claims_nothing(tmp_path):
    # A group that accepts what its own specification forbids: here every member is dishonest.
    run = Collective(
        [Member("a"), Member("b")],
        directory=tmp_path / "run",
        terms={"proposal_privacy": AGREED.model_dump(mode="json")},
    )
    assert str(next(iter(run.rounds(1))).outcome) == "accepted"
    run.close()
    report = audit(open_source(str(tmp_path / "run")))
    (check,) = (each for each in report.checks if each.number == 11)
    assert check.verdict == "failed"
    assert check.findings[0].rule == "P3.5"


def test_an_experiment_without_privacy_has_nothing_to_find(tmp_path):
    check = audited(tmp_path, [Member("a"), Member("b")], 2, privacy=None)[11]
    assert check.verdict == "passed"
    assert check.detail == "no privacy was agreed on"
