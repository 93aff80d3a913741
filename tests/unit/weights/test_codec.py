import itertools
import json
import sys
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from colearn.errors import WeightsError
from colearn.weights import NamedArrays, WeightsLimits, decode, encode, freeze

DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]

ARRAYS = {
    "layer.w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer.b": np.array([0.5, -0.5]),
    "steps": np.array(7, np.int64),
    "mask": np.array([True, False, True]),
    "none": np.zeros((0, 4), np.float16),
}


def spelled(header, data=b"", *, pad=True):
    text = header if isinstance(header, bytes) else header.encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F64", shape=(1,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def compact(header):
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False)


GOOD = spelled(compact({"a": entry()}), bytes(8))


def refused(data, said=None, **limits):
    with pytest.raises(WeightsError, match=said) as caught:
        decode(data, WeightsLimits(**limits))
    str(caught.value).encode()  # what is said of hostile bytes can be printed


def test_what_was_written_is_read():
    data = encode(ARRAYS, {"family": "mlp", "a": "é"})
    back = decode(data)
    assert type(back) is NamedArrays
    assert back.metadata == {"family": "mlp", "a": "é"}
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)
    assert encode(back) == back.data == data
    assert decode(data).digest == freeze(ARRAYS, back.metadata).digest


def test_reading_shares_memory_with_the_bytes_received():
    data = encode(ARRAYS)
    assert decode(data).data is data


def test_bytes_that_can_change_are_copied():
    data = bytearray(encode(ARRAYS))
    back = decode(data)
    data[-1] ^= 1
    assert back.data == encode(ARRAYS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_makes_the_round_trip(dtype):
    for array in (np.ones(3, dtype), np.ones((), dtype), np.ones((2, 0), dtype)):
        back = decode(encode({"a": array}))["a"]
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        np.testing.assert_array_equal(back, array)


def test_the_smallest_weights_are_no_arrays_at_all():
    assert encode({}) == spelled("{}")
    assert decode(encode({})) == {}
    assert decode(encode({}, {"a": "b"})).metadata == {"a": "b"}


def test_equal_weights_have_equal_bytes():
    data = encode(ARRAYS, {"x": "1", "y": "2"})
    for order in itertools.permutations(ARRAYS):
        assert encode({name: ARRAYS[name] for name in order}, {"y": "2", "x": "1"}) == data
    swapped = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in ARRAYS.items()}
    assert encode(swapped, {"x": "1", "y": "2"}) == data
    fortran = {name: array.copy(order="F") for name, array in ARRAYS.items()}
    assert encode(fortran, {"x": "1", "y": "2"}) == data


@pytest.mark.parametrize(
    "other",
    [
        ARRAYS | {"steps": np.array(8, np.int64)},
        ARRAYS | {"steps": np.array([7], np.int64)},
        ARRAYS | {"steps": np.array(7, np.uint64)},
        ARRAYS | {"none": np.zeros((4, 0), np.float16)},
        {name.upper(): array for name, array in ARRAYS.items()},
        {},
    ],
)
def test_different_weights_have_different_bytes(other):
    assert encode(other) != encode(ARRAYS)
    assert encode(ARRAYS, {"a": "b"}) != encode(ARRAYS)


def test_frozen_weights_are_encoded_as_they_are_unless_metadata_is_given():
    frozen = freeze(ARRAYS, {"a": "b"})
    assert encode(frozen) is frozen.data
    assert encode(frozen, {}) == encode(ARRAYS)
    assert encode(frozen, {"c": "d"}) == encode(ARRAYS, {"c": "d"})


@pytest.mark.parametrize("metadata", [None, {"b": "2", "a": "1"}])
def test_the_safetensors_package_reads_the_same(metadata):
    data = encode(ARRAYS, metadata)
    theirs = safetensors.numpy.load(data)
    assert set(theirs) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert theirs[name].dtype == array.dtype
        np.testing.assert_array_equal(theirs[name], array)


def test_one_array_written_by_the_safetensors_package_is_canonical():
    array = {"a": np.arange(3.0)}
    assert safetensors.numpy.save(array) == encode(array)


def test_the_layout_is_that_of_6_3():
    data = encode(ARRAYS, {"z": "1", "a": "2"})
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    text = data[8 : 8 + length]
    assert text.rstrip(b" ") == (
        b'{"__metadata__":{"a":"2","z":"1"},'
        b'"layer.b":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},'
        b'"steps":{"dtype":"I64","shape":[],"data_offsets":[16,24]},'
        b'"layer.w":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]},'
        b'"none":{"dtype":"F16","shape":[0,4],"data_offsets":[48,48]},'
        b'"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[48,51]}}'
    )
    assert len(text) - len(text.rstrip(b" ")) < 8
    assert data[8 + length :] == b"".join(
        ARRAYS[name].tobytes() for name in ("layer.b", "steps", "layer.w", "none", "mask")
    )


def test_names_are_text_as_it_is_without_escapes():
    data = encode({"é\n": np.zeros(1)})
    assert '"é\\n":'.encode() in data
    assert list(decode(data)) == ["é\n"]


def test_the_hand_written_file_of_this_module_is_good():
    assert decode(GOOD) == {"a": np.zeros(1)}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "at least 8 bytes, got 0"),
        (b"\x08" + bytes(6), "at least 8 bytes, got 7"),
        (bytes(8), "no JSON object"),
        (GOOD[:-1], "8 bytes of arrays, got 7"),
        (GOOD + b"\0", "8 bytes of arrays, got 9"),
        (GOOD[:40], "should have"),
        ((2**63).to_bytes(8, "little") + GOOD[8:], "header may have"),
        (b"\xff" * 8 + GOOD[8:], "header may have"),
        (spelled(b'{"a":\xff}'), "no JSON object"),
        (spelled(b"\xef\xbb\xbf{}"), "no JSON object"),
        (spelled('{"a":'), "no JSON object"),
        (spelled("{} {}"), "no JSON object"),
        (spelled("[]"), "must be a JSON object, got list"),
        (spelled("null"), "must be a JSON object, got NoneType"),
        (spelled('"text"'), "must be a JSON object, got str"),
        (spelled("NaN"), "must be a JSON object, got float"),
        (spelled('{"a":' + "9" * 5000 + "}"), "no JSON object"),
        (spelled('{"a":{},"a":{}}'), "a key occurs twice"),
        (spelled('{"a":{"dtype":"F64","dtype":"F64","shape":[],"data_offsets":[0,8]}}'), "twice"),
        (spelled('{"__metadata__":{"a":"b","a":"c"}}'), "twice"),
    ],
)
def test_what_is_no_file_is_refused(data, said):
    refused(data, said)


@pytest.mark.parametrize(
    "header",
    [
        json.dumps({"a": entry()}),
        " " + compact({"a": entry()}),
        compact({"a": entry()}) + "\n",
        compact({"a": entry()}) + "\t",
        compact({"a": dict(reversed(entry().items()))}),
        compact({"a": entry()}).replace('"a"', '"\\u0061"'),
        compact({"a": entry()}).replace("[1]", "[1 ]"),
        compact({"__metadata__": {}, "a": entry()}),
        compact({"a": entry(), "__metadata__": {"x": "y"}}),
        compact({"__metadata__": {"y": "1", "x": "2"}, "a": entry()}),
        compact({"a": entry()}) + " " * 8,
        compact({"a": entry(offsets=(8, 16))}),
        compact({"a": entry(offsets=(8, 0))}),
        compact({"a": entry(offsets=(-8, 0))}),
        compact({"a": entry(offsets=(0, 7))}),
        compact({"a": entry(offsets=(0, 8, 16))}),
        compact({"a": entry(offsets=(0.0, 8.0))}),
        compact({"a": entry(offsets=(False, 8))}),
        compact({"a": entry(offsets=())}),
        compact({"a": {**entry(), "data_offsets": "0,8"}}),
        compact({"a": {**entry(), "data_offsets": None}}),
    ],
)
def test_another_spelling_of_the_same_weights_is_refused(header):
    refused(spelled(header, bytes(8)), "canonical")


def test_a_header_that_is_not_padded_with_spaces_is_refused():
    text = compact({"a": entry()})
    assert len(text) % 8
    refused(spelled(text, bytes(8), pad=False), "canonical")
    refused(spelled(text + "\0" * (-len(text) % 8), bytes(8)), "no JSON object")


@pytest.mark.parametrize(
    "order",
    [
        {"b": entry(offsets=(0, 8)), "a": entry(offsets=(8, 16))},
        {"b": entry(offsets=(8, 16)), "a": entry(offsets=(0, 8))},
        {"a": entry(offsets=(8, 16)), "b": entry(offsets=(0, 8))},
        {"a": entry(offsets=(0, 8)), "b": entry(offsets=(0, 8))},
        {"a": entry(offsets=(0, 8)), "b": entry(offsets=(4, 12))},
        {"a": entry("U32", (2,), (0, 8)), "b": entry(offsets=(8, 16))},
    ],
    ids=["by_name", "swapped", "swapped_data", "the_same_place", "overlapping", "by_item_size"],
)
def test_another_order_of_arrays_is_refused(order):
    refused(spelled(compact(order), bytes(16)), "canonical")


def test_a_gap_between_arrays_is_refused():
    gap = {"a": entry(offsets=(0, 8)), "b": entry(offsets=(16, 24))}
    refused(spelled(compact(gap), bytes(24)), "16 bytes of arrays, got 24")
    refused(spelled(compact(gap), bytes(16)), "canonical")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "f64"}, "expected a dtype of"),
        ({"dtype": "BF16"}, "expected a dtype of"),
        ({"dtype": "F8_E4M3"}, "expected a dtype of"),
        ({"dtype": "\ud800"}, "expected a dtype of"),
        ({"dtype": None}, "expected a dtype of"),
        ({"dtype": 1}, "expected a dtype of"),
        ({"dtype": ["F64"]}, "expected a dtype of"),
        ({"dtype": {}}, "expected a dtype of"),
        ({"shape": "1"}, "a shape of at most 8 dimensions"),
        ({"shape": None}, "a shape of at most 8 dimensions"),
        ({"shape": {"0": 1}}, "a shape of at most 8 dimensions"),
        ({"shape": [1] * 9}, "a shape of at most 8 dimensions"),
        ({"shape": [True]}, "whole dimensions"),
        ({"shape": [1.0]}, "whole dimensions"),
        ({"shape": ["1"]}, "whole dimensions"),
        ({"shape": [[1]]}, "whole dimensions"),
        ({"shape": [None]}, "whole dimensions"),
        ({"shape": [-1]}, "whole dimensions"),
        ({"shape": [-1, -1]}, "whole dimensions"),
        ({"shape": [2**63]}, "whole dimensions"),
        ({"shape": [10**100]}, "whole dimensions"),
        ({"shape": [2**63, 0]}, "whole dimensions"),
        ({"shape": [0, 2**63 - 1]}, "dimensions that can exist"),
        ({"shape": [2**62, 0, 2**62]}, "dimensions that can exist"),
        ({"shape": [2**40, 2**40]}, "dimensions that can exist"),
        ({"shape": [2**31]}, "may have 1073741824 bytes"),
        ({"extra": 1}, "expected dtype, shape and data_offsets"),
        ({"shape": ...}, "expected dtype, shape and data_offsets"),
        ({"dtype": ...}, "expected dtype, shape and data_offsets"),
        ({"data_offsets": ...}, "expected dtype, shape and data_offsets"),
    ],
)
def test_an_entry_that_describes_no_array_is_refused(changes, said):
    described = {k: v for k, v in {**entry(), **changes}.items() if v is not ...}
    refused(spelled(json.dumps({"a": described}, separators=(",", ":")), bytes(8)), said)


def test_an_empty_array_of_the_largest_size_is_read():
    shape = (0, 2**63 // 8 - 1)
    data = spelled(compact({"a": entry(shape=shape, offsets=(0, 0))}))
    assert decode(data)["a"].shape == shape


@pytest.mark.parametrize("value", [[], "text", 1, None, [1], True])
def test_an_entry_that_is_no_object_is_refused(value):
    refused(spelled(compact({"a": value})), "expected dtype, shape and data_offsets")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ([], "must be a JSON object"),
        ("x", "must be a JSON object"),
        (None, "must be a JSON object"),
        ({"a": 1}, "value of 'a' must be text"),
        ({"a": None}, "value of 'a' must be text"),
        ({"a": {"b": "c"}}, "value of 'a' must be text"),
        ({"a": ""}, "not empty"),
        ({"": "a"}, "not empty"),
        ({"a": "\ud800"}, "cannot be written as UTF-8"),
        ({"\udfff": "a"}, "cannot be written as UTF-8"),
        ({"a": "b" * 257}, "may have 256 bytes, got 257"),
        ({f"k{i:02}": "v" for i in range(33)}, "at most 32 metadata entries"),
    ],
)
def test_metadata_that_is_no_short_text_is_refused(metadata, said):
    refused(spelled(json.dumps({"__metadata__": metadata}, separators=(",", ":"))), said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "not empty"),
        ("\ud800", "cannot be written as UTF-8"),
        ("\udc00\ud800", "cannot be written as UTF-8"),
        ("n" * 257, "may have 256 bytes, got 257"),
    ],
)
def test_a_name_that_is_no_short_text_is_refused(name, said):
    refused(spelled(json.dumps({name: entry()}, separators=(",", ":")), bytes(8)), said)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([np.nan]), "'a' has 1 of 1 values that are NaN or infinite"),
        (np.array([np.inf, 1]), "'a' has 1 of 2"),
        (np.array([-np.inf], np.float32), "'a' has 1 of 1"),
        (np.array([np.nan], np.float16), "'a' has 1 of 1"),
        (np.array([2], np.uint8).view(bool), "'a' has a truth value that is neither 0 nor 1"),
        (np.array([255], np.uint8).view(bool), "'a' has a truth value"),
    ],
)
def test_a_value_that_is_no_number_is_refused(array, said):
    data = bytearray(encode({"a": np.zeros(array.shape, array.dtype)}))
    data[len(data) - array.nbytes :] = array.tobytes()
    refused(bytes(data), said)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_of_any_depth_is_refused(opening):
    closing = "]" if opening == "[" else "}"
    limit = sys.getrecursionlimit()
    # Around the limit, so that what parses at the last level is also tried.
    depths = [1, 100, *range(limit - 120, limit + 5), 100_000]
    if opening != "[":
        depths = [1, 100, *range(limit // 2 - 60, limit // 2 + 5), *range(limit - 60, limit, 7)]
    for depth in depths:
        nested = opening * depth + ("1" if opening != "[" else "") + closing * depth
        for header in (
            nested,
            f'{{"a":{nested}}}',
            f'{{"__metadata__":{{"a":{nested}}}}}',
            f'{{"a":{{"dtype":"F64","shape":[{nested}],"data_offsets":[0,8]}}}}',
            f'{{"a":{{"dtype":{nested},"shape":[1],"data_offsets":[0,8]}}}}',
            f'{{"a":{{"dtype":"F64","shape":[1],"data_offsets":{nested}}}}}',
        ):
            refused(spelled(header, bytes(8)))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"proposal_bytes": len(GOOD) - 1}, f"{len(GOOD) - 1} bytes, got {len(GOOD)}"),
        ({"header_bytes": len(GOOD) - 17}, "header may have"),
        ({"arrays_count": 0}, "at most 0 arrays, got 1"),
        ({"rank_count": 0}, "at most 0 dimensions"),
        ({"name_bytes": 0}, "may have 0 bytes, got 1"),
    ],
)
def test_one_below_each_limit_is_refused(limit, said):
    refused(GOOD, said, **limit)


@pytest.mark.parametrize(
    "limit",
    [
        {"proposal_bytes": len(GOOD)},
        {"header_bytes": len(GOOD) - 16},
        {"arrays_count": 1},
        {"rank_count": 1},
        {"name_bytes": 1},
        {"metadata_count": 0},
    ],
)
def test_exactly_each_limit_passes(limit):
    assert set(decode(GOOD, WeightsLimits(**limit))) == {"a"}


def test_the_limits_on_metadata():
    data = encode({"a": np.zeros(1)}, {"k": "v"})
    assert decode(data, WeightsLimits(metadata_count=1)).metadata == {"k": "v"}
    refused(data, "at most 0 metadata", metadata_count=0)


def peak_of(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        spelled(compact({"a": entry(shape=(10**10 // 8,), offsets=(0, 10**10))}), bytes(8)),
        spelled(compact({"a": entry(shape=(2**26,), offsets=(0, 2**29))}), bytes(8)),
        spelled(compact({"a": entry(shape=(0, 10**15), offsets=(0, 0))}), bytes(8)),
        (10**10).to_bytes(8, "little") + b"{}",
        (4 * 2**20).to_bytes(8, "little") + b"{}",
        spelled("[" * 10_000),
    ],
    ids=["ten_gb", "half_a_gb", "an_empty_array", "long_header", "allowed_header", "depth"],
)
def test_a_claim_of_much_data_allocates_little(data):
    refused(data)
    assert peak_of(lambda: refused(data)) < 2**20


def test_reading_a_large_file_allocates_little():
    data = encode({"w": np.zeros(2**22)})
    assert peak_of(lambda: decode(data)) < 2 * 2**20


def test_files_that_differ_in_metadata_leave_nothing_behind():
    arrays = {f"array{i:03}": np.zeros(1) for i in range(300)}
    size = len(encode(arrays))
    tracemalloc.start()
    try:
        for n in range(60):
            decode(encode(arrays, {"n": str(n)}))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20 * size


def test_ten_thousand_arrays_are_read_in_a_moment():
    arrays = {f"a{i}": np.zeros(1, np.uint8) for i in range(10_000)}
    data = encode(arrays)
    assert len(decode(data)) == 10_000
    with pytest.raises(WeightsError, match="at most 10000 arrays"):
        encode(arrays | {"b": np.zeros(1)})
