import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import ConfigError
from colearn.privacy import fingerprint, split_digest
from colearn.privacy.fingerprint import _row_digests

X = np.arange(24, dtype=np.float64).reshape(8, 3) / 7
Y = np.array([0, 1, 0, 1, 2, 2, 0, 1])


@given(st.permutations(range(8)), st.integers(0, 8))
def test_neither_order_nor_division_matters(order, cut):
    first, second = order[:cut], order[cut:]
    assert fingerprint((X[first], Y[first]), (X[second], Y[second])) == fingerprint((X, Y))


def test_every_row_counts():
    whole = fingerprint((X, Y))
    assert whole != fingerprint((X[1:], Y[1:]))
    assert whole != fingerprint((np.vstack([X, X[:1]]), np.append(Y, Y[0])))
    assert whole != fingerprint((X, np.append(Y[1:], Y[0])))
    changed = X.copy()
    changed[3, 1] = np.nextafter(changed[3, 1], 9)
    assert whole != fingerprint((changed, Y))
    assert len(whole) == 64


def test_types_that_hold_the_same_numbers_are_one_dataset():
    small = X.astype(np.float32)
    assert fingerprint((small, Y)) == fingerprint((small.astype(np.float64), Y.astype(np.int8)))
    assert fingerprint((-0.0 * X, Y)) == fingerprint((0.0 * X, Y))
    assert fingerprint((X[::-1], Y[::-1])) == fingerprint((np.asfortranarray(X), Y.tolist()))
    assert fingerprint((X.astype(">f8"), Y.astype(">i4"))) == fingerprint((X, Y))
    nan = np.array([[np.float64.fromhex("0x1p0")]])
    nan[0, 0] = np.nan
    assert fingerprint((nan, [0])) == fingerprint((-nan, [0]))


def test_texts_and_mixed_rows_have_digests():
    texts = np.array(["ab", "c"])
    assert fingerprint((texts, [0, 1])) == fingerprint((texts.astype(object), [0, 1]))
    assert fingerprint((np.array([["ab", "c"]]), [0])) != fingerprint(
        (np.array([["a", "bc"]]), [0])
    )
    mixed = np.array([["a", 1, 0.5, None, True], ["b", 2, -0.0, b"x", False]], dtype=object)
    again = np.array([["a", 1, 0.5, None, 1], ["b", 2, 0.0, b"x", 0]], dtype=object)
    assert fingerprint((mixed, ["yes", "no"])) == fingerprint((again, ["yes", "no"]))
    days = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")
    assert fingerprint((days, [0, 1])) == fingerprint((days.astype("datetime64[s]"), [0, 1]))


def test_rows_are_converted_in_chunks(monkeypatch):
    whole = fingerprint((X, Y)), fingerprint((X.astype(str), Y))
    # The package's name of the function hides the module.
    module = importlib.import_module("colearn.privacy.fingerprint")
    monkeypatch.setattr(module, "_CHUNK_BYTES", 50)
    assert (fingerprint((X, Y)), fingerprint((X.astype(str), Y))) == whole


def test_a_split_is_which_rows_are_where():
    train, vote = (X[:5], Y[:5]), (X[5:], Y[5:])
    digest = split_digest({"train": train, "vote": vote})
    order = [4, 2, 0, 1, 3]
    assert digest == split_digest({"vote": vote, "train": (X[order], Y[order])})
    assert digest != split_digest({"train": vote, "vote": train})
    assert digest != split_digest({"train": (X[:4], Y[:4]), "vote": (X[4:], Y[4:])})
    assert digest != split_digest({"train": train, "vote": vote, "test": (X[:0], Y[:0])})
    assert digest != fingerprint(train, vote)


def test_images_and_no_rows():
    images = np.zeros((2, 4, 4), np.uint8)
    assert len(_row_digests(images, [0, 1])) == 64
    assert fingerprint((images[:0], [])) == fingerprint()


@pytest.mark.parametrize(
    "part",
    [
        (X, Y[1:]),
        (np.float64(1), [1]),
        (np.array([[object()]]), [1]),
        (np.array([[1j]]), [1]),
        ([[1, 2], [3]], [0, 1]),
    ],
    ids=["lengths", "no rows", "object", "complex", "ragged"],
)
def test_what_has_no_rows_of_values_is_refused(part):
    with pytest.raises(ConfigError):
        fingerprint(part)
