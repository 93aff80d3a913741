import json

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

from colearn import Collective, RandomForestLearner
from colearn.cli.app import app
from colearn.errors import ColearnError, ConfigError
from colearn.experiment import RunFolder, load_config, plan
from colearn.experiment.exported_run import export_run
from colearn.learners.onnx import deser_model
from colearn.weights import content_id

FILE = """
name = "small"
rounds = 3
seed = 4
[task]
use = "colearn.tasks:{task}"
[task.split]
learners = 3
[learner]
use = "colearn.learners:{learner}"
[learner.with]
{settings}
"""
SGD = """
estimator = "sklearn.linear_model:SGDClassifier"
loss = "log_loss"
learning_rate = "constant"
eta0 = 0.05
"""
MLP = """
estimator = "sklearn.neural_network:MLPRegressor"
hidden_layer_sizes = [6]
learning_rate_init = 0.01
"""
RUNS = {
    "sgd": ("iris", "SklearnLearner", SGD),
    "mlp": ("diabetes", "SklearnLearner", MLP),
    "bayes": ("iris", "SklearnLearner", 'estimator = "sklearn.naive_bayes:GaussianNB"'),
    "forest": ("iris", "RandomForestLearner", "forest = { max_depth = 4 }"),
    "booster": ("breast_cancer", "XGBoostLearner", ""),
    "leafwise": ("iris", "LightGBMLearner", ""),
    "keras": ("iris", "KerasLearner", 'model = "colearn.learners.keras_models:mlp"'),
    "torch": ("iris", "TorchLearner", 'module = "colearn.learners.torch_models:mlp"'),
}


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def ran(folder, name):
    task, learner, settings = RUNS[name]
    file = folder / "experiment.toml"
    file.write_text(FILE.format(task=task, learner=learner, settings=settings))
    done = invoke("run", file, "-d", folder / "run", "--json")
    assert done.exit_code == 0, done.output
    return folder / "run", json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("sgd"), "sgd")


@pytest.mark.parametrize("name", [name for name in RUNS if name != "sgd"])
def test_a_run_of_every_adapter_is_exported(tmp_path, name):
    folder, summary = ran(tmp_path, name)
    assert summary["accepted"] > 0
    path = tmp_path / "m.onnx"
    done = invoke("export", folder, path, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["difference"] <= 1e-4
    assert told["adapter"] == RUNS[name][1]
    assert told["metadata"]["colearn.model"] == summary["model"]
    deser_model(path.read_bytes())


def test_the_file_says_what_it_is_and_answers(run, tmp_path):
    folder, summary = run
    path = tmp_path / "m.onnx"
    done = invoke("export", folder, path)
    assert done.exit_code == 0, done.output
    assert "SklearnLearner" in done.stdout
    assert "largest difference" in done.stdout
    facts = {each.key: each.value for each in onnx.load(path).metadata_props}
    last = [each for each in RunFolder.open(folder).records() if each.outcome == "accepted"][-1]
    assert facts["colearn.experiment"] == "small"
    assert facts["colearn.round"] == str(last.round_number)
    assert facts["colearn.model"] == content_id(bytes.fromhex(last.model)) == summary["model"]
    assert facts["colearn.ledger_head"] == summary["head"]
    assert json.loads(facts["colearn.classes"]) == [0, 1, 2]
    assert len(json.loads(facts["colearn.features"])) == 4
    offset, divisor = (json.loads(facts[f"colearn.{each}"]) for each in ("offset", "divisor"))
    X, y = load_iris(return_X_y=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = ((X - offset) / divisor).astype(np.float32)
    assert (session.run(["label"], {"X": rows})[0] == y).mean() > 0.5


def test_an_older_round_is_exported_by_its_number(run, tmp_path):
    folder, _ = run
    accepted = [each for each in RunFolder.open(folder).records() if each.outcome == "accepted"]
    done = export_run(folder, tmp_path / "m.onnx", round_number=accepted[0].round_number)
    assert done.metadata["colearn.model"] == content_id(bytes.fromhex(accepted[0].model))
    assert accepted[0].model != accepted[-1].model


def test_a_round_that_is_not_there_is_refused(run, tmp_path):
    done = invoke("export", run[0], tmp_path / "m.onnx", "--round", "99")
    assert done.exit_code == 2
    assert "Round 99 accepted no model" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_not_replaced(run, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"mine")
    refused = invoke("export", run[0], path)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert path.read_bytes() == b"mine"
    assert invoke("export", run[0], path, "--force").exit_code == 0
    deser_model(path.read_bytes())


def test_a_difference_above_the_tolerance_leaves_no_file(run, tmp_path):
    done = invoke("export", run[0], tmp_path / "m.onnx", "--tolerance", "0")
    assert done.exit_code == 1
    assert "differs from the original" in done.stderr
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_those_of_the_ledger_are_refused(tmp_path):
    folder, summary = ran(tmp_path, "sgd")
    digest = RunFolder.open(folder).records()[-1].model
    blob = next(path for path in (folder / "blobs").rglob("*") if digest in path.name)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(bytes(data))
    done = invoke("export", folder, tmp_path / "m.onnx")
    assert done.exit_code == 8
    assert not (tmp_path / "m.onnx").exists()
    assert summary["model"]


def test_a_model_that_its_members_have_not_certified_is_refused(tmp_path):
    text = FILE.format(task="iris", learner="SklearnLearner", settings=SGD)
    RunFolder.describe(tmp_path / "run", text)
    config = load_config(tmp_path / "run" / "experiment.toml")
    run = Collective(plan(config).group(), directory=tmp_path / "run", rounds=3, seed=4)
    records = list(run.rounds(1))
    assert records[0].outcome == "accepted"
    run.close()
    with pytest.raises(ConfigError, match="no certified model"):
        export_run(tmp_path / "run", tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="Round 1 is not certified"):
        export_run(tmp_path / "run", tmp_path / "m.onnx", round_number=1)
    assert not (tmp_path / "m.onnx").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    done = invoke("export", tmp_path, tmp_path / "m.onnx")
    assert done.exit_code == 2
    assert "no run" in done.stderr


def test_a_collective_exports_its_model(tmp_path):
    X, y = load_iris(return_X_y=True)
    learners = [
        RandomForestLearner(
            train=(X[place::6], y[place::6]),
            vote=(X[place + 1 :: 6], y[place + 1 :: 6]),
            classes=range(3),
            name=name,
        )
        for place, name in ((0, "ada"), (2, "ben"))
    ]
    run = Collective(learners)
    with pytest.raises(ColearnError, match="still empty"):
        run.export_onnx(tmp_path / "m.onnx", check=X[:50])
    for _ in run.rounds(2):
        pass
    done = run.export_onnx(tmp_path / "m.onnx", check=X[:50])
    assert done.rows == 100
    assert done.metadata["colearn.model"] == run.weights_.cid
    assert done.metadata["colearn.ledger_head"] == str(run.head_)
    run.close()
