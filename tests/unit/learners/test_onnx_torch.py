import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from colearn import TorchLearner, convert_model_to_onnx
from colearn.errors import ColearnError
from colearn.experiment.export import export_model

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 4))
BINARY = (X[:, 0] > 0).astype(int)
WORDS = np.array(["one", "two", "three"])[BINARY + (X[:, 1] > 0.3)]
IMAGES = RNG.normal(size=(60, 1, 6, 6)).astype(np.float32)
TOKENS = RNG.integers(0, 9, (60, 5))


def dense(outputs):
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, outputs))


class Flat(nn.Module):
    """One value a row, (rows,)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, rows):
        return self.layer(rows)[:, 0]


def conv():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))


def words():
    return nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(15, 2))


def learner(module, rows, y, classes=None, **settings):
    one = TorchLearner(
        module, train=(rows[:40], y[:40]), vote=(rows[40:], y[40:]), classes=classes, **settings
    )
    one.mli_accept_weights(one.mli_propose_weights())
    return one


LEARNERS = {
    "words": lambda: learner(lambda: dense(3), X, WORDS, set(WORDS)),
    "one score in float64": lambda: learner(
        lambda: dense(1).double(), X, BINARY, [0, 1], loss="bce"
    ),
    "values": lambda: learner(Flat, X, X[:, 0]),
    "images": lambda: learner(conv, IMAGES, BINARY, [0, 1]),
    "tokens": lambda: learner(words, TOKENS, BINARY, [0, 1]),
}
ROWS = {"images": IMAGES, "tokens": TOKENS}


@pytest.mark.parametrize("name", LEARNERS)
def test_modules_are_exported_for_any_number_of_rows_and_nothing_is_printed(name, tmp_path, capfd):
    one, rows = LEARNERS[name](), ROWS.get(name, X)
    path = tmp_path / "m.onnx"
    done = export_model(one, path, rows, metadata={})
    assert done.difference < 1e-5
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    kind = np.int64 if name == "tokens" else np.float32
    for count in (1, 7):
        found = session.run(None, {"X": rows[:count].astype(kind)})
        expected = one.predictions(rows[:count].astype(kind))
        if one.schema.classes is None:
            assert names == ["variable"]
            assert found[0][:, 0] == pytest.approx(expected.scores, abs=1e-5)
        else:
            assert names == ["label", "probabilities"]
            assert found[1] == pytest.approx(expected.scores, abs=1e-5)
            labels = [one.schema.classes[place] for place in expected.best]
            assert found[0].tolist() == labels


def test_a_module_alone_is_exported_as_it_is_and_stays_in_its_mode():
    module = dense(3).train()
    before = torch.randn(2, 4)
    graph = convert_model_to_onnx(module, X[:2])
    assert module.training
    assert all(each.training for each in module)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(["output"], {"X": before.numpy()})[0]
    assert found == pytest.approx(module.eval()(before).detach().numpy(), abs=1e-6)


def test_a_module_needs_some_rows():
    with pytest.raises(ColearnError, match="A Sequential does not say what it reads"):
        convert_model_to_onnx(dense(2))


def test_a_module_that_branches_on_values_is_named():
    class Branching(nn.Module):
        def forward(self, rows):
            return rows if rows.sum().item() > 0 else -rows

    with pytest.raises(ColearnError, match="Cannot convert a Branching to ONNX"):
        convert_model_to_onnx(Branching(), X[:2])
