"""LightGBMLearner: learning, model 0, and the model handed out."""

import subprocess
import sys

import lightgbm
import numpy as np
import pytest
from tests.boosters import LABELS, LEAFWISE, NAMES, VALUES, X, current, grown, leafwise

from colearn import Weights
from colearn.errors import ColearnError, LearnerError
from colearn.experiment import Collective, compare, parse_config, plan
from colearn.experiment.export import export_model
from colearn.interface import ModelFormat
from colearn.learners import LightGBMLearner
from colearn.weights import NO_NODE, decode


@pytest.fixture(params=LEAFWISE)
def make(request):
    return LEAFWISE[request.param]


# Learning


def test_the_same_seed_gives_the_same_bytes_whatever_else_the_process_draws(make):
    settings = {"subsample": 0.5, "colsample_bytree": 0.5}
    one, two, other = make(seed=1, **settings), make(seed=1, **settings), make(seed=2, **settings)
    for _ in range(3):
        proposal = one.mli_propose_weights()
        strange = other.mli_propose_weights()
        assert two.mli_propose_weights().weights.data == proposal.weights.data
        assert strange.weights.data != proposal.weights.data
        for each in (one, two, other):
            each.mli_accept_weights(proposal)


def test_a_round_named_again_gives_the_same_proposal(make):
    one, two = make(seed=3), make(seed=3)
    one.begin_round(5)
    first = one.mli_propose_weights().weights.data
    assert one.mli_propose_weights().weights.data == first
    two.mli_propose_weights()
    two.begin_round(5)
    assert two.mli_propose_weights().weights.data == first
    two.begin_round(6)
    assert two.mli_propose_weights().weights.data != first


def test_training_goes_on_from_the_model(make):
    one = make()
    losses = [one.judge_current().losses.mean()]
    losses += [grown(one).judge_current().losses.mean() for _ in range(4)]
    assert losses[-1] < losses[1] < losses[0]


def test_equal_bytes_and_judgements_after_the_weights_travelled(make):
    sender, receiver = make(seed=1), make(seed=2)
    proposal = sender.mli_propose_weights()
    sender.mli_accept_weights(proposal)
    receiver.mli_accept_weights(Weights(weights=decode(proposal.weights.data)))
    assert current(sender).digest == current(receiver).digest
    assert np.array_equal(sender.judge_current().losses, receiver.judge_current().losses)


def test_a_proposal_keeps_the_model_as_a_prefix_and_adds_the_trees_asked_for(make):
    one = grown(make(trees_per_proposal=3))
    before, after = current(one), one.mli_propose_weights().weights
    each = len(one.schema.classes or ()) if len(one.schema.classes or ()) > 2 else 1
    assert len(after["sizes"]) - len(before["sizes"]) == 3 * each
    for name, array in before.items():
        assert array.tobytes() == after[name][: len(array)].tobytes()


def test_five_learners_on_diabetes_are_better_together_than_the_mean_alone():
    gains = []
    for seed in (11, 12, 13):
        document = {
            "seed": seed,
            "rounds": 20,
            "task": {"use": "colearn.tasks:diabetes", "split": {"by": "iid", "learners": 5}},
            "vote": {"share": 0.3},
            "learner": {"use": "colearn.learners:LightGBMLearner"},
        }
        prepared = plan(parse_config(document))
        run = Collective(prepared.group())
        list(run.rounds(20))
        result = compare(prepared, run)
        gains.append(result.together - result.mean_alone)
    assert np.mean(gains) > 0.03


def test_a_class_without_rows_gets_single_leaves_of_0():
    few = leafwise(LABELS, range(10))
    proposal = few.mli_propose_weights().weights
    assert len(proposal["sizes"]) == 20
    absent = proposal["tree_info"] > 2
    assert (proposal["sizes"][absent] == 1).all()
    assert (proposal["sizes"][~absent] > 1).all()
    ends = np.cumsum(proposal["sizes"])
    assert not proposal["value"][ends[absent] - 1].any()


@pytest.mark.parametrize(
    ("y", "classes", "settings"),
    [
        (LABELS * 0, [0, 1], {}),
        (LABELS * 0, range(3), {}),
        (VALUES, None, {"min_child_samples": 41}),
        (VALUES * 0 + 1, None, {"constant": 1.0}),
    ],
)
def test_rows_without_a_split_make_no_proposal(y, classes, settings):
    one = leafwise(y, classes, **settings)
    with pytest.raises(LearnerError, match="no split of the 80 training rows"):
        one.mli_propose_weights()


def test_trees_end_where_no_split_is_left():
    one = leafwise(np.sign(X[:, 0]), learning_rate=1.0, reg_lambda=0.0, subsample=1.0, max_depth=1)
    first = one.mli_propose_weights()
    assert len(first.weights["sizes"]) == 1
    one.mli_accept_weights(first)
    with pytest.raises(LearnerError, match="no split"):
        one.mli_propose_weights()


def test_a_share_of_the_rows_that_is_no_row_is_said_to_be():
    with pytest.raises(LearnerError, match="subsample = 0.01 of 80 training rows is no row"):
        leafwise(VALUES, subsample=0.01).mli_propose_weights()


def test_a_leaf_is_the_weighted_mean_of_its_rows():
    weights = np.arange(1.0, 81.0)
    settings = {
        "trees_per_proposal": 1, "max_depth": 1, "learning_rate": 1.0, "subsample": 1.0,
        "reg_lambda": 0.0, "vote": (X[80:], VALUES[80:]),
    }  # fmt: skip
    for given in (weights, weights * 1e6):
        one = LightGBMLearner(train=(X[:80], VALUES[:80], given), **settings)
        tree = one.mli_propose_weights().weights
        assert tree["sizes"].tolist() == [3]
        left = X[:80, tree["feature"][0]] <= tree["threshold"][0]
        for side, child in ((left, "left"), (~left, "right")):
            mean = np.average(VALUES[:80][side], weights=weights[side])
            assert tree["value"][tree[child][0]] == pytest.approx(mean, rel=1e-5)


def test_class_weights_are_the_weights_of_their_rows():
    y = (LABELS > 0).astype(int)
    by_class = leafwise(y, [0, 1], class_weight={"0": 3.0}).mli_propose_weights().weights
    by_row = LightGBMLearner(
        train=(X[:80], y[:80], np.where(y[:80] == 0, 3.0, 1.0)), vote=(X[80:], y[80:]),
        classes=[0, 1],
    ).mli_propose_weights().weights  # fmt: skip
    assert by_class.data == by_row.data
    assert by_class.data != leafwise(y, [0, 1]).mli_propose_weights().weights.data


def test_nothing_is_printed(make, capfd):
    one = grown(make(min_child_samples=39, num_leaves=31, max_depth=2, subsample=1.0), 1)
    one.judge_current()
    one.model_.predict(X)
    one.mli_get_current_model()
    with pytest.raises(LearnerError):
        make(min_child_samples=100).mli_propose_weights()
    assert capfd.readouterr() == ("", "")


# Model 0


def test_the_empty_booster_predicts_even_odds_or_the_constant():
    for classes, odds in (([0, 1], 2), (range(3), 3), (range(7), 7)):
        labels = np.minimum(LABELS, len(classes) - 1)
        losses = leafwise(labels, classes).judge_current().losses
        assert losses == pytest.approx(np.log(odds), abs=1e-15)
    losses = leafwise(VALUES, constant=2.5).judge_current().losses
    assert losses == pytest.approx(np.square(VALUES[80:100] - 2.5))


def test_model_0_is_the_same_whatever_rows_a_learner_has():
    for y, classes in ((VALUES, None), (LABELS, range(3))):
        one = leafwise(y, classes, constant=0.25)
        two = leafwise(y[::-1].copy() if classes else y * 100 + 7, classes, constant=0.25)
        assert current(one).data == current(two).data
    assert current(leafwise(VALUES, constant=1)).data != current(leafwise(VALUES, constant=2)).data


def test_the_first_trees_start_from_the_constant_and_not_from_an_estimate():
    one = leafwise(VALUES + 100, constant=90.0, learning_rate=1.0, reg_lambda=0)
    first = one.mli_propose_weights().weights
    assert first["base_score"] == 90
    tree = slice(0, first["sizes"][0])
    leaves = first["value"][tree][first["left"][tree] == NO_NODE]
    assert leaves.min() > 10 + VALUES.min() - 1e-3
    assert leaves.max() < 10 + VALUES.max() + 1e-3


# The model handed out


def test_no_row_counts_travel(make):
    assert sorted(grown(make()).mli_propose_weights().weights) == [
        "base_score", "feature", "left", "right", "sizes", "threshold", "tree_info", "value",
    ]  # fmt: skip


def test_the_model_predicts_as_the_learner_scores(make):
    one = grown(make())
    predicted = one.model_.predict(X[100:])
    if one.schema.classes is None:
        assert isinstance(one.model_, lightgbm.LGBMRegressor)
        spread = np.square(VALUES[100:] - VALUES[100:].mean()).sum()
        score = 1 - np.square(VALUES[100:] - predicted).sum() / spread
    else:
        assert isinstance(one.model_, lightgbm.LGBMClassifier)
        assert set(predicted) <= set(one.schema.classes)
        assert list(one.model_.classes_) == list(one.schema.classes)
        truth = NAMES[LABELS] if one.schema.classes[0] == "ant" else LABELS
        truth = (LABELS > 0).astype(int) if len(one.schema.classes) == 2 else truth
        score = one.model_.score(X[100:], truth[100:])
        assert score == (predicted == truth[100:]).mean()
        chances = one.model_.predict_proba(X[80:100])
        own = chances[np.arange(20), np.searchsorted(one.schema.classes, truth[80:100])]
        assert one.judge_current().losses == pytest.approx(-np.log(own), rel=1e-12)
    assert one.judge_current().test_score == pytest.approx(score)
    assert one.model_.n_features_in_ == 4
    splits = np.count_nonzero(current(one)["left"] != NO_NODE)
    assert one.model_.feature_importances_.sum() == splits


def test_the_model_handed_out_is_a_copy(make):
    one = grown(make())
    before = one.predictions(X).scores
    one.model_.booster_.set_leaf_output(1, 0, 1e6)
    assert np.array_equal(one.predictions(X).scores, before)


def test_the_empty_model_is_handed_out_too(make):
    one = make()
    predicted = one.model_.predict(X[:3])
    assert set(predicted) == {0.5 if one.schema.classes is None else one.schema.classes[0]}
    with pytest.raises(ColearnError, match="still empty"):
        one.mli_get_current_model()


def test_an_exported_model_is_checked_and_agrees(make, tmp_path):
    done = export_model(grown(make()), tmp_path / "m.onnx", X, metadata={})
    assert done.rows == 2 * len(X)
    assert 0 <= done.difference < 1e-5


def run_script(script):
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_scikit_learn_a_learner_learns_and_hands_out_no_estimator():
    script = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from colearn import LightGBMLearner
from colearn.errors import MissingExtraError
X = np.random.default_rng(0).normal(size=(80, 2))
y = (X[:, 0] > 0).astype(int)
one = LightGBMLearner(train=(X[:50], y[:50]), vote=(X[50:], y[50:]), classes=[0, 1])
proposal = one.mli_propose_weights()
print(one.mli_test_weights(proposal).vote)
try:
    one.model_
except MissingExtraError as error:
    print(error)
"""
    done = run_script(script)
    assert done.stdout.splitlines()[:1] == ["True"], done.stderr
    assert "scikit-learn" in done.stdout


def test_a_lightgbm_without_its_openmp_says_what_it_needs(tmp_path):
    (tmp_path / "lightgbm.py").write_text("raise OSError('libgomp.so.1: no such file')")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from colearn import LightGBMLearner"
    )
    done = run_script(script)
    assert "LightGBM is installed and cannot be loaded: libgomp.so.1" in done.stderr
    assert "It needs OpenMP" in done.stderr


def test_the_model_as_onnx_sends_rows_on_a_threshold_the_same_way(make):
    import onnxruntime

    one = grown(make(), 6)
    model = one.mli_get_current_model()
    assert model.model_format is ModelFormat.ONNX
    session = onnxruntime.InferenceSession(
        model.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    arrays = current(one)
    inner = arrays["left"] != NO_NODE
    nearest = arrays["threshold"][inner].astype(np.float32)
    # Half of the float32 nearest to a threshold are above it.
    above = nearest > arrays["threshold"][inner]
    assert 0.2 < above.mean() < 0.8
    rows = X[np.arange(inner.sum()) % len(X)].astype(np.float32)
    rows[np.arange(len(rows)), arrays["feature"][inner]] = nearest
    exact = rows.astype(np.float64)
    answers = session.run(None, {"X": rows})
    if one.schema.classes is None:
        assert answers[0][:, 0] == pytest.approx(one.model_.predict(exact), abs=1e-5)
    else:
        assert answers[1] == pytest.approx(one.model_.predict_proba(exact), abs=1e-6)
        assert list(answers[0]) == list(one.model_.predict(exact))
    gaps = np.full((1, 4), np.nan, np.float32)
    last = np.asarray(session.run(None, {"X": gaps})[-1]).reshape(-1)
    assert last == pytest.approx(one._family.predict(arrays, gaps).scores.reshape(-1), abs=1e-5)
