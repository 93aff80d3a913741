"""Tasks that read files, from an experiment file to a learned model, as ``colearn run`` does it."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from tests.unit.tasks.truck_files import HEADER, NAMES, written

PROGRAM = [sys.executable, "-c", "from colearn.cli import main; main()"]


def run(tmp_path, text):
    (tmp_path / "experiment.toml").write_text(text)
    done = subprocess.run(
        [*PROGRAM, "run", "experiment.toml", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    print(document)
    return document


def test_a_network_learns_pictures_in_folders(tmp_path):
    # Found and not imported, which would take seconds for this process alone.
    if find_spec("torch") is None:
        pytest.skip('torch is not here: pip install "colearn[torch]"')
    from sklearn.datasets import load_digits

    digits = load_digits()
    for digit, name in ((3, "NORMAL"), (8, "PNEUMONIA")):
        folder = tmp_path / "chest_xray" / "train" / name
        folder.mkdir(parents=True)
        for place, image in enumerate(digits.images[digits.target == digit]):
            pixels = Image.fromarray((image * 15.9).astype(np.uint8)).convert("RGB")
            pixels.resize((40, 30)).save(folder / f"person{place}.jpeg")
    document = run(
        tmp_path,
        """
        name = "xray"
        rounds = 4
        [task]
        use = "colearn.tasks:xray"
        with = { path = ".", side = 12, rows = 120 }
        split = { learners = 3 }
        [learner]
        use = "colearn.learners:TorchLearner"
        [learner.with]
        module = "colearn.learners.torch_models:small_cnn"
        module_with = { side = 12 }
        lr = 0.1
        epochs = 2
        metric = "roc_auc"
        """,
    )
    result = document["comparison"]
    assert result["test_rows"] == 36
    assert result["together"] > max(0.9, document["mean_alone"] - 0.05)


def test_a_linear_model_learns_which_trucks_fail(tmp_path):
    rng = np.random.default_rng(8)
    lines = []
    for row in range(900):
        positive = row % 15 == 0
        cells = rng.integers(0, 1000, len(NAMES)) + positive * 400
        texts = np.where(rng.random(len(NAMES)) < 0.08, "na", cells.astype(str))
        lines.append(",".join(["pos" if positive else "neg", *texts]))
    written(tmp_path, HEADER, *lines)
    document = run(
        tmp_path,
        """
        name = "scania"
        rounds = 4
        [task]
        use = "colearn.tasks:scania"
        with = { path = "aps_failure_training_set.csv", imputation = -1 }
        split = { learners = 3 }
        [preprocess]
        use = "shared"
        [learner]
        use = "colearn.learners:SklearnLearner"
        [learner.with]
        estimator = "sklearn.linear_model:SGDClassifier"
        loss = "log_loss"
        class_weight = "balanced"
        metric = "balanced_accuracy"
        monitor = ["average_precision", "f1"]
        """,
    )
    result = document["comparison"]
    assert result["test_rows"] == 270
    assert result["together"] > max(0.9, document["mean_alone"])
    assert set(document["monitored"]) == {"average_precision", "f1"}
    assert document["monitored"]["average_precision"] > 0.7
