import numpy as np
import pytest

from colearn.errors import WeightsError
from colearn.weights import form_of, require_like

MODEL = {"w": np.zeros((2, 3)), "b": np.zeros(2, np.float32)}


def check(*, grows=False, **changes):
    proposed = {name: array for name, array in (MODEL | changes).items() if array is not None}
    require_like(form_of(proposed), form_of(MODEL), grows=grows)


def test_the_same_form_passes():
    check()
    check(w=np.ones((2, 3), order="F"))
    check(w=np.ones((2, 3), ">f8"))
    check(grows=True)


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b": None}, "'b' is missing"),
        ({"b": None, "w": None}, "'b' is missing"),
        ({"c": np.zeros(1)}, "'c' is not in the model"),
        ({"b": None, "B": np.zeros(2, np.float32)}, "'b' is missing"),
        ({"w": np.zeros((2, 3), np.float32)}, "'w' must have dtype float64, got float32"),
        ({"b": np.zeros(2, np.int32)}, "'b' must have dtype float32, got int32"),
        ({"w": np.zeros((3, 2))}, r"'w' must have shape \(2, 3\), got \(3, 2\)"),
        ({"w": np.zeros((1, 3))}, r"'w' must have shape \(2, 3\), got \(1, 3\)"),
        ({"w": np.zeros((2, 3, 1))}, r"'w' must have shape"),
        ({"w": np.zeros(6)}, r"'w' must have shape"),
        ({"w": np.zeros(())}, r"'w' must have shape"),
    ],
)
def test_another_form_is_refused_with_the_arrays_name(changes, said, grows):
    with pytest.raises(WeightsError, match=said):
        check(grows=grows, **changes)


def test_a_longer_first_dimension_passes_where_the_family_grows():
    check(w=np.zeros((5, 3)), grows=True)
    with pytest.raises(WeightsError, match=r"\(2, 3\), got \(5, 3\)"):
        check(w=np.zeros((5, 3)))
    with pytest.raises(WeightsError, match=r"\(2, 3\), got \(5, 4\)"):
        check(w=np.zeros((5, 4)), grows=True)


def test_a_scalar_does_not_grow():
    with pytest.raises(WeightsError, match=r"must have shape \(\), got \(1,\)"):
        require_like(form_of({"s": np.zeros(1)}), form_of({"s": np.zeros(())}), grows=True)
