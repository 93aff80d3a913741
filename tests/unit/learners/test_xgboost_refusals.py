"""XGBoostLearner: boosters of others, settings and rows that it refuses."""

import dataclasses

import numpy as np
import pytest
from tests.boosters import (
    LEARNERS,
    VALUES,
    X,
    chain,
    grown,
    learner,
    make_trees,
)

from colearn import Weights
from colearn.errors import ConfigError, LearnerError, WeightsError
from colearn.experiment import parse_config, plan
from colearn.learners._boosted_settings import ROUNDS_MAX
from colearn.learners._boosted_trees import DEPTH_MAX, NODES_MAX, TREES_MAX
from colearn.learners._xgboost_trees import XGBoostTrees
from colearn.learners.xgboost import XGBoostLearner
from colearn.weights import NO_NODE


@pytest.fixture(params=LEARNERS)
def make(request):
    return LEARNERS[request.param]


def edited(arrays, name, place, value):
    changed = {each: array.copy() for each, array in arrays.items()}
    changed[name][place] = value
    return Weights(weights=changed)


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
        ("default_left", 2, "tree 0, node 0: expected 0 or 1, got 2"),
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


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("default_left", 1, "0 in a leaf"), ("value", np.nan, "NaN"), ("threshold", 1, "0 in a leaf")],
)
def test_an_edited_leaf_is_refused(name, value, said):
    one = LEARNERS["regression"]()
    arrays = one.mli_propose_weights().weights
    leaf = int((arrays["left"] == NO_NODE).argmax())
    with pytest.raises(WeightsError, match=said):
        one.mli_test_weights(edited(arrays, name, leaf, value))


@pytest.mark.parametrize("name", sorted(each.name for each in dataclasses.fields(XGBoostTrees)))
def test_an_array_longer_or_shorter_than_the_others_is_refused(name):
    one = grown(LEARNERS["many classes"](), 1)
    arrays = dict(one.mli_propose_weights().weights)
    for other in (np.append(arrays[name], arrays[name][-1:]), arrays[name][:-1]):
        with pytest.raises(WeightsError, match=r"sizes|nodes|tree_info|base_score|shape"):
            one.mli_test_weights(Weights(weights={**arrays, name: other}))


def test_trees_of_the_model_stay():
    one = grown(LEARNERS["many classes"]())
    arrays = one.mli_propose_weights().weights
    inner = int((arrays["left"] != NO_NODE).argmax())
    leaf = int((arrays["left"] == NO_NODE).argmax())
    for name, place in (("threshold", inner), ("value", leaf)):
        with pytest.raises(WeightsError, match=f"{name}.*may only add"):
            one.mli_test_weights(edited(arrays, name, place, 0.125))
    less = make_trees([[(NO_NODE, NO_NODE)]] * 4, trees_per_round=4)
    with pytest.raises(WeightsError, match="shape"):
        one.mli_test_weights(Weights(weights=less))


def test_part_of_a_round_is_refused():
    one = LEARNERS["many classes"]()
    with pytest.raises(WeightsError, match="multiple of 4 trees"):
        one.mli_test_weights(
            Weights(weights=make_trees([[(NO_NODE, NO_NODE)]] * 6, trees_per_round=4))
        )


def test_trees_are_as_deep_as_xgboost_can_be_asked_and_no_deeper():
    one = learner(VALUES)
    deepest = make_trees([chain(1), chain(DEPTH_MAX)])
    assert one.mli_test_weights(Weights(weights=deepest)).vote is False
    with pytest.raises(WeightsError, match="tree 1: expected at most 32 nodes above"):
        one.mli_test_weights(Weights(weights=make_trees([chain(1), chain(DEPTH_MAX + 1)])))


def test_a_booster_with_too_many_trees_or_nodes_is_refused():
    one = learner(VALUES)
    many = make_trees([[(NO_NODE, NO_NODE)]] * TREES_MAX)
    one.mli_accept_weights(Weights(weights=many))
    with pytest.raises(LearnerError, match=f"has {TREES_MAX} of at most {TREES_MAX} trees"):
        one.mli_propose_weights()
    more = {
        name: np.append(array, array[-1:]) if name != "base_score" else array
        for name, array in many.items()
    }
    with pytest.raises(WeightsError, match=f"may have {TREES_MAX} trees"):
        learner(VALUES).mli_accept_weights(Weights(weights=more))
    wide = dataclasses.replace(
        XGBoostTrees.empty(0.0), left=np.broadcast_to(np.int32(-1), (NODES_MAX + 1,))
    )
    with pytest.raises(WeightsError, match=f"{NODES_MAX} nodes"):
        wide.check(4, 1)


def test_a_proposal_padded_with_trees_that_do_nothing_is_refused():
    one = learner(VALUES)
    proposal = XGBoostTrees.of(one.mli_propose_weights().weights)
    padding = XGBoostTrees(**make_trees([[(NO_NODE, NO_NODE)]] * (ROUNDS_MAX - 2)))
    full = proposal.followed_by(padding)
    assert one.mli_test_weights(Weights(weights=full.named())).vote
    over = full.followed_by(XGBoostTrees(**make_trees([[(NO_NODE, NO_NODE)]])))
    with pytest.raises(WeightsError, match="may add 100 trees, got 101"):
        one.mli_test_weights(Weights(weights=over.named()))
    # Who catches up takes many proposals at once.
    one.mli_accept_weights(Weights(weights=over.named()))


def test_values_that_add_up_beyond_float32_are_voted_down_and_not_a_crash(make):
    one = make()
    arrays = {name: array.copy() for name, array in one.mli_propose_weights().weights.items()}
    arrays["value"][arrays["left"] == NO_NODE] = 3.4e38
    arrays["value"][-1] = -3.4e38
    assert one.mli_test_weights(Weights(weights=arrays)).vote is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"booster": "dart"}, "booster = 'gbtree', got 'dart'"),
        ({"booster": "gblinear"}, "booster"),
        ({"tree_method": "exact"}, "tree_method"),
        ({"enable_categorical": True}, "enable_categorical"),
        ({"enable_categorical": 0}, "enable_categorical"),
        ({"multi_strategy": "multi_output_tree"}, "multi_strategy"),
        ({"num_parallel_tree": 4}, "num_parallel_tree"),
        ({"process_type": "update"}, "process_type"),
        ({"nthread": 4}, "nthread"),
        ({"objective": "rank:ndcg"}, "objective"),
        ({"objective": len}, "objective"),
        ({"base_score": 0.1}, "base_score"),
        ({"monotone_constraints": (1, 0, 0, 0)}, "monotone_constraints"),
        ({"interaction_constraints": [[0, 1]]}, "interaction_constraints"),
        ({"eta": 0.1}, "set learning_rate"),
        ({"n_estimators": 5}, "set trees_per_proposal"),
        ({"colour": "red"}, "does not know the setting 'colour'.*trees_per_proposal"),
        ({"family": None}, "'family'"),
        ({"trees_per_proposal": 0}, "trees_per_proposal must be a whole number from 1 to 100"),
        ({"trees_per_proposal": 2.0}, "trees_per_proposal"),
        ({"trees_per_proposal": True}, "trees_per_proposal"),
        ({"max_depth": 0}, "max_depth must be a whole number from 1 to 32, got 0"),
        ({"max_depth": 33}, "max_depth"),
        ({"max_bin": 1}, "max_bin"),
        ({"learning_rate": 0}, "learning_rate must be above 0, up to 1, got 0"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"subsample": 1.5}, "subsample"),
        ({"colsample_bytree": float("nan")}, "colsample_bytree"),
        ({"reg_lambda": -1}, "reg_lambda"),
        ({"min_child_weight": float("inf")}, "min_child_weight"),
        ({"damping": 0.5}, "damping must be 1"),
        ({"constant": 1e39}, "constant must be"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(change, said):
    with pytest.raises(ConfigError, match=said):
        learner(VALUES, **change)


def test_settings_of_xgboost_with_the_value_that_works_are_taken():
    one = learner(VALUES, booster="gbtree", tree_method="hist", nthread=1, enable_categorical=False)
    assert (
        one.mli_propose_weights().weights.data == learner(VALUES).mli_propose_weights().weights.data
    )


@pytest.mark.parametrize(
    "change",
    [
        {"max_depth": 1}, {"learning_rate": 0.5}, {"subsample": 0.4}, {"colsample_bytree": 0.5},
        {"reg_lambda": 9}, {"min_child_weight": 20}, {"max_bin": 4}, {"trees_per_proposal": 1},
        {"seed": 9},
    ],
)  # fmt: skip
def test_every_setting_reaches_the_trees(change):
    plain, changed = learner(VALUES), learner(VALUES, **change)
    assert plain.mli_propose_weights().weights.data != changed.mli_propose_weights().weights.data


def test_rows_that_xgboost_cannot_read_are_refused():
    for value, said in (
        (np.nan, "x1.*1"),
        (np.inf, "float32"),
        (2e38, "float32.*2e[+]38 at .3, 1"),
    ):
        bad = X[:80].copy()
        bad[3, 1] = value
        with pytest.raises(ConfigError, match=said):
            XGBoostLearner(train=(bad, VALUES[:80]), vote=(X[80:], VALUES[80:]))
    with pytest.raises(ConfigError, match=r"\(rows, 3\)"):
        learner(VALUES, features=["a", "b", "c"])


def test_targets_beyond_float32_name_the_learner():
    with pytest.raises(LearnerError, match="'ada'"):
        learner(VALUES * 1e300, name="ada").mli_propose_weights()


def test_an_experiment_file_builds_the_learner():
    document = {
        "task": {"use": "colearn.tasks:iris", "split": {"by": "iid", "learners": 3}},
        "learner": {
            "use": "colearn.learners:XGBoostLearner",
            "with": {"trees_per_proposal": 4, "max_depth": 2, "learning_rate": 0.3},
        },
    }
    group = plan(parse_config(document)).group()
    assert all(member.grows and member.local_state == "none" for member in group)
    assert len(group[0].mli_propose_weights().weights["sizes"]) == 12
    document["learner"]["with"]["booster"] = "dart"
    with pytest.raises(ConfigError, match="booster"):
        plan(parse_config(document)).group()
