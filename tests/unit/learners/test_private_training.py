"""Private training through the template: asked and paid for before a row is touched."""

import os

import numpy as np
import pytest
from tests.private_learners import (
    CONFIG,
    Slope,
    learner,
    ledgers,
    partition,
    proposal,
    rows,
    spends,
)

from colearn import run_one_round
from colearn.errors import ConfigError, LearnerError, SpendsCorruptError, SpendsUnavailableError
from colearn.interface import ErrorCodes, PrivacyUnit, VotePrivacyConfig
from colearn.privacy import (
    Partition,
    Privacy,
    PrivacyLedger,
    SampledGaussian,
    ZeroConcentrated,
    epsilon_of,
    rho_for,
)
from colearn.privacy.claim import check_claim, config_digest

SIMULATED = CONFIG.model_copy(update={"noise": "simulation"})
DELTA = CONFIG.target_delta


def asked(folder, config=CONFIG, votes=None, **changes):
    config = None if config is None else config.model_copy(update=changes)
    return Privacy(proposals=config, votes=votes, directory=folder)


def slope(weights):
    return float(weights.weights["w"][0])


def test_a_proposal_says_what_it_has_spent_and_the_record_agrees(tmp_path):
    one = learner(asked(tmp_path))
    spent = []
    for count in (1, 2, 3):
        proposed = one.mli_propose_weights()
        summary = proposed.training_summary
        check_claim(summary, CONFIG)
        assert (summary.error_code, summary.dp_noise) == (None, "secure")
        assert summary.dp_config == config_digest(CONFIG)
        spent.append(summary.dp_budget.consumed_epsilon)
        assert spent[-1] == epsilon_of([each.spend for each in spends(tmp_path)], DELTA)
        assert len(spends(tmp_path, "train")) == len(spends(tmp_path)) == count
        one.mli_accept_weights(proposed)
    assert 0 < spent[0] < spent[1] < spent[2] <= 4.0
    assert spent[2] > 3.99


def test_a_spent_budget_returns_the_current_weights_and_touches_no_row(tmp_path):
    family = Slope()
    one = learner(asked(tmp_path, planned_proposals=1), family=family)
    one.mli_accept_weights(one.mli_propose_weights())
    before, record = one.mli_get_current_weights().weights.digest, ledgers(tmp_path)[0].path
    written = record.read_bytes()
    family.predicted.clear()
    for _ in range(2):
        refused = one.mli_propose_weights()
        assert refused.weights.digest == before
        assert refused.training_summary.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
        assert refused.training_summary.dp_budget.consumed_epsilon <= 4.0
    assert (len(family.trainings), family.fitted, family.predicted) == (1, 0, [])
    assert record.read_bytes() == written


def test_the_spend_is_written_before_the_rows_are_touched_and_a_crash_counts(tmp_path):
    class Fails(Slope):
        def fit_privately(self, model, X, y, training, seed):
            self.trainings.append(len(spends(tmp_path, "train")))
            raise RuntimeError("a bad day")

    family = Fails()
    one = learner(asked(tmp_path), family=family)
    for _ in range(3):
        with pytest.raises(LearnerError, match="a bad day"):
            one.mli_propose_weights()
    assert family.trainings == [1, 2, 3]
    code = one.mli_propose_weights().training_summary.error_code
    assert code is ErrorCodes.DP_BUDGET_EXCEEDED


def test_a_damaged_record_is_a_code_and_nothing_is_begun_anew(tmp_path):
    family = Slope()
    one = learner(asked(tmp_path), family=family)
    one.mli_propose_weights()
    path = ledgers(tmp_path)[0].path
    path.write_bytes(path.read_bytes() + b"{}\n")
    refused = one.mli_propose_weights()
    assert refused.training_summary.error_code is ErrorCodes.DP_LEDGER_CORRUPT
    assert refused.training_summary.dp_budget is None
    assert slope(refused) == 0.0
    assert len(family.trainings) == 1
    with pytest.raises(SpendsCorruptError):
        learner(asked(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs the permissions of Unix")
def test_a_record_that_cannot_be_written_is_a_code(tmp_path):
    family = Slope()
    one = learner(asked(tmp_path / "spends"), family=family)
    (path,) = (tmp_path / "spends").glob("*.spends.jsonl")
    # Root may write any file, so a folder stands in its place.
    path.unlink()
    path.mkdir()
    refused = one.mli_propose_weights()
    assert refused.training_summary.error_code is ErrorCodes.DP_LEDGER_UNAVAILABLE
    assert family.trainings == []
    with pytest.raises(SpendsUnavailableError):
        learner(asked(tmp_path / "spends"))


def test_a_round_whose_proposer_is_spent_asks_nobody_to_vote(tmp_path):
    spent = learner(asked(tmp_path / "a", planned_proposals=1), name="a")
    spent.mli_propose_weights()
    family = Slope()
    entries, accepted = run_one_round(0, [spent, learner(None, name="b", family=family)])
    assert not accepted
    assert [each.vote for each in entries] == [None, None]
    assert family.predicted == []


def test_a_learner_made_anew_goes_on_with_the_same_record(tmp_path):
    first = learner(asked(tmp_path))
    noise = first._private._budget.noise_multiplier
    for _ in range(2):
        first.mli_propose_weights()
    again = learner(asked(tmp_path))
    assert again._private._budget.noise_multiplier == noise
    assert again.mli_propose_weights().training_summary.error_code is None
    for one in (first, again, learner(asked(tmp_path))):
        code = one.mli_propose_weights().training_summary.error_code
        assert code is ErrorCodes.DP_BUDGET_EXCEEDED


def test_two_experiments_on_the_same_rows_share_the_budget(tmp_path):
    one = learner(asked(tmp_path), name="one")
    other = learner(asked(tmp_path), name="other", seed=9)
    for each in (one, other, one):
        assert each.mli_propose_weights().training_summary.error_code is None
    code = other.mli_propose_weights().training_summary.error_code
    assert code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert len(ledgers(tmp_path)) == 1
    assert [each.purpose for each in spends(tmp_path)] == [
        "proposal of one", "proposal of other", "proposal of one",
    ]  # fmt: skip


def divided(first, second):
    """Return the same 100 rows, divided at two places."""
    X, y = rows(100, 4)
    return {"train": (X[:first], y[:first]), "vote": (X[second:], y[second:])}


def test_another_division_of_the_same_rows_adds_to_all_its_parts(tmp_path):
    votes = VotePrivacyConfig(epsilon=4.0, planned_votes=10)
    learner(asked(tmp_path), **divided(60, 60)).mli_propose_weights()
    consumed = ledgers(tmp_path)[0].consumed
    other = learner(asked(tmp_path, None, votes), **divided(50, 50))
    other.mli_test_weights(proposal(3))
    assert len(ledgers(tmp_path)) == 1
    train, vote = partition(tmp_path, "train"), partition(tmp_path, "vote")
    assert train.split != vote.split
    both = epsilon_of([each.spend for each in spends(tmp_path)], DELTA)
    assert consumed(train, DELTA) == consumed(vote, DELTA) == both


def test_the_parts_of_one_division_do_not_add(tmp_path):
    votes = VotePrivacyConfig(epsilon=4.0, delta=DELTA, planned_votes=1)
    one = learner(asked(tmp_path, planned_proposals=1, votes=votes))
    assert one.mli_propose_weights().training_summary.error_code is None
    assert one.mli_test_weights(proposal(3)).vote is not None
    (ledger,) = ledgers(tmp_path)
    for part in ("train", "vote"):
        (own,) = spends(tmp_path, part)
        assert ledger.consumed(own.partition, DELTA) == epsilon_of([own.spend], DELTA)
        assert 3.9 < ledger.consumed(own.partition, DELTA) <= 4.0


def moments(folder, epsilon):
    """Spend what shared moments take of the one dataset in a folder."""
    ledger = ledgers(folder)[0]
    whole = Partition("moments", "moments")
    rho = rho_for(epsilon, DELTA)
    ledger.spend(whole, ZeroConcentrated(rho), epsilon=epsilon, delta=DELTA, purpose="moments")
    return ledger


def test_all_planned_proposals_and_votes_fit_beside_moments_that_were_spent_before(tmp_path):
    votes = VotePrivacyConfig(epsilon=4.0, delta=DELTA, planned_votes=5)
    learner(asked(tmp_path, votes=votes))
    ledger = moments(tmp_path, 1.0)
    one = learner(asked(tmp_path, votes=votes))
    for _ in range(3):
        proposed = one.mli_propose_weights()
        assert proposed.training_summary.error_code is None
    for w in range(1, 6):
        assert one.mli_test_weights(proposal(w)).vote is not None
    code = one.mli_propose_weights().training_summary.error_code
    assert code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert one.mli_test_weights(proposal(6)).vote is None
    for part in ("train", "vote"):
        assert 3.95 < ledger.consumed(partition(tmp_path, part), DELTA) <= 4.0


def test_where_moments_have_left_nothing_every_proposal_and_vote_is_refused(tmp_path):
    votes = VotePrivacyConfig(epsilon=0.5, delta=DELTA, planned_votes=5)
    learner(asked(tmp_path, votes=votes, target_epsilon=0.5))
    moments(tmp_path, 0.6)
    family = Slope()
    one = learner(asked(tmp_path, votes=votes, target_epsilon=0.5), family=family)
    summary = one.mli_propose_weights().training_summary
    assert summary.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert summary.dp_budget.consumed_epsilon > 0.5
    assert one.mli_test_weights(proposal(3)).vote is None
    assert (family.trainings, family.predicted) == ([], [])


@pytest.mark.parametrize("damping", [1.0, 0.25])
def test_a_private_step_is_damped_as_any_other(tmp_path, damping):
    full = slope(learner(asked(tmp_path / "a", SIMULATED)).mli_propose_weights())
    # The damping of a step that has its noise already reveals no more.
    damped = learner(asked(tmp_path / "b", SIMULATED), damping=damping).mli_propose_weights()
    assert slope(damped) == pytest.approx(damping * full)
    assert abs(full) > 0.1


def test_simulated_noise_repeats_with_seed_and_turn_and_secure_noise_never(tmp_path):
    def proposals(folder, config, **more):
        one = learner(asked(tmp_path / folder, config), **more)
        return [slope(one.mli_propose_weights()) for _ in range(3)]

    assert proposals("a", SIMULATED) == proposals("b", SIMULATED)
    assert len(set(proposals("c", SIMULATED))) == 3
    assert proposals("d", SIMULATED) != proposals("e", SIMULATED, seed=1)
    assert proposals("f", CONFIG) != proposals("g", CONFIG)


def test_a_round_that_is_trained_again_repeats_only_a_simulation(tmp_path):
    one = learner(asked(tmp_path / "a", SIMULATED))
    other = learner(asked(tmp_path / "b"))
    for each, alike in ((one, True), (other, False)):
        drawn = []
        for _ in range(2):
            each.begin_round(7)
            drawn.append(slope(each.mli_propose_weights()))
        assert (drawn[0] == drawn[1]) is alike
    assert len(spends(tmp_path / "b")) == 2


def test_the_noise_is_what_was_paid_for(tmp_path):
    count = 60
    one = learner(asked(tmp_path, planned_proposals=30))
    drawn = [slope(one.mli_propose_weights()) for _ in range(30)]
    (noise,) = {each.spend.noise_multiplier for each in spends(tmp_path)}
    assert {each.spend for each in spends(tmp_path)} == {SampledGaussian(noise, 1.0, 1)}
    # Each is (60 rows + noise) / 60. The sum of 30 squares of standard normal numbers lies in
    # (5, 85) but for 1e-6 of all.
    squares = (count * (np.array(drawn) - 1) / noise) ** 2
    assert 5 < squares.sum() < 85


def test_users_are_the_units_and_only_some_of_their_rows_take_part(tmp_path):
    unit = PrivacyUnit(kind="user", max_records_per_user=2)
    family = Slope()
    users = ([f"u{each // 6}" for each in range(60)], ["v"] * 200)
    one = learner(asked(tmp_path, unit=unit), users=users, family=family)
    one.mli_propose_weights()
    (training,) = family.trainings
    assert (training.units_count, training.rows_count) == (10, 60)
    assert training.expected_batch_size == 10.0
    with pytest.raises(ConfigError, match="users="):
        learner(asked(tmp_path, unit=unit))


def test_a_family_without_private_training_is_refused_before_a_record_is_opened(tmp_path):
    family = Slope()
    family.trains_privately = False
    with pytest.raises(ConfigError, match=r"'mine' cannot train privately.*TorchLearner"):
        learner(asked(tmp_path), family=family, name="mine")
    assert not list(tmp_path.iterdir())


def test_what_a_family_refuses_is_refused_before_a_record_is_opened(tmp_path):
    family = Slope()

    def refuse(config):
        raise ConfigError(f"not at epsilon {config.target_epsilon}")

    family.require_private = refuse
    with pytest.raises(ConfigError, match="not at epsilon 4"):
        learner(asked(tmp_path), family=family)
    assert not list(tmp_path.iterdir())


def test_noise_without_a_plan_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="planned_proposals"):
        learner(asked(tmp_path, planned_proposals=None))
    one = learner(asked(tmp_path, planned_proposals=None, noise_multiplier=20.0))
    assert one.mli_propose_weights().training_summary.error_code is None


def test_training_is_open_where_only_votes_are_private(tmp_path):
    one = learner(asked(tmp_path, None, VotePrivacyConfig()))
    proposed = one.mli_propose_weights()
    assert proposed.training_summary is None
    assert slope(proposed) == 1.0
    assert spends(tmp_path) == []


def test_names_of_datasets_join_records_of_rows_that_differ(tmp_path):
    for seed in (1, 2):
        own = Privacy(proposals=CONFIG, directory=tmp_path, dataset="clinic")
        one = learner(own, train=rows(60, seed), vote=rows(90, 10 + seed))
        one.mli_propose_weights()
    ledger = PrivacyLedger.open(tmp_path, "clinic")
    assert len(ledgers(tmp_path)) == 1
    budget = one.mli_propose_weights().training_summary.dp_budget
    parts = {each.partition for each in spends(tmp_path)}
    assert len(parts) == 2
    assert {ledger.consumed(each, DELTA) for each in parts} == {budget.consumed_epsilon}
