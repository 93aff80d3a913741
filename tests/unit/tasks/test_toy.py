import subprocess
import sys

import numpy as np
import pytest

from colearn import tasks
from colearn.errors import MissingExtraError

SHAPES = {
    "digits": (1797, 64, tuple(range(10))),
    "iris": (150, 4, (0, 1, 2)),
    "breast_cancer": (569, 30, (0, 1)),
    "wine": (178, 13, (0, 1, 2)),
    "diabetes": (442, 10, None),
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_task_has_its_rows_features_and_classes(name):
    rows, width, classes = SHAPES[name]
    task = getattr(tasks, name)()
    assert task.name == name
    assert task.X.shape == (rows, width)
    assert task.schema.classes == classes
    assert task.kind == ("regression" if classes is None else "classification")
    assert len(task.schema.features) == width
    assert all(type(feature) is str for feature in task.schema.features)


def test_digits_are_scaled_from_zero_to_one():
    task = tasks.digits()
    assert task.schema.features[:2] == ("pixel_0_0", "pixel_0_1")
    scaled = task.scaling.apply(task.X)
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_diabetes_starts_from_a_public_constant():
    task = tasks.diabetes()
    assert task.schema.constant == 150.0
    assert task.y.dtype == np.float64


@pytest.mark.parametrize("name", SHAPES)
def test_a_missing_scikit_learn_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"colearn\[sklearn\]") as caught:
        getattr(tasks, name)()
    assert caught.value.extra == "sklearn"


def test_importing_the_package_loads_no_framework():
    program = "import sys, colearn.tasks; sys.exit('sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
