import base64
import copy
import hashlib
import json
import operator
import pickle

import numpy as np
import pytest

from colearn.errors import WeightsError
from colearn.weights import NamedArrays, WeightsLimits, content_id, form_of, freeze

ARRAYS = {"w": np.arange(6.0).reshape(2, 3), "b": np.arange(3, dtype=np.int32)}


class Tagged(np.ndarray):
    pass


def test_a_frozen_dict_reads_like_the_dict_it_was_made_of():
    frozen = freeze(ARRAYS)
    assert isinstance(frozen, dict)
    assert set(frozen) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert type(frozen[name]) is np.ndarray
        assert frozen[name].dtype == array.dtype
        np.testing.assert_array_equal(frozen[name], array)


def test_freezing_copies_once_and_for_all():
    arrays = {name: array.copy() for name, array in ARRAYS.items()}
    frozen = freeze(arrays)
    arrays["w"][:] = 9
    arrays["new"] = np.zeros(1)
    np.testing.assert_array_equal(frozen["w"], ARRAYS["w"])
    assert "new" not in frozen


@pytest.mark.parametrize(
    "change",
    [
        lambda d: operator.setitem(d, "w", np.zeros(1)),
        lambda d: operator.delitem(d, "w"),
        lambda d: operator.ior(d, {"x": np.zeros(1)}),
        lambda d: d.update(w=np.zeros(1)),
        lambda d: d.update({}),
        lambda d: d.pop("w"),
        lambda d: d.popitem(),
        lambda d: d.clear(),
        lambda d: d.setdefault("x", np.zeros(1)),
        lambda d: d.fromkeys(["w"]),
        lambda d: setattr(d, "data", b""),
        lambda d: setattr(d, "layout", None),
        lambda d: setattr(d, "metadata", {}),
        lambda d: delattr(d, "data"),
        lambda d: d.__init__({}, b"", d.layout, {}),
        lambda d: setattr(d, "anything", 1),
    ],
    ids=[
        *("setitem", "delitem", "ior", "update", "update_with_nothing", "pop", "popitem", "clear"),
        *("setdefault", "fromkeys", "data", "layout", "metadata", "del_data", "init", "attribute"),
    ],
)
def test_no_method_changes_it(change):
    frozen = freeze(ARRAYS)
    digest = frozen.digest
    with pytest.raises((TypeError, AttributeError)):
        change(frozen)
    assert set(frozen) == set(ARRAYS)
    assert frozen.digest == digest == hashlib.sha256(frozen.data).hexdigest()


def test_every_method_of_dict_that_changes_is_refused():
    reading = {"copy", "fromkeys", "get", "items", "keys", "values"}
    changing = {name for name in dir(dict) if not name.startswith("__")} - reading
    changing |= {"__setitem__", "__delitem__", "__ior__"}
    frozen = freeze(ARRAYS)
    for name in changing:
        with pytest.raises(TypeError, match=r"work on weights\.copy\(\)"):
            getattr(frozen, name)("w", 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: operator.setitem(a, 0, 1.0),
        lambda a: a.fill(1),
        lambda a: a.sort(),
        lambda a: a.resize(1),
        lambda a: a.setflags(write=True),
        lambda a: operator.iadd(a, 1),
        lambda a: a.byteswap(inplace=True),
        lambda a: np.copyto(a, 1),
        lambda a: operator.setitem(a.view(np.uint8), 0, 1),
        lambda a: operator.setitem(a.base, 0, 1),
        lambda a: np.frombuffer(a, np.uint8).setflags(write=True),
        lambda a: operator.setitem(memoryview(a).cast("B"), 0, 1),
        lambda a: operator.setitem(np.lib.stride_tricks.as_strided(a), 0, 1),
    ],
)
@pytest.mark.parametrize("name", ARRAYS)
def test_its_arrays_cannot_be_written(name, change):
    frozen = freeze(ARRAYS)
    with pytest.raises((ValueError, TypeError)):
        change(frozen[name].reshape(-1))
    np.testing.assert_array_equal(frozen[name], ARRAYS[name])


def test_copies_can_be_changed():
    frozen = freeze(ARRAYS)
    shallow, deep, plain = copy.copy(frozen), copy.deepcopy(frozen), frozen.copy()
    merged = frozen | {"x": np.zeros(1)}
    for other in (shallow, deep, plain, merged, dict(frozen)):
        assert type(other) is dict
        other["y"] = np.ones(1)
    deep["w"][0, 0] = plain["w"][0, 0] = 7
    np.testing.assert_array_equal(frozen["w"], ARRAYS["w"])
    assert not shallow["w"].flags.writeable


def test_a_pickle_of_it_comes_back_frozen_and_equal():
    frozen = freeze(ARRAYS, {"family": "mlp"})
    back = pickle.loads(pickle.dumps(frozen))
    assert type(back) is NamedArrays
    assert back.data == frozen.data
    assert back.metadata == {"family": "mlp"}


def test_metadata_is_a_copy_that_nobody_can_change():
    metadata = {"family": "mlp"}
    frozen = freeze(ARRAYS, metadata)
    metadata["family"] = "forest"
    assert frozen.metadata == {"family": "mlp"}
    with pytest.raises(TypeError):
        frozen.metadata["family"] = "forest"


def test_weights_without_metadata_share_nothing():
    with pytest.raises(TypeError):
        freeze(ARRAYS).metadata["left"] = "behind"
    assert freeze(ARRAYS).metadata == {}


def test_digest_and_cid_are_those_of_the_bytes():
    frozen = freeze(ARRAYS)
    assert frozen.digest == hashlib.sha256(frozen.data).hexdigest()
    assert frozen.digest == frozen.digest
    # CIDv1: version 1, codec raw 0x55, multihash sha2-256 0x12 of 0x20 bytes; base32, no padding.
    whole = b"\x01\x55\x12\x20" + hashlib.sha256(frozen.data).digest()
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    bits = "".join(f"{byte:08b}" for byte in whole)
    bits += "0" * (-len(bits) % 5)
    text = "b" + "".join(alphabet[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))
    assert frozen.cid == text
    padded = frozen.cid[1:].upper() + "=" * (-len(frozen.cid[1:]) % 8)
    assert base64.b32decode(padded) == whole


def test_a_known_cid():
    # `ipfs add --raw-leaves --cid-version 1` of an empty file.
    empty = hashlib.sha256(b"").digest()
    assert content_id(empty) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.arange(12.0)[::2], [0.0, 2, 4, 6, 8, 10]),
        (np.arange(3.0)[::-1], [2.0, 1, 0]),
        (np.arange(6.0).reshape(2, 3).T, [[0.0, 3], [1, 4], [2, 5]]),
        (np.asfortranarray(np.arange(4.0).reshape(2, 2)), [[0.0, 1], [2, 3]]),
        (np.arange(3, dtype=">f8"), [0.0, 1, 2]),
        (np.arange(6, dtype=">i4")[::2], [0, 2, 4]),
        (np.array(2.5), 2.5),
        (np.array(7, ">u2"), 7),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.zeros((3, 0), np.float32), np.zeros((3, 0))),
        (np.broadcast_to(np.float64(1), (2, 2)), [[1.0, 1], [1, 1]]),
        (np.arange(3.0).view(Tagged), [0.0, 1, 2]),
        (np.arange(4.0).view(Tagged)[::2], [0.0, 2]),
        (np.array([True, False]), [True, False]),
        (np.rec.array(np.arange(2.0)), [0.0, 1]),
    ],
    ids=[
        *("strided", "reversed", "transposed", "fortran", "big_endian", "big_endian_strided"),
        *("scalar", "big_endian_scalar", "empty", "empty_float32", "broadcast", "subclass"),
        *("strided_subclass", "bool", "recarray"),
    ],
)
def test_any_memory_order_and_byte_order_freezes_to_the_same(array, expected):
    frozen = freeze({"a": array})["a"]
    np.testing.assert_array_equal(frozen, np.asarray(expected))
    assert type(frozen) is np.ndarray
    assert frozen.dtype == array.dtype.newbyteorder("<")
    assert frozen.shape == array.shape
    assert frozen.flags.c_contiguous
    assert not frozen.flags.writeable


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ma.masked_array([1.0, 2.0], mask=[True, False]), "Expected a numpy array under 'a'"),
        ([1.0, 2.0], "got list"),
        (1.0, "got float"),
        (np.float64(1), "got float64"),
        (None, "got NoneType"),
        (np.array([None]), "dtype object"),
        (np.array(["x"]), "dtype <U1"),
        (np.array([b"x"]), r"dtype \|S1"),
        (np.zeros(1, complex), "dtype complex128"),
        (np.zeros(1, "M8[s]"), r"dtype datetime64\[s\]"),
        (np.zeros(1, "m8[s]"), r"dtype timedelta64\[s\]"),
        (np.zeros(1, [("x", "f8")]), "which weights cannot have"),
        (np.zeros(1, "V4"), "which weights cannot have"),
        (np.array([1.0, np.nan]), "'a' has 1 of 2 values that are NaN or infinite"),
        (np.array([np.inf, -np.inf], np.float32), "'a' has 2 of 2 values"),
        (np.array(np.nan, np.float16), "'a' has 1 of 1 values"),
        (np.array([2, 0], np.uint8).view(bool), "'a' has a truth value"),
        (np.full(2**20 + 5, 0.0) + np.where(np.arange(2**20 + 5) == 2**20 + 4, np.inf, 0), "1 of"),
    ],
)
def test_what_is_no_array_of_finite_numbers_is_refused(array, said):
    with pytest.raises(WeightsError, match=said):
        freeze({"a": array})


@pytest.mark.skipif(np.dtype(np.longdouble) == np.dtype("f8"), reason="longdouble is float64 here")
def test_extended_precision_is_refused():
    with pytest.raises(WeightsError, match="which weights cannot have"):
        freeze({"a": np.zeros(1, np.longdouble)})


def test_the_array_with_the_wrong_value_is_the_one_named():
    arrays = {name: np.zeros(3) for name in "abcde"} | {"i": np.zeros(3, np.int64)}
    arrays["d"][1] = np.nan
    with pytest.raises(WeightsError, match="'d' has 1 of 3"):
        freeze(arrays)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([("a", np.zeros(1))], "must be a dict of numpy arrays, got list"),
        (None, "got NoneType"),
        (np.zeros(3), "got ndarray"),
        ({1: np.zeros(1)}, "must be text, got a int"),
        ({b"a": np.zeros(1)}, "must be text, got a bytes"),
        ({type("Name", (str,), {})("a"): np.zeros(1)}, "must be text, got a Name"),
        ({"": np.zeros(1)}, "not empty"),
        ({"__metadata__": np.zeros(1)}, "reserved"),
        ({"\ud800": np.zeros(1)}, "cannot be written as UTF-8"),
    ],
)
def test_what_is_no_dict_of_text_to_arrays_is_refused(arrays, said):
    with pytest.raises(WeightsError, match=said):
        freeze(arrays)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": 1}, "value of 'a' must be text"),
        ({"a": ""}, "not empty"),
        ({"": "a"}, "metadata key must be text"),
        ({1: "a"}, "metadata key must be text"),
        ({"a": "\udfff"}, "cannot be written as UTF-8"),
        ({"a" * 257: "b"}, "may have 256 bytes, got 257"),
        ({"a": "é" * 129}, "may have 256 bytes, got 258"),
        ({str(i): "x" for i in range(33)}, "at most 32 metadata entries, got 33"),
    ],
)
def test_metadata_that_is_no_short_text_is_refused(metadata, said):
    with pytest.raises(WeightsError, match=said):
        freeze(ARRAYS, metadata)


def test_the_form_tells_names_dtypes_and_shapes_in_file_order():
    assert form_of(ARRAYS).forms == (
        ("w", np.dtype("<f8"), (2, 3)),
        ("b", np.dtype("<i4"), (3,)),
    )
    frozen = freeze(ARRAYS)
    assert form_of(frozen) is frozen.layout
    assert form_of({"w": np.array([np.nan])}).data_bytes == 8
    with pytest.raises(WeightsError):
        form_of({"w": [1]})


def test_a_likely_form_that_is_wrong_changes_nothing():
    for other in ({"w": np.zeros(1)}, {"w": np.zeros((2, 3), "f4"), "b": ARRAYS["b"]}, {}):
        likely = form_of(other)
        assert freeze(ARRAYS, like=likely).data == freeze(ARRAYS).data
    assert freeze(ARRAYS, like=form_of(ARRAYS)).data == freeze(ARRAYS).data


LIMIT_CASES = [
    ({"arrays_count": 2}, {"a": np.zeros(1), "b": np.zeros(1)}, {"c": np.zeros(1)}, "2 arrays"),
    ({"rank_count": 1}, {"a": np.zeros(1)}, {"b": np.zeros((1, 1))}, "at most 1"),
    ({"name_bytes": 3}, {"abc": np.zeros(1)}, {"abcd": np.zeros(1)}, "3 bytes, got 4"),
    ({"name_bytes": 3}, {"é1": np.zeros(1)}, {"éé": np.zeros(1)}, "3 bytes, got 4"),
]


@pytest.mark.parametrize(("limit", "most", "more", "said"), LIMIT_CASES)
def test_each_limit_lets_its_own_number_pass_and_no_more(limit, most, more, said):
    limits = WeightsLimits(**limit)
    freeze(most, limits=limits)
    form_of(most, limits)
    for refuse in (
        lambda: freeze(most | more, limits=limits),
        lambda: form_of(most | more, limits),
    ):
        with pytest.raises(WeightsError, match=said):
            refuse()


def test_the_limit_on_bytes_covers_header_and_arrays():
    size = len(freeze(ARRAYS).data)
    assert freeze(ARRAYS, limits=WeightsLimits(proposal_bytes=size)).data
    for like in (None, form_of(ARRAYS)):
        with pytest.raises(WeightsError, match=f"may have {size - 1} bytes, got {size}"):
            freeze(ARRAYS, limits=WeightsLimits(proposal_bytes=size - 1), like=like)
    with pytest.raises(WeightsError, match="may have 59 bytes, got 60"):
        form_of(ARRAYS, WeightsLimits(proposal_bytes=59))


def test_the_limit_on_metadata_entries():
    limits = WeightsLimits(metadata_count=1)
    assert json.loads(freeze(ARRAYS, {"a": "b"}, limits).data[8:100].split(b"}")[0] + b"}}")
    with pytest.raises(WeightsError, match="at most 1 metadata"):
        freeze(ARRAYS, {"a": "b", "c": "d"}, limits)


READERS = [
    lambda frozen: frozen["w"],
    lambda frozen: frozen.get("w"),
    lambda frozen: dict(frozen.items())["w"],
    lambda frozen: next(a for a in frozen.values() if a.ndim == 2),
    lambda frozen: dict(frozen)["w"],
    lambda frozen: dict(**frozen)["w"],
    lambda frozen: {**frozen}["w"],
    lambda frozen: (frozen | {})["w"],
    lambda frozen: ({} | frozen)["w"],
    lambda frozen: copy.copy(frozen)["w"],
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")
def test_a_new_shape_or_dtype_is_seen_only_by_whoever_set_it(read):
    frozen = freeze(ARRAYS)
    read(frozen).shape = (3, 2)
    read(frozen).dtype = np.int64
    read(frozen).strides = (0, 0)
    np.testing.assert_array_equal(read(frozen), ARRAYS["w"])
    assert frozen["w"].dtype == np.float64


def test_a_name_that_is_not_there():
    frozen = freeze(ARRAYS)
    assert frozen.get("x") is None
    assert frozen.get("x", 3) == 3
    with pytest.raises(KeyError):
        _ = frozen["x"]
