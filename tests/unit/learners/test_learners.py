import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from colearn import RandomForestLearner, SklearnLearner, Weights
from colearn.errors import ColearnWarning, ConfigError, LearnerError, WeightsError
from colearn.interface import ModelFormat
from colearn.weights import decode, freeze

RNG = np.random.default_rng(7)
X = RNG.normal(size=(120, 4))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
VALUES = X[:, 0] - 2 * X[:, 1]
SGD = {"learning_rate": "constant", "eta0": 0.1}


def data(y, classes=None):
    return {
        "train": (X[:80], y[:80]),
        "vote": (X[80:100], y[80:100]),
        "test": (X[100:], y[100:]),
        **({} if classes is None else {"classes": classes}),
    }


LEARNERS = {
    "sgd log": lambda **s: SklearnLearner(
        SGDClassifier(loss="log_loss", **SGD), **data(LABELS, range(4)), **s
    ),
    "sgd hinge": lambda **s: SklearnLearner(
        SGDClassifier(loss="hinge", **SGD), **data(LABELS, range(4)), **s
    ),
    "sgd binary hinge": lambda **s: SklearnLearner(
        SGDClassifier(loss="hinge", **SGD), **data(LABELS > 0, [0, 1]), **s
    ),
    "sgd squared": lambda **s: SklearnLearner(
        SGDRegressor(learning_rate="constant", eta0=0.01), **data(VALUES), **s
    ),
    "sgd huber": lambda **s: SklearnLearner(
        SGDRegressor(loss="huber", learning_rate="constant", eta0=0.1), **data(VALUES), **s
    ),
    "mlp": lambda **s: SklearnLearner(
        MLPClassifier((8,), learning_rate_init=0.01), **data(LABELS, range(4)), epochs=3, **s
    ),
    "mlp binary": lambda **s: SklearnLearner(
        MLPClassifier((8,), learning_rate_init=0.01), **data(LABELS > 0, [0, 1]), epochs=3, **s
    ),
    "mlp regressor": lambda **s: SklearnLearner(
        MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.01),
        **data(VALUES),
        epochs=3,
        **s,
    ),
    "naive bayes": lambda **s: SklearnLearner(
        GaussianNB(), **data(LABELS, range(4)), rows_per_proposal=6, **s
    ),
    "forest": lambda **s: RandomForestLearner(**data(LABELS, range(4)), **s),
    "forest regressor": lambda **s: RandomForestLearner(**data(VALUES), constant=0.0, **s),
}


@pytest.fixture(params=LEARNERS)
def make(request):
    return LEARNERS[request.param]


def digest(learner):
    return learner.mli_get_current_weights().weights.digest


def test_propose_and_test_leave_the_current_weights(make):
    learner = make()
    before = digest(learner)
    proposal = learner.mli_propose_weights()
    learner.mli_test_weights(proposal)
    assert digest(learner) == before
    assert proposal.weights.digest != before
    learner.mli_accept_weights(proposal)
    assert digest(learner) == proposal.weights.digest


def test_the_same_seed_gives_the_same_bytes_and_training_goes_on(make):
    one, two, other = make(seed=1), make(seed=1), make(seed=2)
    assert one.mli_propose_weights().weights.data == two.mli_propose_weights().weights.data
    first = one.mli_get_current_weights()
    score = one.mli_test_weights(first).vote_score
    for _ in range(12):
        one.mli_accept_weights(one.mli_propose_weights())
    assert one.mli_test_weights(one.mli_get_current_weights()).vote_score > score
    assert digest(other) == first.weights.digest


def test_equal_bytes_after_the_weights_travelled(make):
    sender, receiver = make(seed=1), make(seed=2)
    proposal = sender.mli_propose_weights()
    received = Weights(weights=decode(proposal.weights.data))
    sender.mli_accept_weights(proposal)
    receiver.mli_accept_weights(received)
    assert digest(sender) == digest(receiver)
    mine, theirs = sender.judge_current(), receiver.judge_current()
    assert np.array_equal(mine.losses, theirs.losses)


def test_the_cached_judgement_is_the_computed_one(make):
    cached, plain = make(), make()
    proposal = cached.mli_propose_weights()
    cached.mli_test_weights(proposal)
    # Another proposal was judged last; its losses must not pass for those of the first.
    cached.mli_test_weights(cached.mli_propose_weights())
    cached.mli_accept_weights(proposal)
    plain.mli_accept_weights(proposal)
    fresh = cached.mli_test_weights(proposal)
    assert fresh.vote_score == plain.judge_current().vote_score
    assert np.array_equal(cached.judge_current().losses, plain.judge_current().losses)


def test_foreign_weights_are_refused_and_nothing_changes(make):
    learner = make()
    before = digest(learner)
    arrays = dict(learner.mli_get_current_weights().weights)
    name = min(arrays)
    for foreign in (
        {**arrays, "extra": np.zeros(1)},
        {key: value for key, value in arrays.items() if key != name},
        {**arrays, name: np.zeros((*arrays[name].shape, 2))},
        {**arrays, name: arrays[name].astype(np.float32)},
    ):
        with pytest.raises(WeightsError, match=r"extra|missing|shape|dtype"):
            learner.mli_accept_weights(Weights(weights=foreign))
    assert digest(learner) == before


def test_the_fitted_estimator_predicts_as_the_learner_scores(make):
    learner = make()
    for _ in range(3):
        learner.mli_accept_weights(learner.mli_propose_weights())
    predicted = learner.model_.predict(X[100:])
    assert predicted.shape == (20,)
    score = learner.judge_current().test_score
    if learner.schema.classes is not None:
        targets = LABELS[100:] if len(learner.schema.classes) > 2 else LABELS[100:] > 0
        assert (predicted == targets).mean() == pytest.approx(score)


def test_text_labels_come_back_from_the_model():
    names = np.array(["ant", "bee", "cat", "dog"])
    for make in (
        lambda y: SklearnLearner(SGDClassifier(loss="log_loss", **SGD), **data(y, names)),
        lambda y: SklearnLearner(MLPClassifier((4,)), **data(y, names)),
        lambda y: RandomForestLearner(**data(y, names)),
    ):
        learner = make(names[LABELS])
        learner.mli_accept_weights(learner.mli_propose_weights())
        assert set(learner.model_.predict(X)) <= set(names)


def test_a_learner_with_few_classes_has_arrays_of_all():
    few = LABELS[:80] % 2
    learner = SklearnLearner(
        SGDClassifier(loss="log_loss", **SGD),
        train=(X[:80], few),
        vote=(X[80:], LABELS[80:]),
        classes=range(10),
    )
    assert learner.mli_propose_weights().weights["coef"].shape == (10, 4)
    forest = RandomForestLearner(train=(X[:80], few), vote=(X[80:], LABELS[80:]), classes=range(10))
    value = forest.mli_propose_weights().weights["value"]
    assert value.shape[1] == 10
    assert not value[:, 2:].any()


def test_the_empty_forest_predicts_the_prior_or_the_constant():
    forest = RandomForestLearner(**data(LABELS, range(4)))
    assert forest.judge_current().losses == pytest.approx(np.log(4))
    regressor = RandomForestLearner(**data(VALUES), constant=2.0)
    assert regressor.judge_current().losses == pytest.approx(np.square(VALUES[80:100] - 2.0))


def test_damping_proposes_a_share_of_the_step():
    whole = LEARNERS["sgd log"](damping=1.0).mli_propose_weights().weights
    quarter = LEARNERS["sgd log"]().mli_propose_weights().weights
    assert quarter["coef"] == pytest.approx(whole["coef"] / 4)


def test_a_forest_must_keep_the_trees_of_the_model():
    learner = LEARNERS["forest"]()
    learner.mli_accept_weights(learner.mli_propose_weights())
    grown = dict(learner.mli_propose_weights().weights)
    grown["threshold"] = grown["threshold"].copy()
    inner = int((grown["left"] >= 0).argmax())
    grown["threshold"][inner] += 1
    with pytest.raises(WeightsError, match="threshold"):
        learner.mli_test_weights(Weights(weights=grown))


@pytest.mark.parametrize(
    ("name", "value"), [("left", 10**8), ("left", 0), ("feature", 10**8), ("right", -7)]
)
def test_an_edited_tree_node_is_refused_before_native_code_sees_it(name, value):
    learner = LEARNERS["forest"]()
    grown = dict(learner.mli_propose_weights().weights)
    grown[name] = grown[name].copy()
    grown[name][0] = value
    with pytest.raises(WeightsError, match="tree 0, node 0"):
        learner.mli_test_weights(Weights(weights=grown))


def test_class_shares_that_are_none_are_refused():
    learner = LEARNERS["forest"]()
    grown = dict(learner.mli_propose_weights().weights)
    grown["value"] = grown["value"] * 1e6
    with pytest.raises(WeightsError, match="shares"):
        learner.mli_test_weights(Weights(weights=grown))


def test_few_vote_rows_warn_and_one_is_an_error():
    with pytest.warns(ColearnWarning, match="'tiny' votes on 5 rows"):
        SklearnLearner(
            SGDClassifier(loss="log_loss"),
            train=(X[:50], LABELS[:50]),
            vote=(X[50:55], LABELS[50:55]),
            classes=range(4),
            name="tiny",
        )
    with pytest.raises(ConfigError, match="2 to vote on, got 50 and 1"):
        SklearnLearner(
            SGDClassifier(loss="log_loss"),
            train=(X[:50], LABELS[:50]),
            vote=(X[50:51], LABELS[50:51]),
            classes=range(4),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [0, 1]}, "label 2 is not among"),
        ({"classes": None}, "every class"),
        ({"train": (X[:80, :3], LABELS[:80])}, r"\(rows, 3\)"),
        ({"train": (X[:80], LABELS[:79])}, "got"),
        ({"train": (np.where(X[:80] > 2, np.nan, X[:80]), LABELS[:80])}, "x1"),
        ({"vote": (X[70:90], LABELS[70:90])}, "inside the training set"),
        ({"mode": "council"}, "mode"),
        ({"z": 1.0}, "z must be"),
        ({"damping": 2.0}, "damping"),
        ({"metric": "r2"}, "metric"),
        ({"epochs": 0}, "epochs"),
        ({"rows_per_proposal": 0}, "rows_per_proposal"),
        ({"estimator": GaussianNB(), "damping": 0.5}, "damping"),
        ({"estimator": LogisticRegression()}, "LogisticRegression"),
        ({"estimator": SGDClassifier(average=True)}, "average"),
        ({"estimator": MLPClassifier(solver="lbfgs")}, "lbfgs"),
    ],
)
def test_bad_settings_say_what_is_wrong(change, message):
    settings = {"estimator": SGDClassifier(loss="log_loss"), **data(LABELS, range(4)), **change}
    with pytest.raises(ConfigError, match=message):
        SklearnLearner(settings.pop("estimator"), **settings)


def test_training_that_diverges_names_the_learner():
    learner = SklearnLearner(
        SGDRegressor(learning_rate="constant", eta0=1e300),
        **data(VALUES * 1e200),
        name="ada",
    )

    def train():
        for _ in range(5):
            learner.mli_accept_weights(learner.mli_propose_weights())

    with pytest.raises(LearnerError, match="ada") as caught:
        train()
    assert caught.value.learner == "ada"


def test_the_model_is_handed_out_as_onnx():
    learner = LEARNERS["sgd log"]()
    learner.mli_accept_weights(learner.mli_propose_weights())
    model = learner.mli_get_current_model()
    assert model.model_format is ModelFormat.ONNX
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    labels = session.run(None, {"X": X.astype(np.float32)})[0]
    assert (labels == learner.model_.predict(X)).mean() > 0.98


def test_onnx_bytes_are_checked():
    from colearn import convert_model_to_onnx, deser_model
    from colearn.errors import ColearnError

    learner = LEARNERS["sgd log"]()
    model = convert_model_to_onnx(learner.model_)
    assert deser_model(model.SerializeToString()) == model
    with pytest.raises(ColearnError, match="no ONNX"):
        deser_model(b"\x80\x04nonsense")
    with pytest.raises(ColearnError, match="dict"):
        convert_model_to_onnx({})


def test_read_only_weights_are_respected():
    learner = LEARNERS["sgd log"]()
    weights = learner.mli_get_current_weights().weights
    with pytest.raises(ValueError, match="read-only"):
        weights["coef"][0, 0] = 1
    assert freeze(weights).data == weights.data


def test_naive_bayes_uses_every_row_once_and_learns_what_one_fit_would():
    learner = SklearnLearner(GaussianNB(), **data(LABELS, range(4)), rows_per_proposal=30)
    for _ in range(3):
        learner.mli_accept_weights(learner.mli_propose_weights())
    weights = learner.mli_get_current_weights().weights
    whole = GaussianNB().fit(X[:80], LABELS[:80])
    assert weights["count"].sum() == 80
    assert weights["mean"][whole.classes_] == pytest.approx(whole.theta_)
    assert weights["variance"][whole.classes_] == pytest.approx(whole.var_, rel=1e-6)
    assert (learner.model_.predict(X) == whole.predict(X)).all()
    with pytest.raises(LearnerError, match="has been used"):
        learner.mli_propose_weights()


def test_naive_bayes_refuses_rows_taken_away_and_negative_variances():
    learner = LEARNERS["naive bayes"]()
    learner.mli_accept_weights(learner.mli_propose_weights())
    grown = learner.mli_propose_weights().weights.copy()
    for name in ("count", "variance"):
        with pytest.raises(WeightsError, match=name):
            learner.mli_test_weights(Weights(weights={**grown, name: grown[name] * 0 - 1}))
