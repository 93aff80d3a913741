"""LightGBMLearner: boosters of others, settings and rows that it refuses."""

import dataclasses

import numpy as np
import pytest
from tests.boosters import LEAFWISE, VALUES, X, chain, grown, leafwise, make_trees

from colearn import Weights
from colearn.errors import ConfigError, LearnerError, WeightsError
from colearn.experiment import parse_config, plan
from colearn.learners import LightGBMLearner
from colearn.learners._boosted_settings import ROUNDS_MAX
from colearn.learners._boosted_trees import DEPTH_MAX, TREES_MAX
from colearn.learners._lightgbm_trees import ZERO, LightGBMTrees
from colearn.weights import NO_NODE

STUMP = [(NO_NODE, NO_NODE)]


@pytest.fixture(params=LEAFWISE)
def make(request):
    return LEAFWISE[request.param]


def edited(arrays, name, place, value):
    changed = {each: array.copy() for each, array in arrays.items()}
    changed[name][place] = value
    return Weights(weights=changed)


def by_hand(trees, **settings):
    return make_trees(trees, of=LightGBMLearner, **settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("left", 10**8, "tree 0, node 0: .*after its parent"),
        ("left", 0, "tree 0, node 0: .*after its parent"),
        ("left", NO_NODE, "two children or none"),
        ("right", -7, "tree 0, node 0"),
        ("feature", 10**7, "a feature from 0 to 3"),
        ("feature", -1, "a feature from 0 to 3"),
        ("threshold", np.nan, "NaN"),
        ("threshold", np.inf, "infinite"),
        ("threshold", 0.0, "tree 0, node 0: expected below -1e-35, or 1e-35 and more, got 0"),
        ("threshold", 5e-324, "tree 0, node 0: expected below"),
        ("threshold", -ZERO, "tree 0, node 0: expected below"),
        ("threshold", np.nextafter(ZERO, 0), "tree 0, node 0: expected below"),
        ("value", 0.5, "tree 0, node 0: expected 0 in a node with children"),
        ("sizes", 2**31 - 1, "'sizes' must be positive and add up"),
        ("tree_info", -1, "'tree_info' must run through the classes"),
        ("tree_info", 2**31 - 1, "'tree_info' must run through the classes"),
        ("base_score", 7, "'base_score' must be"),
    ],
)
def test_an_edited_array_is_refused_before_native_code_sees_it(make, name, value, said):
    one = make()
    arrays = one.mli_propose_weights().weights
    with pytest.raises(WeightsError, match=said):
        one.mli_test_weights(edited(arrays, name, 0, value))
    with pytest.raises(WeightsError, match=said):
        one.mli_accept_weights(edited(arrays, name, 0, value))


def test_thresholds_beside_0_are_taken():
    one = leafwise(VALUES)
    arrays = one.mli_propose_weights().weights
    for value in (ZERO, np.nextafter(-ZERO, -1), 1e308):
        one.mli_test_weights(edited(arrays, "threshold", 0, value))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("feature", 0, "a feature"), ("value", np.nan, "NaN"), ("threshold", 1, "0 in a leaf")],
)
def test_an_edited_leaf_is_refused(name, value, said):
    one = LEAFWISE["regression"]()
    arrays = one.mli_propose_weights().weights
    leaf = int((arrays["left"] == NO_NODE).argmax())
    with pytest.raises(WeightsError, match=said):
        one.mli_test_weights(edited(arrays, name, leaf, value))


@pytest.mark.parametrize("name", sorted(each.name for each in dataclasses.fields(LightGBMTrees)))
def test_an_array_longer_or_shorter_than_the_others_is_refused(name):
    one = grown(LEAFWISE["many classes"](), 1)
    arrays = dict(one.mli_propose_weights().weights)
    for other in (np.append(arrays[name], arrays[name][-1:]), arrays[name][:-1]):
        with pytest.raises(WeightsError, match=r"sizes|nodes|tree_info|base_score|shape"):
            one.mli_test_weights(Weights(weights={**arrays, name: other}))


def test_trees_of_the_model_stay():
    one = grown(LEAFWISE["many classes"]())
    arrays = one.mli_propose_weights().weights
    inner = int((arrays["left"] != NO_NODE).argmax())
    leaf = int((arrays["left"] == NO_NODE).argmax())
    for name, place in (("threshold", inner), ("value", leaf)):
        with pytest.raises(WeightsError, match=f"{name}.*may only add"):
            one.mli_test_weights(edited(arrays, name, place, 0.125))
    with pytest.raises(WeightsError, match="shape"):
        one.mli_test_weights(Weights(weights=by_hand([STUMP] * 4, trees_per_round=4)))


def test_part_of_a_round_is_refused():
    one = LEAFWISE["many classes"]()
    with pytest.raises(WeightsError, match="multiple of 4 trees"):
        one.mli_test_weights(Weights(weights=by_hand([STUMP] * 6, trees_per_round=4)))


def test_trees_are_no_deeper_than_the_limit():
    one = leafwise(VALUES)
    deepest = by_hand([chain(1), chain(DEPTH_MAX)])
    assert one.mli_test_weights(Weights(weights=deepest)).vote is False
    with pytest.raises(WeightsError, match="tree 1: expected at most 32 nodes above"):
        one.mli_test_weights(Weights(weights=by_hand([chain(1), chain(DEPTH_MAX + 1)])))


def test_a_full_booster_grows_no_more():
    one = leafwise(VALUES)
    one.mli_accept_weights(Weights(weights=by_hand([STUMP] * TREES_MAX)))
    with pytest.raises(LearnerError, match=f"has {TREES_MAX} of at most {TREES_MAX} trees"):
        one.mli_propose_weights()
    with pytest.raises(WeightsError, match=f"may have {TREES_MAX} trees"):
        leafwise(VALUES).mli_accept_weights(Weights(weights=by_hand([STUMP] * (TREES_MAX + 1))))


def test_a_proposal_padded_with_trees_that_do_nothing_is_refused():
    one = leafwise(VALUES)
    proposal = LightGBMTrees.of(one.mli_propose_weights().weights)
    padding = LightGBMTrees(**by_hand([STUMP] * (ROUNDS_MAX - 2)))
    full = proposal.followed_by(padding)
    assert one.mli_test_weights(Weights(weights=full.named())).vote
    over = full.followed_by(LightGBMTrees(**by_hand([STUMP])))
    with pytest.raises(WeightsError, match="may add 100 trees, got 101"):
        one.mli_test_weights(Weights(weights=over.named()))


def test_boosters_of_xgboost_are_refused():
    with pytest.raises(WeightsError, match="must have dtype float64, got float32"):
        leafwise(VALUES).mli_test_weights(Weights(weights=make_trees([STUMP])))


def test_values_that_add_up_beyond_float64_are_voted_down_and_trained_on_by_nobody(make):
    one = make()
    arrays = {name: array.copy() for name, array in one.mli_propose_weights().weights.items()}
    leaf = arrays["left"] == NO_NODE
    arrays["value"][leaf] = np.finfo(float).max
    arrays["value"][-1] *= -1
    proposal = Weights(weights=arrays)
    assert one.mli_test_weights(proposal).vote is False
    one.mli_accept_weights(proposal)
    with pytest.raises(LearnerError, match="margins of the training rows are no numbers"):
        one.mli_propose_weights()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boosting": "dart"}, "boosting = 'gbdt', got 'dart'"),
        ({"boosting_type": "rf"}, "boosting_type = 'gbdt', got 'rf'"),
        ({"data_sample_strategy": "goss"}, "data_sample_strategy = 'bagging'"),
        ({"linear_tree": True}, "linear_tree = False, got True"),
        ({"linear_tree": 0}, "linear_tree"),
        ({"tree_learner": "voting"}, "tree_learner"),
        ({"device_type": "gpu"}, "device_type"),
        ({"n_jobs": 4}, "n_jobs"),
        ({"num_threads": 2}, "num_threads"),
        ({"deterministic": False}, "deterministic"),
        ({"force_col_wise": True}, "force_col_wise"),
        ({"boost_from_average": True}, "boost_from_average"),
        ({"use_missing": True}, "use_missing"),
        ({"zero_as_missing": True}, "zero_as_missing"),
        ({"is_unbalance": True}, "is_unbalance.*set class_weight"),
        ({"scale_pos_weight": 2.0}, "scale_pos_weight.*set class_weight"),
        ({"subsample_freq": 5}, "subsample_freq"),
        ({"verbosity": 2}, "verbosity"),
        ({"categorical_feature": [0]}, "categorical_feature"),
        ({"monotone_constraints": [1, 0, 0, 0]}, "monotone_constraints"),
        ({"interaction_constraints": [[0, 1]]}, "interaction_constraints"),
        ({"forcedsplits_filename": "f.json"}, "forcedsplits_filename"),
        ({"objective": "lambdarank"}, "does not take objective: it follows from the classes"),
        ({"objective": "quantile"}, "objective"),
        ({"objective": len}, "objective"),
        ({"init_model": "m.txt"}, "init_model"),
        ({"reg_sqrt": True}, "reg_sqrt"),
        ({"eta": 0.1}, "set learning_rate"),
        ({"bagging_fraction": 0.1}, "set subsample"),
        ({"n_estimators": 5}, "set trees_per_proposal"),
        ({"random_state": 5}, "set seed"),
        ({"max_delta_step": 1.0}, "does not know the setting 'max_delta_step'.*num_leaves"),
        ({"family": None}, "'family'"),
        ({"trees_per_proposal": 0}, "trees_per_proposal must be a whole number from 1 to 100"),
        ({"num_leaves": 1}, "num_leaves must be a whole number from 2 to 131072, got 1"),
        ({"num_leaves": 131_073}, "num_leaves"),
        ({"max_depth": -1}, "max_depth must be a whole number from 1 to 32, got -1"),
        ({"max_depth": 33}, "max_depth"),
        ({"min_child_samples": 0}, "min_child_samples must be a whole number from 1"),
        ({"min_child_samples": 2.5}, "min_child_samples"),
        ({"min_child_weight": -1}, "min_child_weight"),
        ({"max_bin": 1}, "max_bin"),
        ({"learning_rate": 0}, "learning_rate must be above 0, up to 1, got 0"),
        ({"subsample": 1.5}, "subsample"),
        ({"colsample_bytree": float("nan")}, "colsample_bytree"),
        ({"reg_lambda": -1}, "reg_lambda"),
        ({"damping": 0.5}, "damping must be 1"),
        ({"constant": 1e39}, "constant must be"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(change, said):
    with pytest.raises(ConfigError, match=said):
        leafwise(VALUES, **change)


def test_settings_of_lightgbm_with_the_value_that_works_are_taken():
    plain = leafwise(VALUES).mli_propose_weights().weights
    one = leafwise(
        VALUES, boosting="gbdt", linear_tree=False, n_jobs=1, deterministic=True, verbosity=-1
    )
    assert one.mli_propose_weights().weights.data == plain.data


@pytest.mark.parametrize(
    "change",
    [
        {"max_depth": 1}, {"num_leaves": 3}, {"learning_rate": 0.5}, {"subsample": 0.4},
        {"colsample_bytree": 0.5}, {"reg_lambda": 9}, {"min_child_samples": 15},
        {"min_child_weight": 20}, {"max_bin": 4}, {"trees_per_proposal": 1}, {"seed": 9},
    ],
)  # fmt: skip
def test_every_setting_reaches_the_trees(change):
    plain, changed = leafwise(VALUES), leafwise(VALUES, **change)
    assert plain.mli_propose_weights().weights.data != changed.mli_propose_weights().weights.data


@pytest.mark.parametrize(
    "change", [{"max_bin": 65_536}, {"max_depth": 32, "num_leaves": 131_072}, {"reg_lambda": 1e300}]
)
def test_the_largest_settings_work(change):
    one = grown(leafwise(VALUES, min_child_samples=1, **change))
    assert np.isfinite(one.judge_current().losses).all()


def test_rows_beyond_float32_are_refused():
    for value, said in ((np.nan, "x1.*1"), (np.inf, "float32"), (2e38, "2e[+]38 at .3, 1")):
        bad = X[:80].copy()
        bad[3, 1] = value
        with pytest.raises(ConfigError, match=said):
            LightGBMLearner(train=(bad, VALUES[:80]), vote=(X[80:], VALUES[80:]))
    with pytest.raises(ConfigError, match=r"\(rows, 3\)"):
        leafwise(VALUES, features=["a", "b", "c"])


def test_targets_beyond_float32_name_the_learner():
    with pytest.raises(LearnerError, match="'ada'.*targets up to 3.4"):
        leafwise(VALUES * 1e300, name="ada").mli_propose_weights()


def test_an_experiment_file_builds_the_learner():
    document = {
        "task": {"use": "colearn.tasks:iris", "split": {"by": "iid", "learners": 3}},
        "learner": {
            "use": "colearn.learners:LightGBMLearner",
            "with": {"trees_per_proposal": 4, "max_depth": 2, "learning_rate": 0.3},
        },
    }
    group = plan(parse_config(document)).group()
    assert all(member.grows and member.local_state == "none" for member in group)
    assert len(group[0].mli_propose_weights().weights["sizes"]) == 12
    document["learner"]["with"]["boosting"] = "dart"
    with pytest.raises(ConfigError, match="boosting"):
        plan(parse_config(document)).group()
