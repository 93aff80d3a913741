"""Votes of learners whose rows are private: one bit, paid for, and nothing beside it."""

import importlib
import math

import numpy as np
import pytest
from tests.private_learners import (
    CONFIG,
    Line,
    Slope,
    learner,
    ledgers,
    partition,
    proposal,
    rows,
    spends,
)

from colearn import RandomForestLearner, SklearnLearner, run_one_round
from colearn.errors import ConfigError, SpendsCorruptError
from colearn.interface import DiffPrivConfig, PrivacyUnit, VotePrivacyConfig
from colearn.privacy import Partition, PrivacyLedger, VoteEntry, ZeroConcentrated, epsilon_of
from colearn.privacy import Privacy as Asked

VOTES = VotePrivacyConfig()


def asked(folder, config=VOTES, **changes):
    return Asked(votes=config.model_copy(update=changes), directory=folder)


def sklearn_learner(name, numbers=False, **settings):
    estimator = getattr(importlib.import_module(name.partition(":")[0]), name.partition(":")[2])
    return lambda **given: SklearnLearner(estimator(**settings), **data(numbers), **given)


def data(numbers=False):
    X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    y = X[:, 0] - X[:, 1]
    own = {} if numbers else {"classes": range(2)}
    y = y.astype(float) if numbers else (y > 0).astype(int)
    return {"train": (X[:60], y[:60]), "vote": (X[60:100], y[60:100]), "test": (X[100:], y[100:]), **own}  # fmt: skip


def torch_learner(**given):
    torch = pytest.importorskip("torch")
    from colearn.learners import TorchLearner

    return TorchLearner(lambda: torch.nn.Linear(4, 2), **data(), **given)


def keras_learner(**given):
    from tests.keras_learners import linear

    from colearn.learners.keras import KerasLearner

    return KerasLearner(lambda: linear(2), **data(), **given)


def boosted(name):
    def make(**given):
        pytest.importorskip(name.lower().removesuffix("learner"))
        return getattr(importlib.import_module("colearn.learners"), name)(**data(), **given)

    return make


ADAPTERS = {
    "sgd": sklearn_learner("sklearn.linear_model:SGDClassifier", loss="log_loss"),
    "hinge": sklearn_learner("sklearn.linear_model:SGDClassifier"),
    "numbers": sklearn_learner("sklearn.linear_model:SGDRegressor", numbers=True),
    "mlp": sklearn_learner("sklearn.neural_network:MLPClassifier", hidden_layer_sizes=(4,)),
    "naive bayes": sklearn_learner("sklearn.naive_bayes:GaussianNB"),
    "forest": lambda **given: RandomForestLearner(trees_per_proposal=2, **data(), **given),
    "torch": torch_learner,
    "keras": keras_learner,
    "xgboost": boosted("XGBoostLearner"),
    "lightgbm": boosted("LightGBMLearner"),
}


@pytest.mark.parametrize("make", ADAPTERS.values(), ids=ADAPTERS)
def test_a_vote_is_one_bit_and_each_question_is_paid_for_once(tmp_path, make):
    voter = make(name="voter", privacy=asked(tmp_path, planned_votes=2, epsilon=8.0))
    other = make(name="other", seed=1)
    answers = []
    for paid in (1, 2):
        proposed = other.mli_propose_weights()
        entry = voter.mli_test_weights(proposed)
        assert type(entry.vote) is bool
        assert math.isnan(entry.vote_score)
        assert entry.test_score is None
        assert voter.monitored == {}
        assert [voter.mli_test_weights(proposed).vote for _ in range(3)] == [entry.vote] * 3
        assert len(spends(tmp_path, "vote")) == len(spends(tmp_path)) == paid
        answers.append(entry.vote)
        for each in (voter, other):
            each.mli_accept_weights(proposed)
    assert voter.mli_test_weights(other.mli_propose_weights()).vote is None
    kept = [each.vote for each in ledgers(tmp_path)[0].entries() if isinstance(each, VoteEntry)]
    assert kept == answers


def test_what_is_spent_is_no_more_than_what_was_agreed(tmp_path):
    voter = learner(asked(tmp_path, planned_votes=50))
    for w in range(1, 51):
        assert voter.mli_test_weights(proposal(w)).vote is not None
    (ledger,) = ledgers(tmp_path)
    consumed = ledger.consumed(partition(tmp_path, "vote"), 1e-6)
    assert 1.99 < consumed <= 2.0
    assert consumed == epsilon_of([each.spend for each in spends(tmp_path)], 1e-6)
    assert voter.mli_test_weights(proposal(51)).vote is None


def test_who_has_spent_it_abstains_and_looks_at_no_row(tmp_path):
    family = Slope()
    voter = learner(asked(tmp_path, planned_votes=1), family=family)
    first = voter.mli_test_weights(proposal(9)).vote
    assert family.predicted.count(200) == 2  # of the vote set by both models
    family.predicted.clear()
    assert voter.mli_test_weights(proposal(8)).vote is None
    assert voter.mli_test_weights(proposal(9)).vote is first
    assert family.predicted == []
    assert len(spends(tmp_path)) == 1


def test_a_learner_made_anew_gives_the_same_answer_and_pays_nothing(tmp_path):
    # 20 fair coins: a second draw of each would agree with chance 1e-6.
    even = {"margin": 0.0, "planned_votes": 20}
    voter = learner(asked(tmp_path, **even))
    fair = [proposal(1e-9 * (1 + each)) for each in range(20)]
    answers = [voter.mli_test_weights(each).vote for each in fair]
    family = Slope()
    again = learner(asked(tmp_path, **even), family=family)
    assert [again.mli_test_weights(each).vote for each in fair] == answers
    assert family.predicted == []
    assert len(spends(tmp_path)) == 20


def test_a_damaged_record_abstains_and_one_that_was_damaged_before_is_refused(tmp_path):
    voter = learner(asked(tmp_path))
    voter.mli_test_weights(proposal(1))
    (path,) = tmp_path.glob("*.spends.jsonl")
    path.write_bytes(path.read_bytes() + b"{}\n")
    assert voter.mli_test_weights(proposal(1)).vote is None
    assert voter.mli_test_weights(proposal(2)).vote is None
    with pytest.raises(SpendsCorruptError):
        learner(asked(tmp_path))


def group(folder, count=4, **settings):
    config = {"epsilon": 2.0, "planned_votes": 200, **settings}
    return [
        learner(asked(folder / f"{place}", **config), name=f"n{place}", seed=place,
                vote=rows(1000, 50 + place), train=rows(60, 80 + place))
        for place in range(count)
    ]  # fmt: skip


def test_a_round_accepts_a_clear_improvement_without_any_score(tmp_path):
    # s is about 600 and e0 0.059, so that a voter rejects with a chance below 1e-13.
    learners = group(tmp_path)
    entries, accepted = run_one_round(0, learners)
    assert accepted
    assert [each.vote for each in entries] == [None, True, True, True]
    assert all(math.isnan(each.vote_score) and each.test_score is None for each in entries)
    current = [each.mli_get_current_weights().weights["w"][0] for each in learners]
    assert current == [1.0] * 4


def test_a_round_rejects_what_is_clearly_worse(tmp_path):
    learners = group(tmp_path)
    for each in learners:
        each.mli_accept_weights(proposal(5))
    learners[1]._family.fit = lambda model, X, y, seed: {"w": -model["w"]}
    entries, accepted = run_one_round(1, learners)
    assert not accepted
    assert [each.vote for each in entries] == [False, None, False, False]


def test_the_proposer_asks_none_of_its_own_rows_and_pays_nothing(tmp_path):
    learners = group(tmp_path)
    before = list(learners[2]._family.predicted)
    run_one_round(2, learners)
    assert learners[2]._family.predicted == before
    assert [len(spends(tmp_path / f"{place}")) for place in range(4)] == [1, 1, 0, 1]


def test_learners_that_vote_privately_and_openly_stand_in_one_group(tmp_path):
    learners = [*group(tmp_path, 2), learner(None, name="open", vote=rows(1000, 9))]
    entries, accepted = run_one_round(0, learners)
    assert accepted
    assert [each.vote for each in entries] == [None, True, True]
    assert math.isfinite(entries[2].vote_score)


def test_every_row_counts_alike_whatever_its_class(tmp_path, monkeypatch):
    # One row of class 1 loses what 7 rows of class 0 win; balanced, it would weigh as much.
    X = np.concatenate([-rows(1, 1)[0], [[-1.0 - each / 10] for each in range(7)]])
    X[0] = -1.5
    y = np.array([1, *[0] * 7])
    voter = learner(asked(tmp_path), vote=(X, y))
    seen = summed(voter, monkeypatch)
    voter.mli_test_weights(proposal(3))
    losses = [Slope().predict({"w": np.array([w])}, X).losses(y) for w in (0.0, 3.0)]
    assert seen == [pytest.approx(losses[0] - losses[1])]


def summed(voter, monkeypatch):
    """Return a list that takes the differences which the mechanism gets."""
    seen, voting = [], voter._private._voting
    vote = voting.vote
    monkeypatch.setattr(
        voting, "vote",
        lambda question, differences: vote(question, lambda: seen.append(differences()) or seen[-1]),
    )  # fmt: skip
    return seen


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_user_says_the_sum_over_the_first_of_its_rows(tmp_path, monkeypatch, most):
    vote = rows(12, 3)
    names = np.array(["b", "a", "b", "c", "a", "b", "c", "b", "c", "c", "c", "c"])
    unit = PrivacyUnit(kind="user", max_records_per_user=most)
    voter = learner(
        asked(tmp_path, unit=unit), vote=vote, users=([f"t{each}" for each in range(60)], names)
    )
    seen = summed(voter, monkeypatch)
    voter.mli_test_weights(proposal(2))
    losses = [Slope().predict({"w": np.array([w])}, vote[0]).losses(vote[1]) for w in (0.0, 2.0)]
    own = losses[0] - losses[1]
    expected = [own[np.flatnonzero(names == each)[:most]].sum() for each in "abc"]
    assert seen == [pytest.approx(expected)]
    assert voter._private._voting.units_count == 3


def test_without_private_votes_a_learner_votes_as_ever(tmp_path):
    one = learner(Asked(proposals=CONFIG, directory=tmp_path))
    entry = one.mli_test_weights(proposal(3))
    assert entry.vote is True
    assert math.isfinite(entry.vote_score)
    assert entry.test_score == 1.0
    assert spends(tmp_path) == []


USERS = (["p"] * 60, ["q"] * 200)
BY_USER = PrivacyUnit(kind="user", max_records_per_user=3)
REFUSED = {
    "mode": ({"mode": "classic"}, {}, 'mode "classic".*mode = "paired"'),
    "class_weight": ({"class_weight": "balanced"}, {}, "class_weight"),
    "weights of vote rows": ({"vote": (*rows(20), np.ones(20))}, {}, "the rows' weights"),
    "weights of training rows": ({"train": (*rows(20, 5), np.ones(20))}, {}, "weights"),
    "monitor": ({"monitor": ["accuracy"]}, {}, "monitor"),
    "noised numbers": (
        {"classes": None, "family": Line()}, {"test_scores": "noised"}, 'test_scores "noised"',
    ),
    "noised log loss": (
        {"metric": "neg_log_loss"}, {"test_scores": "noised"}, 'test_scores "noised".*accuracy',
    ),
    "noised users": (
        {"users": USERS}, {"test_scores": "noised", "unit": BY_USER}, "noised test score.*row",
    ),
    "no users": ({}, {"unit": BY_USER}, "users="),
    "too few users": ({"users": (["p"], ["q"])}, {"unit": BY_USER}, r"users must.*60.*200"),
    "no lists": ({"users": 5}, {"unit": BY_USER}, "users must be two lists"),
    "one list": ({"users": (["p"] * 60,)}, {"unit": BY_USER}, "users must be two lists"),
    "users of many kinds": (
        {"users": (["p"] * 60, [None] * 199 + [3])}, {"unit": BY_USER}, "number or a text",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "config", "says"), REFUSED.values(), ids=REFUSED)
def test_settings_that_would_reveal_more_are_refused_by_name(tmp_path, settings, config, says):
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        learner(asked(tmp_path, **config), **settings)
    assert spends(tmp_path) == []


def test_a_user_in_both_sets_is_refused_where_both_are_spent(tmp_path):
    unit = PrivacyUnit(kind="user")
    users = ([f"u{each}" for each in range(60)], [f"v{each}" for each in range(199)] + ["u7"])
    proposals = CONFIG.model_copy(update={"unit": unit})
    votes = VotePrivacyConfig(unit=unit)
    with pytest.raises(ConfigError, match="User .*u7.* has training and vote rows"):
        learner(Asked(proposals=proposals, votes=votes, directory=tmp_path), users=users)
    learner(Asked(votes=votes, directory=tmp_path), users=users)
    learner(Asked(proposals=proposals, directory=tmp_path), users=users)


def test_a_noised_test_score_is_paid_for_and_drawn_anew(tmp_path):
    config = {"test_scores": "noised", "test_epsilon": 1.0, "planned_votes": 4, "delta": 1e-6}
    voter = learner(asked(tmp_path, **config), test=400)
    scores = []
    for w in (4, 5, 6, 4):
        entry = voter.mli_test_weights(proposal(w))
        assert math.isnan(entry.vote_score)
        scores.append(entry.test_score)
    assert all(type(each) is float and 0 <= each <= 1 for each in scores)
    assert len(spends(tmp_path, "test")) == 4
    assert len(spends(tmp_path, "vote")) == 3
    (ledger,) = ledgers(tmp_path)
    assert 0.99 < ledger.consumed(partition(tmp_path, "test"), 1e-6) <= 1.0
    spent = voter.mli_test_weights(proposal(5))
    assert spent.test_score is None
    assert spent.vote is not None
    assert len(spends(tmp_path, "test")) == 4


def test_noised_test_scores_have_the_noise_that_they_are_paid_with(tmp_path):
    half = rows(4000, 11)
    half[1][::2] = 1 - half[1][::2]
    config = {"test_scores": "noised", "test_epsilon": 1.0, "planned_votes": 100, "epsilon": 8.0}
    voter = learner(asked(tmp_path, **config), test=half, vote=20)
    draws = np.array([voter.mli_test_weights(proposal(4)).test_score for _ in range(100)])
    rho = spends(tmp_path, "test")[0].spend.rho
    assert isinstance(spends(tmp_path, "test")[0].spend, ZeroConcentrated)
    # The sum of 100 squares of standard normal numbers lies in (43, 180) but for 1e-6 of all.
    squares = ((draws - 0.5) * 4000) ** 2 * (2 * rho)
    assert 43 < squares.sum() < 180
    assert len(set(draws)) == 100


@pytest.mark.parametrize("count", [3, 7, 49])
def test_all_planned_scores_fit_beside_what_was_spent_elsewhere(tmp_path, count):
    config = {"test_scores": "noised", "planned_votes": count}
    own = Asked(votes=VOTES.model_copy(update=config), directory=tmp_path, dataset="d")
    ledger = PrivacyLedger.open(tmp_path, "d")
    spent = ZeroConcentrated(0.001)
    ledger.spend(Partition("other", "vote"), spent, epsilon=1.0, delta=1e-6, purpose="before")
    voter = learner(own)
    scores = [voter.mli_test_weights(proposal(each)).test_score for each in range(1, count + 1)]
    assert None not in scores
    assert 0.99 < ledger.consumed(partition(tmp_path, "test"), 1e-6) <= 1.0
    assert voter.mli_test_weights(proposal(99)).test_score is None


def test_no_noised_score_without_a_vote(tmp_path):
    config = {"test_scores": "noised", "planned_votes": 1}
    voter = learner(asked(tmp_path, **config))
    assert voter.mli_test_weights(proposal(4)).test_score is not None
    entry = voter.mli_test_weights(proposal(5))
    assert (entry.vote, entry.test_score) == (None, None)
    assert len(spends(tmp_path, "test")) == 1


def test_private_votes_need_no_test_rows(tmp_path):
    voter = learner(asked(tmp_path, test_scores="noised"), test=None)
    entry = voter.mli_test_weights(proposal(4))
    assert entry.test_score is None
    assert type(entry.vote) is bool


def test_the_record_of_spends_is_where_the_settings_say(tmp_path, monkeypatch):
    monkeypatch.setenv("COLEARN_PRIVACY", str(tmp_path / "home"))
    learner(Asked(votes=VOTES, dataset="clinic-7")).mli_test_weights(proposal(1))
    ledger = PrivacyLedger.open(tmp_path / "home", "clinic-7")
    assert [entry.purpose for entry in spends(tmp_path)] == ["vote of learner"]
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_what_an_experiment_file_puts_in_the_place_of_privacy_is_refused():
    for wrong in ("all", {"votes": {"epsilon": 1}}, 7):
        with pytest.raises(ConfigError, match=r"privacy must be a colearn\.privacy\.Privacy"):
            learner(wrong)


def test_a_config_of_proposals_is_no_config_of_votes():
    with pytest.raises(ConfigError, match="votes must be VotePrivacyConfig"):
        Asked(votes=DiffPrivConfig(target_epsilon=1, target_delta=1e-5, max_grad_norm=1))
