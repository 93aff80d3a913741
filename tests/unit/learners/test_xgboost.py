"""XGBoostLearner: learning, model 0, the rebuilt booster and the model handed out."""

import numpy as np
import pytest
import xgboost
from tests.boosters import LABELS, LEARNERS, NAMES, RNG, ROWS, VALUES, X, current, grown, learner

from colearn import Weights
from colearn.errors import ColearnError
from colearn.experiment import Collective, compare, parse_config, plan
from colearn.interface import ModelFormat
from colearn.learners._boosted_trees import NODES_MAX
from colearn.learners._xgboost_rebuild import Objective, nodes_of, rebuilt
from colearn.learners._xgboost_trees import XGBoostTrees
from colearn.learners._xgboost_ubjson import decoded, encoded
from colearn.learners.xgboost import XGBoostLearner
from colearn.weights import DEFAULT_LIMITS, NO_NODE, decode, freeze

OBJECTIVES = {
    "two classes": (Objective("binary:logistic", 1), LABELS > 0, 0.5),
    "many classes": (Objective("multi:softprob", 3), LABELS, 0.0),
    "regression": (Objective("reg:squarederror", 1), VALUES + 1234, 1234.567),
}


@pytest.fixture(params=LEARNERS)
def make(request):
    return LEARNERS[request.param]


# Learning


def test_propose_and_test_leave_the_current_weights(make):
    one = make()
    before = current(one).digest
    proposal = one.mli_propose_weights()
    one.mli_test_weights(proposal)
    assert current(one).digest == before != proposal.weights.digest
    one.mli_accept_weights(proposal)
    assert current(one).digest == proposal.weights.digest


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


def compared(task, seed, **settings):
    document = {
        "seed": seed,
        "rounds": 20,
        "task": {"use": f"colearn.tasks:{task}", "split": {"by": "iid", "learners": 5}},
        "vote": {"share": 0.3},
        "learner": {"use": "colearn.learners:XGBoostLearner", "with": settings},
    }
    prepared = plan(parse_config(document))
    run = Collective(prepared.group())
    list(run.rounds(20))
    return compare(prepared, run)


def test_five_learners_on_diabetes_are_better_together_than_the_mean_alone():
    results = [
        compared("diabetes", seed, trees_per_proposal=2, max_depth=3, learning_rate=0.1)
        for seed in (11, 12, 13)
    ]
    assert np.mean([each.together - each.mean_alone for each in results]) > 0.03


def test_a_learner_without_rows_of_a_class_still_proposes_trees_for_all():
    few = XGBoostLearner(
        train=(X[:80], np.zeros(80, int)), vote=(X[80:], LABELS[80:]), classes=range(10)
    )
    proposal = few.mli_propose_weights()
    assert len(proposal.weights["sizes"]) == 20
    few.mli_accept_weights(proposal)
    assert few.model_.predict(X[:3]).tolist() == [0, 0, 0]
    two = XGBoostLearner(
        train=(X[:80], np.zeros(80, int)), vote=(X[80:], LABELS[80:] * 0), classes=[0, 1]
    )
    assert two.mli_test_weights(two.mli_propose_weights()).vote is True


# Model 0


def test_the_empty_booster_predicts_even_odds_or_the_constant():
    for classes, odds in (([0, 1], 2), (range(3), 3), (range(7), 7)):
        labels = np.minimum(LABELS, len(classes) - 1)
        assert learner(labels, classes).judge_current().losses == pytest.approx(
            np.log(odds), abs=1e-15
        )
    losses = learner(VALUES, constant=2.5).judge_current().losses
    assert losses == pytest.approx(np.square(VALUES[80:100] - 2.5))


def test_model_0_is_the_same_whatever_rows_a_learner_has():
    for y, classes in ((VALUES, None), (LABELS, range(3))):
        one = learner(y, classes, constant=0.25)
        two = learner(y[::-1].copy() if classes else y * 100 + 7, classes, constant=0.25)
        assert current(one).data == current(two).data
    assert current(learner(VALUES, constant=1)).data != current(learner(VALUES, constant=2)).data


def test_the_first_trees_start_from_the_constant_and_not_from_an_estimate():
    one = learner(VALUES + 100, constant=90.0, learning_rate=1.0, reg_lambda=0)
    first = one.mli_propose_weights().weights
    assert first["base_score"] == 90
    tree = slice(0, first["sizes"][0])
    leaves = first["value"][tree][first["left"][tree] == NO_NODE]
    assert leaves.min() > 10 + VALUES.min() - 1e-3
    assert leaves.max() < 10 + VALUES.max() + 1e-3


# The rebuilt booster


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_rebuilt_booster_predicts_bit_for_bit_as_the_trained_one(kind):
    objective, y, base = OBJECTIVES[kind]
    gaps = np.where(RNG.random(ROWS.shape) < 0.3, np.float32(np.nan), ROWS)
    # Trained on gaps, so that `default_left` is not 0 everywhere; learners have none (6.2).
    rows = xgboost.DMatrix(gaps, y)
    trees, start = XGBoostTrees.empty(base), None
    for rounds in (1, 3, 7):
        params = {
            **objective.params, "base_score": base, "max_depth": 5, "nthread": 1, "subsample": 0.8,
        }  # fmt: skip
        trained = xgboost.train(params, rows, rounds, xgb_model=start)
        trees = trees.followed_by(nodes_of(trained, len(trees.sizes) // objective.trees_per_round))
        trees.check(4, objective.trees_per_round)
        again = rebuilt(trees, 4, objective)
        for kind_of in ("margin", "value"):
            mine = again.inplace_predict(ROWS, predict_type=kind_of)
            theirs = trained.inplace_predict(ROWS, predict_type=kind_of)
            assert mine.tobytes() == theirs.tobytes()
        assert np.array_equal(again.inplace_predict(gaps), trained.inplace_predict(gaps))
        assert np.array_equal(again.predict(rows), trained.predict(rows))
        start = again
    assert trees.default_left.any()


def walked(arrays, rows, outputs):
    """The margins of a booster, by hand and in float32."""
    margins = np.zeros((len(rows), outputs), np.float32)
    start = 0
    for size, column in zip(arrays["sizes"], arrays["tree_info"], strict=True):
        for place, row in enumerate(rows):
            node = start
            while arrays["left"][node] != NO_NODE:
                goes_left = row[arrays["feature"][node]] < arrays["threshold"][node]
                node = start + arrays["left" if goes_left else "right"][node]
            margins[place, column] += arrays["value"][node]
        start += size
    return margins


def test_the_arrays_say_what_the_booster_predicts(make):
    one = grown(make())
    outputs = 1 if len(one.schema.classes or ()) < 3 else len(one.schema.classes)
    margins = walked(current(one), ROWS, outputs)
    theirs = one.model_.predict(ROWS, output_margin=True).reshape(len(ROWS), outputs)
    base = 0.5 if one.schema.classes is None else 0.0
    assert theirs == pytest.approx(margins + base, abs=1e-6)


def test_no_row_counts_travel(make):
    assert sorted(grown(make()).mli_propose_weights().weights) == [
        "base_score", "default_left", "feature", "left", "right", "sizes", "threshold",
        "tree_info", "value",
    ]  # fmt: skip


def test_the_model_predicts_as_the_learner_scores(make):
    one = grown(make())
    predicted = one.model_.predict(X[100:])
    if one.schema.classes is None:
        assert isinstance(one.model_, xgboost.XGBRegressor)
        spread = np.square(VALUES[100:] - VALUES[100:].mean()).sum()
        score = 1 - np.square(VALUES[100:] - predicted).sum() / spread
    else:
        assert isinstance(one.model_, xgboost.XGBClassifier)
        assert set(predicted) <= set(one.schema.classes)
        assert list(one.model_.classes_) == list(one.schema.classes)
        truth = NAMES[LABELS] if one.schema.classes[0] == "ant" else LABELS
        truth = (LABELS > 0).astype(int) if len(one.schema.classes) == 2 else truth
        score = (predicted == truth[100:]).mean()
        losses = -np.log(
            one.model_.predict_proba(X[80:100])[
                np.arange(20), np.searchsorted(one.schema.classes, truth[80:100])
            ]
        )
        assert one.judge_current().losses == pytest.approx(losses, rel=1e-5)
    assert one.judge_current().test_score == pytest.approx(score)
    assert one.model_.feature_importances_.sum() == pytest.approx(1)


def test_the_empty_model_is_handed_out_too(make):
    one = make()
    predicted = one.model_.predict(X[:3])
    assert set(predicted) == {0.5 if one.schema.classes is None else one.schema.classes[0]}
    with pytest.raises(ColearnError, match="still empty"):
        one.mli_get_current_model()


def test_the_model_is_handed_out_as_onnx(make):
    import onnxruntime

    one = grown(make())
    model = one.mli_get_current_model()
    assert model.model_format is ModelFormat.ONNX
    session = onnxruntime.InferenceSession(
        model.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    answers = session.run(None, {"X": ROWS})
    if one.schema.classes is None:
        assert answers[0][:, 0] == pytest.approx(one.model_.predict(X), abs=1e-5)
    else:
        assert list(answers[0]) == list(one.model_.predict(X))
        assert answers[1] == pytest.approx(one.model_.predict_proba(X), abs=1e-6)


def test_a_document_survives_universal_binary_json():
    document = {
        "text": "é",
        "numbers": [1, -(2**31), 2**31 - 1],
        "rows": [{"real": np.array([0.1, -np.inf], np.float32)}, {}],
        "wide": np.array([2**40], np.int64),
        "none": np.zeros(0, np.uint8),
    }
    read = decoded(encoded(document))
    assert read.keys() == document.keys()
    assert read["text"] == "é"
    assert read["numbers"] == document["numbers"]
    assert read["rows"][0]["real"].tobytes() == document["rows"][0]["real"].tobytes()
    assert read["wide"].dtype == np.int64
    assert read["wide"] == 2**40
    assert read["none"].size == 0


@pytest.mark.parametrize(
    "data", [b"", b"?", b"[$?#L", b"[L", b"{L\x00\x00\x00\x00\x00\x00\x00\x09key"]
)
def test_a_model_written_in_another_way_is_said_to_be(data):
    with pytest.raises(ColearnError, match="another way"):
        decoded(data)


def test_a_thousand_trees_of_depth_6_are_a_fraction_of_the_limits():
    rows = RNG.normal(size=(1000, 10)).astype(np.float32)
    params = {**OBJECTIVES["regression"][0].params, "max_depth": 6, "nthread": 1}
    noise = xgboost.DMatrix(rows, RNG.normal(size=1000))
    trees = nodes_of(xgboost.train(params, noise, 1000), 0)
    trees.check(10, 1)
    weights = freeze(trees.named())
    assert len(trees.sizes) == 1000
    assert len(weights.data) < DEFAULT_LIMITS.proposal_bytes / 100
    assert len(trees.left) < NODES_MAX / 10
