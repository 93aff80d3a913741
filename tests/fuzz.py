"""Hostile input for property tests: documents and bytes that are nearly right, or not at all."""

import copy
import json

from hypothesis import strategies as st

from colearn.errors import ColearnError

TEXTS = [
    "", "0", "-1", "1e9", "x", "\x00", "\x1b[2J", "\u202e", "\ud800", "\udfff", "é", "\r\n", "../x",
    "00" * 32, "AB" * 32, "0x" + "00" * 20, "NaN", "[", "١٢", "a" * 5000,
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2, 255, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64, 2**256, 10**4000, -(2**63),
    0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
OTHERS = [None, True, False, [], {}, [[]], [None], {"": None}, {"a": {}}]


def deep(count, kind=list):
    """Return lists or tables within each other."""
    found = kind()
    for _ in range(count):
        found = [found] if kind is list else {"a": found}
    return found


def values():
    """Whatever JSON can hold, and mostly what breaks readers."""
    return st.one_of(
        # Copies, as what was put into a document may be changed again.
        st.sampled_from([*OTHERS, *NUMBERS, *TEXTS]).map(copy.deepcopy),
        st.text(max_size=20),
        st.integers(),
        st.floats(),
        st.integers(1, 400).map(deep),
        st.integers(1, 400).map(lambda count: deep(count, dict)),
    )


def _places(value, found, most=400):
    if isinstance(value, dict | list) and len(found) < most:
        for key in value if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            _places(value[key], found, most)
    return found


def _change(draw, document):
    places = _places(document, [])
    if not places or draw(st.integers(0, 19)) == 0:
        return draw(values())
    holder, key = draw(st.sampled_from(places))
    kind = draw(st.sampled_from(["set", "set", "drop", "add", "twice", "wrap", "move", "text"]))
    value = holder[key]
    if kind == "set":
        holder[key] = draw(values())
    elif kind == "drop":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[draw(st.sampled_from(TEXTS) | st.text(max_size=8))] = draw(values())
    elif kind == "add":
        holder.insert(key, draw(values()))
    elif kind == "twice" and isinstance(holder, list):
        holder += holder[: draw(st.integers(1, 3))] * draw(st.sampled_from([1, 30]))
    elif kind == "wrap":
        holder[key] = draw(st.sampled_from([[value], {"a": value}, str(value), [value, value]]))
    elif kind == "move":
        other, at = draw(st.sampled_from(places))
        if at in other if isinstance(other, dict) else at < len(other):
            holder[key] = copy.deepcopy(other[at])
    elif isinstance(value, str):
        begin = draw(st.integers(0, len(value)))
        holder[key] = value[:begin] + draw(st.sampled_from(TEXTS)) + value[begin + 1 :]
    elif type(value) in (int, float) and abs(value) < 1e300:
        holder[key] = draw(st.sampled_from([-value, value + 1, value - 1, float(value), value * 2]))
    return document


@st.composite
def changed(draw, document):
    """A document that is changed in a few places, or in none."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        document = _change(draw, document)
    return document


@st.composite
def spelled(draw, document):
    """A document's bytes: canonical mostly, sometimes in a way that nobody should write."""
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if kind == 1:
        return json.dumps(document, indent=1).encode(draw(st.sampled_from(["utf-16", "utf-8-sig"])))
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    if kind == 2 and data[:1] == b"{" and len(document):
        # A key stands in it twice.
        key = draw(st.sampled_from(sorted(document)))
        extra = f"{json.dumps(key)}:{json.dumps(draw(values()))},".encode()
        return b"{" + extra + data[1:]
    return data


@st.composite
def spoiled(draw, data):
    """Bytes in which something is changed, missing, or too much."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 16)))
        kind = draw(st.sampled_from(["flip", "cut", "drop", "insert", "twice"]))
        if kind == "flip" and at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at:end]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=8) | st.sampled_from(PIECES))
        else:
            data[at:at] = data[at:end] * draw(st.sampled_from([1, 1000]))
    return bytes(data)


PIECES = [
    b"[" * 2000, b'{"a":' * 2000, b"1" * 5000, b"NaN", b"\xff\xfe", b"\x00", b"\xed\xa0\x80",
    b"\r\n", b"1e999", b'"', b"}", b"]", b"\xef\xbb\xbf",
]  # fmt: skip


def hostile_bytes(document):
    """Bytes in place of a document's JSON."""
    whole = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return st.one_of(
        changed(document).flatmap(spelled),
        changed(document).flatmap(spelled),
        spoiled(whole),
        st.sampled_from(PIECES),
        st.binary(max_size=200),
    )


def is_plain(text):
    """Say whether a text can be written to any terminal and does nothing there."""
    return all(each.isprintable() or each == "\n" for each in text) and len(text) < 10_000


def attempt(read, data):
    """Return what a reader makes of data; None where it refuses it as it should."""
    try:
        return read(data)
    except ColearnError as error:
        text = str(error)
    assert is_plain(text), text[:500]
    return None
