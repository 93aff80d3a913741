import inspect
import math
from enum import Enum

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

import colearn.interface as port
from colearn.driver import run_one_round
from colearn.interface import (
    ColearnModel,
    DiffPrivBudget,
    DiffPrivConfig,
    ErrorCodes,
    MachineLearningInterface,
    ModelFormat,
    PrivacyUnit,
    ProposedWeights,
    TrainingSummary,
    Weights,
)

METHODS = {
    "mli_propose_weights": [],
    "mli_test_weights": ["weights"],
    "mli_accept_weights": ["weights"],
    "mli_get_current_weights": [],
    "mli_get_current_model": [],
}

FIELDS = {
    Weights: {"weights": ..., "training_summary": None},
    ProposedWeights: {"weights": ..., "vote_score": ..., "test_score": None, "vote": None},
    TrainingSummary: {"dp_budget": None, "error_code": None, "dp_config": "", "dp_noise": ""},
    DiffPrivBudget: dict.fromkeys(
        ["target_epsilon", "target_delta", "consumed_epsilon", "consumed_delta"], ...
    ),
    PrivacyUnit: {"kind": "example", "adjacency": "add_or_remove_one", "max_records_per_user": 1},
    DiffPrivConfig: {
        **dict.fromkeys(["target_epsilon", "target_delta", "max_grad_norm"], ...),
        **dict.fromkeys(
            ["noise_multiplier", "expected_batch_size", "steps_per_proposal", "planned_proposals"]
        ),
        "unit": PrivacyUnit(),
        "noise": "secure",
    },
    ColearnModel: {"model_format": ..., "model_file": None, "model": None},
}

CONFIG = {
    "target_epsilon": 1.0,
    "target_delta": 1e-5,
    "max_grad_norm": 1.0,
    "noise_multiplier": 1.1,
}


def test_the_methods_are_those_of_the_original_interface():
    assert MachineLearningInterface.__abstractmethods__ == set(METHODS)
    for name, parameters in METHODS.items():
        signature = inspect.signature(getattr(MachineLearningInterface, name))
        assert list(signature.parameters) == ["self", *parameters]


def test_a_class_that_lacks_a_method_cannot_be_built():
    class Half(MachineLearningInterface):
        def mli_propose_weights(self):
            return Weights(weights=None)

    with pytest.raises(TypeError, match="abstract"):
        Half()


@pytest.mark.parametrize("value", FIELDS, ids=lambda cls: cls.__name__)
def test_the_fields_and_their_defaults(value):
    assert issubclass(value, BaseModel)
    fields = value.model_fields
    # Our own fields may follow, and must have a default.
    assert list(fields)[: len(FIELDS[value])] == list(FIELDS[value])
    for name, field in fields.items():
        expected = FIELDS[value].get(name)
        assert field.is_required() == (expected is ...)
        if not field.is_required():
            assert field.default == expected


def test_every_name_of_section_2_is_exported():
    assert {cls.__name__ for cls in FIELDS} <= set(port.__all__)
    assert {"MachineLearningInterface", "ErrorCodes", "ModelFormat"} <= set(port.__all__)
    assert all(hasattr(port, name) for name in port.__all__)


def test_the_codes_and_formats_keep_their_numbers():
    assert ErrorCodes.DP_BUDGET_EXCEEDED.value == 1
    assert ModelFormat.PICKLE_WEIGHTS_ONLY.value == 1
    assert ModelFormat.ONNX.value == 2
    assert issubclass(ErrorCodes, Enum)
    assert issubclass(ModelFormat, Enum)


W = Weights(weights={"w": np.zeros(2)})


@pytest.mark.parametrize(
    ("given", "kept"),
    [(True, True), (False, False), (np.True_, True), (np.False_, False), (None, None)],
)
def test_a_vote_is_true_false_or_none(given, kept):
    assert ProposedWeights(weights=W, vote_score=0.0, vote=given).vote is kept


@pytest.mark.parametrize(
    "given", [1, 0, 1.0, "true", "yes", "", b"1", [], [True], np.int64(1), np.array(True), W]
)
def test_a_vote_is_never_guessed(given):
    with pytest.raises(ValidationError):
        ProposedWeights(weights=W, vote_score=0.0, vote=given)


def test_scores_may_be_nan_infinite_or_numpy_numbers():
    for score in (math.nan, math.inf, -math.inf):
        kept = ProposedWeights(weights=W, vote_score=score).vote_score
        assert kept == score or math.isnan(score)
    for score in (np.float64(0.5), np.float32(0.5), np.int64(1), 2):
        kept = ProposedWeights(weights=W, vote_score=score, test_score=score)
        assert kept.vote_score == kept.test_score == float(score)
        assert isinstance(kept.vote_score, float)


@pytest.mark.parametrize("score", [None, "good", [1.0], np.zeros(2)])
def test_a_score_is_a_number(score):
    with pytest.raises(ValidationError):
        ProposedWeights(weights=W, vote_score=score)


def test_the_weights_judged_must_be_weights():
    with pytest.raises(ValidationError):
        ProposedWeights(weights=None, vote_score=0.0)


def test_any_object_passes_as_weights_and_is_not_copied():
    for thing in (object(), None, [1], {"w": np.zeros(3)}):
        assert Weights(weights=thing).weights is thing


def test_unknown_fields_are_ignored():
    kept = ProposedWeights(weights=W, vote_score=0.0, vote=True, evaluation_results={"f1": 1})
    assert not hasattr(kept, "evaluation_results")
    assert not hasattr(DiffPrivConfig(**CONFIG, secure_mode=True), "secure_mode")


@pytest.mark.parametrize("name", CONFIG)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, None, "much"])
def test_privacy_that_is_no_number_or_negative_is_refused(name, value):
    if name == "noise_multiplier" and value is None:
        # What is not said is solved for.
        assert DiffPrivConfig(**{**CONFIG, name: value}).noise_multiplier is None
        return
    with pytest.raises(ValidationError, match=name):
        DiffPrivConfig(**{**CONFIG, name: value})


@pytest.mark.parametrize("delta", [0, 1, 1.5])
def test_delta_lies_strictly_between_0_and_1(delta):
    with pytest.raises(ValidationError, match="target_delta"):
        DiffPrivConfig(**{**CONFIG, "target_delta": delta})


def test_the_smallest_and_largest_privacy():
    zero = dict.fromkeys(["target_epsilon", "max_grad_norm", "noise_multiplier"], 0.0)
    assert DiffPrivConfig(**zero, target_delta=5e-324).target_epsilon == 0
    assert DiffPrivConfig(**{**CONFIG, "target_delta": math.nextafter(1, 0)}).target_delta < 1


def test_the_pickle_format_is_refused_with_the_reason():
    # pydantic wraps the ConfigError, which is a ValueError, in one of its own.
    for written in (ModelFormat.PICKLE_WEIGHTS_ONLY, 1):
        with pytest.raises(ValueError, match=r"runs whatever code .* ModelFormat\.ONNX"):
            ColearnModel(model_format=written, model=object())
    assert ColearnModel(model_format=2).model_format is ModelFormat.ONNX


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (W, "weights"),
        (W, "training_summary"),
        (ProposedWeights(weights=W, vote_score=0.0), "vote"),
        (TrainingSummary(), "error_code"),
        (DiffPrivBudget(**dict.fromkeys(FIELDS[DiffPrivBudget], 1.0)), "consumed_epsilon"),
        (DiffPrivConfig(**CONFIG), "noise_multiplier"),
        (ColearnModel(model_format=ModelFormat.ONNX), "model"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_nothing_is_assigned_later(value, name):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, None)
    with pytest.raises(ValidationError, match="frozen"):
        delattr(value, name)


class WrittenFromSectionTwo:
    def __init__(self, target):
        self.target = target
        self.now = {"w": np.zeros(4)}

    def mli_propose_weights(self):
        return Weights(weights={"w": self.now["w"] + 0.5 * (self.target - self.now["w"])})

    def mli_test_weights(self, weights):
        score = -np.abs(self.target - weights.weights["w"]).mean()
        vote = score > -np.abs(self.target - self.now["w"]).mean()
        return ProposedWeights(weights=weights, vote_score=score, test_score=None, vote=vote)

    def mli_accept_weights(self, weights):
        self.now = weights.weights

    def mli_get_current_weights(self):
        return Weights(weights=self.now)

    def mli_get_current_model(self):
        return ColearnModel(model_format=ModelFormat.ONNX, model=self.now)


def test_a_plain_class_written_from_section_2_alone_learns():
    learners = [WrittenFromSectionTwo(np.full(4, 1.0 + i / 10)) for i in range(5)]
    for round_index in range(20):
        entries, _ = run_one_round(round_index, learners, vote_threshold=0.5)
        assert len(entries) == 5
        assert entries[round_index % 5].vote is None
    for learner in learners:
        assert np.abs(learner.now["w"] - 1.2).max() < 0.3


def test_a_subclass_of_the_interface_runs_as_well():
    class Declared(WrittenFromSectionTwo, MachineLearningInterface):
        pass

    entries, accepted = run_one_round(0, [Declared(np.ones(4)) for _ in range(3)])
    assert accepted
    assert [entry.vote for entry in entries] == [None, True, True]
