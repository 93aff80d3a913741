import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from colearn.errors import WeightsError
from colearn.weights import decode, encode

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name != "__metadata__"
)
DTYPES = st.sampled_from(["?", "u1", "i1", "<u2", ">i2", "<f2", "<f4", ">f8", "<i8", ">u4", "<f8"])
METADATA = st.dictionaries(NAMES, NAMES, max_size=3)


@st.composite
def arrays_of(draw):
    dtype = np.dtype(draw(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else None
    elements = hnp.from_dtype(dtype, **(finite or {}))
    array = draw(hnp.arrays(dtype, shape, elements=elements))
    return array.copy(order=draw(st.sampled_from("CF")))


WEIGHTS = st.dictionaries(NAMES, arrays_of(), max_size=5)


def read(data):
    """Decode, and say that nothing but a WeightsError or an equal file comes of it."""
    try:
        weights = decode(data)
    except WeightsError as error:
        str(error).encode()
        return None
    assert encode(dict(weights), weights.metadata) == data
    assert all(np.isfinite(array).all() for array in weights.values())
    return weights


@given(WEIGHTS, METADATA)
def test_any_weights_make_the_round_trip(arrays, metadata):
    data = encode(arrays, metadata)
    back = read(data)
    assert back is not None
    assert back.metadata == metadata
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


@given(WEIGHTS, METADATA, st.randoms(use_true_random=False))
def test_no_order_of_dict_or_memory_shows_in_the_bytes(arrays, metadata, random):
    names, keys = list(arrays), list(metadata)
    random.shuffle(names)
    random.shuffle(keys)
    other = {
        name: arrays[name].astype(arrays[name].dtype.newbyteorder("S"), order="F") for name in names
    }
    assert encode(other, {key: metadata[key] for key in keys}) == encode(arrays, metadata)


@given(WEIGHTS, METADATA)
def test_the_safetensors_package_agrees(arrays, metadata):
    theirs = safetensors.numpy.load(encode(arrays, metadata))
    assert set(theirs) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x02" + bytes(7) + b"{}")
def test_random_bytes_are_refused_or_canonical(data):
    read(data)


@given(st.binary(max_size=200), st.booleans())
def test_random_headers_of_the_right_length_are_refused_or_canonical(text, braced):
    text = b"{" + text + b"}" if braced else text
    read(len(text).to_bytes(8, "little") + text)


SAMPLES = [
    encode({"w": np.arange(3.0), "b": np.ones((2, 2), np.float32)}, {"family": "mlp"}),
    encode({"m": np.array([True, False]), "n": np.array(3, np.int16)}),
    encode({}),
]

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "copy", "digit"]),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


def edit(data, kind, first, second, new):
    start, end = sorted((first % (len(data) + 1), second % (len(data) + 1)))
    match kind:
        case "flip":
            flipped = data[start : start + 1]
            return data[:start] + bytes(b ^ new[0] for b in flipped) + data[start + 1 :]
        case "cut":
            return data[:start] + data[min(end, start + 20) :]
        case "insert":
            return data[:start] + new + data[start:]
        case "copy":
            return data[:start] + data[start:end] + data[start:]
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    if not digits:
        return data
    place = digits[first % len(digits)]
    return data[:place] + str(second % 10).encode() + data[place + 1 :]


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
@given(changes=edits, fitted=st.booleans())
def test_edited_files_are_refused_or_canonical(sample, changes, fitted):
    data = SAMPLES[sample]
    for change in changes:
        data = edit(data, *change)
    if fitted and len(data) >= 8:  # make the length word true again where the header changed
        end = data.rfind(b"}") + 1
        end += -end % 8
        data = max(end - 8, 0).to_bytes(8, "little") + data[8:]
    read(data)
