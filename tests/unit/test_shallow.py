import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.shallow import DEPTH_MAX, read_json

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=200,
)


def nested(depth, opening="[", closing="]"):
    return (opening * depth + closing * depth).encode()


@given(TREES)
def test_what_json_reads_is_read(document):
    # Many brackets, so that the depth is looked at.
    data = json.dumps([document, [[]] * DEPTH_MAX], ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
    try:
        wanted = json.loads(data.decode())
    except UnicodeDecodeError:
        with pytest.raises(ValueError):
            read_json(data)
        return
    assert read_json(data) == wanted


def test_the_depth_is_exact():
    assert read_json(nested(DEPTH_MAX)) is not None
    for data in (nested(DEPTH_MAX + 1), b"[" * 100_000, b'{"a":' * 100_000, nested(100_000)):
        with pytest.raises(ValueError, match="nest deeper"):
            read_json(data)
    mixed = b'[{"a":' * (DEPTH_MAX // 2) + b"1" + b"}]" * (DEPTH_MAX // 2)
    assert read_json(mixed)


@pytest.mark.parametrize(
    "text",
    ['"' + "]" * 200_000 + '"', '"\\\\", "' + "]" * 200_000 + '"', '"\\"' + "]" * 200_000 + '"'],
    ids=["plain", "after a backslash", "after an escaped mark"],
)
def test_brackets_in_text_hide_no_depth(text):
    with pytest.raises(ValueError, match="nest deeper"):
        read_json(f"[{text}, ".encode() + nested(100_000) + b"]")
    assert read_json(f"[{text}, {json.dumps([[]] * 99)}]".encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_other_encodings_are_no_json(encoding):
    with pytest.raises(ValueError):
        read_json('["a"]'.encode(encoding))


def test_a_process_that_lets_recursion_go_far_is_not_ended_by_brackets():
    program = """
import sys
sys.setrecursionlimit(10**6)
from colearn.core.encoding import decode_call
from colearn.errors import ColearnError
from colearn.experiment.specification import read_specification
from colearn.ledger import _wire
from colearn.weights import decode
deep = b"[" * 60_000
header = len(deep).to_bytes(8, "little") + deep
for read, data in ((decode_call, deep), (read_specification, deep * 10), (_wire.load, deep * 50), (decode, header)):
    try:
        read(data)
    except ColearnError:
        print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["refused"] * 4), done.stderr
