import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from colearn import RandomForestLearner, SklearnLearner, convert_model_to_onnx, deser_model
from colearn.errors import ColearnError, ConfigError
from colearn.experiment.export import export_model
from colearn.interface import ColearnModel

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 4))
BINARY = (X[:, 0] > 0).astype(int)
THREE = BINARY + (X[:, 1] > 0.4)
WORDS = np.array(["one", "two", "three"])[THREE]
VALUES = 3 * X[:, 0] - X[:, 1]


def sgd(loss):
    return SGDClassifier(loss=loss, learning_rate="constant", eta0=0.05)


def sklearn_learner(estimator, y, classes):
    return SklearnLearner(estimator, train=(X[:60], y[:60]), vote=(X[60:], y[60:]), classes=classes)


def forest(y, classes):
    return RandomForestLearner(train=(X[:60], y[:60]), vote=(X[60:], y[60:]), classes=classes)


def booster(y, classes):
    pytest.importorskip("xgboost")
    from colearn import XGBoostLearner

    return XGBoostLearner(train=(X[:60], y[:60]), vote=(X[60:], y[60:]), classes=classes)


def perceptron(kind, y, classes):
    return sklearn_learner(kind(hidden_layer_sizes=(5,)), y, classes)


LEARNERS = {
    "sgd log 2": lambda: sklearn_learner(sgd("log_loss"), BINARY, [0, 1]),
    "sgd log 3": lambda: sklearn_learner(sgd("log_loss"), THREE, range(3)),
    "sgd huber words": lambda: sklearn_learner(sgd("modified_huber"), WORDS, set(WORDS)),
    "sgd hinge 2": lambda: sklearn_learner(sgd("hinge"), BINARY, [0, 1]),
    "sgd hinge 3": lambda: sklearn_learner(sgd("hinge"), THREE, range(3)),
    "sgd regressor": lambda: sklearn_learner(SGDRegressor(), VALUES, None),
    "mlp 2": lambda: perceptron(MLPClassifier, BINARY, [0, 1]),
    "mlp words": lambda: perceptron(MLPClassifier, WORDS, set(WORDS)),
    "mlp regressor": lambda: perceptron(MLPRegressor, VALUES, None),
    "bayes": lambda: sklearn_learner(GaussianNB(), THREE, range(3)),
    "forest words": lambda: forest(WORDS, set(WORDS)),
    "forest regressor": lambda: forest(VALUES, None),
    "booster 2": lambda: booster(BINARY, [0, 1]),
    "booster words": lambda: booster(WORDS, set(WORDS)),
    "booster regressor": lambda: booster(VALUES, None),
}


@pytest.fixture(params=LEARNERS)
def learner(request):
    one = LEARNERS[request.param]()
    one.mli_accept_weights(one.mli_propose_weights())
    return one


def answers(path, rows):
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["X"]
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": rows.astype(np.float32)}), strict=True))


def test_every_adapter_is_exported_under_the_same_names_and_agrees(learner, tmp_path):
    path = tmp_path / "m.onnx"
    done = export_model(learner, path, X, metadata={"colearn.round": "3"})
    assert done.rows == 2 * len(X)
    assert 0 <= done.difference < 1e-5
    assert done.size == path.stat().st_size
    found = answers(path, X)
    model = learner.model_
    rows = X.astype(np.float32).astype(float)
    if learner.schema.classes is None:
        assert list(found) == ["variable"]
        assert found["variable"][:, 0] == pytest.approx(model.predict(rows), abs=1e-4)
    else:
        second = "probabilities" if hasattr(model, "predict_proba") else "scores"
        assert list(found) == ["label", second]
        assert found["label"].tolist() == model.predict(rows).tolist()
        assert found[second].shape == (len(X), len(learner.schema.classes))
    opened = deser_model(path.read_bytes())
    assert {each.key: each.value for each in opened.metadata_props} == {"colearn.round": "3"}
    assert list(tmp_path.iterdir()) == [path]


class Wrong(SklearnLearner):
    """Hands out another model than the one it votes with."""

    def mli_get_current_model(self):
        graph = super().mli_get_current_model().model
        for tensor in graph.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if tensor.name == "coef":
                tensor.CopyFrom(onnx.numpy_helper.from_array(values + np.float32(0.05), "coef"))
        return ColearnModel(model_format=2, model=graph)


def wrong():
    one = Wrong(
        sgd("log_loss"), train=(X[:60], BINARY[:60]), vote=(X[60:], BINARY[60:]), classes=[0, 1]
    )
    one.mli_accept_weights(one.mli_propose_weights())
    return one


def test_a_model_that_says_something_else_is_not_written(tmp_path):
    with pytest.raises(ColearnError, match="differs from the original by 0.0"):
        export_model(wrong(), tmp_path / "m.onnx", X, metadata={})
    assert not list(tmp_path.iterdir())
    done = export_model(wrong(), tmp_path / "m.onnx", X, metadata={}, tolerance=0.2)
    assert 1e-3 < done.difference < 0.2


def test_labels_of_other_classes_are_refused(tmp_path):
    class Swapped(SklearnLearner):
        def mli_get_current_model(self):
            graph = super().mli_get_current_model().model
            for tensor in graph.graph.initializer:
                if tensor.name == "classes":
                    values = onnx.numpy_helper.to_array(tensor)[::-1].copy()
                    tensor.CopyFrom(onnx.numpy_helper.from_array(values, "classes"))
            return ColearnModel(model_format=2, model=graph)

    one = Swapped(
        sgd("log_loss"), train=(X[:60], BINARY[:60]), vote=(X[60:], BINARY[60:]), classes=[0, 1]
    )
    one.mli_accept_weights(one.mli_propose_weights())
    with pytest.raises(ColearnError, match="that the original calls"):
        export_model(one, tmp_path / "m.onnx", X, metadata={})
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_unless_forced(tmp_path):
    one = LEARNERS["sgd log 2"]()
    path = tmp_path / "m.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists already"):
        export_model(one, path, X, metadata={})
    assert path.read_bytes() == b"mine"
    export_model(one, path, X, metadata={}, force=True)
    deser_model(path.read_bytes())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_process_killed_while_it_writes_leaves_no_file_of_that_name(tmp_path, call):
    script = f"""
import os, signal
from pathlib import Path
from colearn.experiment import export
os.{call} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
export.write_new(Path("m.onnx"), b"x" * 100000, force=False)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "m.onnx").exists()


def test_a_disk_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ColearnError, match="Cannot write"):
        export_model(LEARNERS["sgd log 2"](), tmp_path / "no" / "m.onnx", X, metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_must_be_a_number_from_zero(tmp_path, tolerance):
    with pytest.raises(ConfigError, match="tolerance"):
        export_model(
            LEARNERS["sgd log 2"](), tmp_path / "m.onnx", X, metadata={}, tolerance=tolerance
        )


def test_what_cannot_be_converted_is_named_with_the_reason():
    trees = HistGradientBoostingClassifier(max_iter=2).fit(X, BINARY)
    with pytest.raises(ColearnError, match=r"HistGradientBoostingClassifier.*float64"):
        convert_model_to_onnx(trees)
    with pytest.raises(ColearnError, match="a dict to ONNX"):
        convert_model_to_onnx({})


def test_a_row_on_a_threshold_between_two_floats_takes_the_right_branch():
    low = np.float32(4.0)
    high = np.nextafter(low, np.float32(8))
    # Of two neighbours with an odd lower one, half-way rounds up to the even one.
    pairs = [(low, high), (high, np.nextafter(high, np.float32(8)))]
    for below, above in pairs:
        rows = np.array([[below], [above]] * 8, np.float32)
        labels = [0, 1] * 8
        model = RandomForestClassifier(3, bootstrap=False).fit(rows, labels)
        assert model.predict(rows).tolist() == labels
        session = onnxruntime.InferenceSession(
            convert_model_to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        assert session.run(["label"], {"X": rows})[0].tolist() == labels


def test_a_model_with_weights_in_another_file_is_refused(tmp_path):
    model = convert_model_to_onnx(LEARNERS["sgd log 2"]().model_)
    for tensor in model.graph.initializer:
        tensor.raw_data = b"held elsewhere"
        onnx.external_data_helper.set_external_data(tensor, location="w")
        tensor.ClearField("raw_data")
    with pytest.raises(ColearnError, match="another file"):
        deser_model(model.SerializeToString())
    hidden = onnx.helper.make_node("Constant", [], ["c"], value=model.graph.initializer[0])
    assert hidden.attribute[0].t.external_data
    inner = onnx.helper.make_graph([hidden], "inner", [], [])
    outer = onnx.helper.make_node("If", ["b"], ["o"], then_branch=inner, else_branch=inner)
    graph = onnx.helper.make_graph([outer], "g", [], [])
    with pytest.raises(ColearnError, match=r"another file"):
        deser_model(onnx.helper.make_model(graph).SerializeToString())


def test_too_many_bytes_are_no_model(monkeypatch):
    monkeypatch.setattr("colearn.learners.onnx.MODEL_BYTES_MAX", 10)
    with pytest.raises(ColearnError, match="may have 10 bytes"):
        deser_model(b"x" * 11)
