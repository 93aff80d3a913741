"""Files that others wrote, or that a crash or somebody has spoiled: read as they are, or refused.

Nothing but a ColearnError may come of reading them, and its text must do nothing to a terminal.
"""

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fuzz import PIECES, attempt, changed, hostile_bytes, is_plain, spoiled, values
from tests.logs import CREATE, SetClock, filled_log

from colearn.audit import audit, open_source
from colearn.audit.blobs import check_blobs
from colearn.audit.report import Check
from colearn.audit.run import parse_head
from colearn.audit.story import Story
from colearn.core import events
from colearn.experiment import parse_config
from colearn.experiment.config import load_config
from colearn.experiment.journal import Journal
from colearn.experiment.records import RoundRecord
from colearn.network.folder import NodeFolder
from colearn.network.invitation import Invitation
from colearn.network.settings import NodeSettings
from colearn.store import MemoryStore

DIGEST = "5c" * 32
INVITATION = Invitation(
    "http://127.0.0.1:8463", "1" * 64, 1, "2" * 64, "3" * 64, "peers", ("https://ada.example",)
)
CONFIG = parse_config(
    {
        "rounds": 4,
        "patience": 3,
        "target": 0.9,
        "task": {"use": "colearn.tasks:iris", "split": {"learners": 3}, "with": {"a": [1, "b"]}},
        "vote": {"threshold": "3/5"},
        "phases": {"propose_s": 60, "reveal_s": 30},
    }
)
NODE = NodeSettings.of(
    name="ada", invitation=INVITATION.to_link(), key="key.json", address="0x" + "ab" * 20, share=2,
    overrides=("seed=1",), listen="127.0.0.1:8464", public_url="https://ada.example",
)  # fmt: skip
RECORD = {
    "round_number": 1, "proposer": "ada", "outcome": "accepted", "reason": "", "members": 3,
    "approvals": 2, "needed": 1, "rejections": 0, "abstentions": 0, "silent": 0,
    "votes": {"bob": "approve"}, "vote_scores": {"bob": 0.5}, "test_scores": {"bob": None},
    "score": 0.5, "proposal": DIGEST, "model": DIGEST, "failures": {},
    "monitored": {"bob": {"auc": 0.7}},
}  # fmt: skip


# ---------------------------------------------------------------------------- files of a node


def toml_bytes(document):
    """TOML in which something is changed."""
    whole = tomli_w.dumps(document).encode()
    return st.one_of(
        changed(document).map(written), spoiled(whole), st.sampled_from(PIECES),
        st.sampled_from(PIECES).map(lambda piece: b"name = " + piece),
    )  # fmt: skip


def written(document):
    try:
        return tomli_w.dumps(document).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, AttributeError, RecursionError):
        # Not filtered: how deep is too deep depends on who calls.
        return b""


NESTED = [b"a = " + b"[" * 10**5, b"a = " + b"{a=" * 10**5, b"a = " + b"9" * 5000, b"\xff", b"\x00"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("node")


@given(toml_bytes(NODE.model_dump(mode="json", exclude_none=True)))
@example(NESTED[0])
@example(NESTED[1])
@example(NESTED[2])
@example(b'"\\u001b[2J" = 1')
def test_the_settings_of_a_node(folder, raw):
    file = folder / "node.toml"
    file.write_bytes(raw)
    found = attempt(NodeSettings.read, file)
    if found is not None:
        file.write_text(found.to_toml(), encoding="utf-8")
        assert NodeSettings.read(file) == found
        attempt(NodeFolder.open, folder)


@given(toml_bytes(CONFIG.model_dump(mode="json", by_alias=True, exclude_none=True)))
@example(NESTED[0])
@example(NESTED[1])
@example(NESTED[2])
@example(b'"\\u001b[2J\\u202e" = 1')
def test_experiments(folder, raw):
    file = folder / "experiment.toml"
    file.write_bytes(raw)
    found = attempt(load_config, file)
    if found is not None:
        file.write_text(found.to_toml(), encoding="utf-8")
        assert repr(load_config(file)) == repr(found)


@given(st.sampled_from(["seed", "task.with.x", "vote.z", "", "\x1b", "task"]), st.text() | values())
@example("rounds", "9" * 5000)
@example("rounds", "[" * 10**5)
def test_overrides(key, value):
    attempt(lambda entry: parse_config({}, [entry]), f"{key}={value}")


SMALL = {"pid": 7, "health": "http://127.0.0.1:1", "started": 9}
SMALL |= {"height": 3, "head": DIGEST, "round": 1, "parent": DIGEST, "digest": DIGEST}


@given(hostile_bytes(SMALL))
def test_notes_of_a_node(folder, raw):
    node = NodeFolder(folder, NODE)
    for name in ("state.json", "anchor.json", "proposal.json"):
        (folder / name).write_bytes(raw)
    state, head, proposal = node.state(), node.anchor(), node.proposal_of((1, DIGEST))
    assert state is None or (type(state.pid) is int and state.pid > 0)
    assert head is None or (type(head.height) is int and isinstance(head.digest, str))
    assert proposal is None or isinstance(proposal, str)


@given(hostile_bytes(RECORD))
def test_records_of_rounds(raw):
    text = raw.decode("utf-8", "replace")
    found = attempt(RoundRecord.from_json, text)
    assert found is None or isinstance(found, RoundRecord)
    attempt(lambda line: Journal().load([line]), text)


# ------------------------------------------------------------------------------ the audit


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    path = filled_log(tmp_path_factory.mktemp("log") / "ledger.db", rounds=1, clock=SetClock())
    return path.read_bytes()


@given(st.data())
@settings(max_examples=60)
def test_an_audit_of_a_spoiled_ledger_finds_it_or_nothing(folder, ledger, data):
    path = folder / "ledger.db"
    raw = data.draw(spoiled(ledger))
    path.write_bytes(raw)
    report = attempt(lambda path: audit(open_source(str(path))), path)
    if report is not None:
        for check in report.checks:
            assert all(is_plain(str(fault)) for fault in check.findings)


@given(hostile_bytes({"format": "colearn-specification-1", "grows": False}))
def test_an_audit_of_blobs_that_are_none(raw):
    store = MemoryStore()
    specification, model = store.put(raw), store.put(raw + b" ")
    story = Story(events.Created(1, "0x" + "ab" * 20, specification, model, CREATE.rules, ""), {})
    check = Check(9)
    assert check_blobs(story, store, check) <= 1
    assert check.findings


@given(
    st.text(max_size=90) | spoiled(f"3:{DIGEST}".encode()).map(lambda raw: raw.decode("latin-1"))
)
def test_heads_that_somebody_names(text):
    attempt(parse_head, text)
