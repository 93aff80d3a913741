import json
import threading

import pytest

from colearn.core.bindings import Domain
from colearn.core.events import Proposed
from colearn.errors import LedgerTamperedError
from colearn.identity import Key, Statement
from colearn.ledger import EmbeddedLedger, Happening
from colearn.network.forks import ForkWatch
from colearn.network.notes import Notes
from colearn.network.peering import Lines, Neighbours
from colearn.store import DirectoryStore
from colearn.store.peers import PeersRemote
from colearn.store.sender import Sender

KEYS = [Key.from_seed(3, f"member-{place}") for place in range(4)]
ZERO = "0x" + "00" * 20


@pytest.fixture
def watched(tmp_path):
    """Return a watch for a group of so many, and what stopped its node."""

    def make(members):
        stopped = []
        return ForkWatch(Notes(tmp_path), lambda: members, stopped.append), stopped

    return make


def kept(folder):
    path = folder / "forks.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(("members", "liars"), [(1, 0), (3, 0), (4, 1), (7, 2), (10, 3)])
def test_more_signers_than_may_lie_stop_a_node_and_fewer_do_not(watched, tmp_path, members, liars):
    watch, stopped = watched(members)
    for signer in range(liars + 1):
        assert not stopped
        watch.report(f"0x{signer:040x}", 5, "ab" * 32, {"height": 5})
        # Who says it again is one liar all the same.
        watch.report(f"0x{signer:040x}", 6, "cd" * 32, {"height": 6})
    assert [type(error) for error in stopped] == [LedgerTamperedError]
    assert (stopped[0].entry, stopped[0].rule) == (5, "7.9")
    assert len(kept(tmp_path)) == liars + 1


def test_the_first_other_line_is_reported_with_what_was_signed(watched, tmp_path, caplog):
    watch, stopped = watched(7)
    watch.report(KEYS[1].address, 9, "ab" * 32, {"signature": "11"})
    assert not stopped
    assert watch.reported == {KEYS[1].address}
    assert "Two histories" in caplog.text
    (found,) = kept(tmp_path)
    assert found["signed"] == {"signature": "11"}
    assert KEYS[1].address in found["error"]


def test_a_folder_that_cannot_be_written_does_not_keep_a_node_from_stopping(tmp_path):
    stopped = []
    watch = ForkWatch(Notes(tmp_path / "gone"), lambda: 3, stopped.append)
    watch.report(KEYS[0].address, 1, "ab" * 32, {})
    assert len(stopped) == 1


def test_reports_of_many_threads_at_once_count_each_signer_once(watched):
    watch, stopped = watched(100)
    reports = [
        threading.Thread(target=watch.report, args=(KEYS[place % 4].address, 1, "ab" * 32, {}))
        for place in range(40)
    ]
    for each in reports:
        each.start()
    for each in reports:
        each.join()
    assert len(watch.reported) == 4
    assert not stopped


@pytest.fixture
def ledger(tmp_path):
    EmbeddedLedger.create(tmp_path / "ledger.db", ZERO)
    with EmbeddedLedger(tmp_path / "ledger.db") as ledger:
        ledger.sync()
        yield ledger


def test_a_head_is_compared_where_the_own_line_reaches_and_only_if_it_is_signed(ledger, watched):
    watch, stopped = watched(3)
    lines, genesis = Lines(ledger, watch), ledger.genesis.digest
    assert (lines.at(0), lines.at(1), lines.at(-1)) == (genesis, None, None)
    for statement in (
        Statement(0, genesis, "11" * 32, KEYS[1].address, b""),
        Statement(7, "ab" * 32, "11" * 32, KEYS[1].address, b""),
        Statement(0, "ab" * 32, "11" * 32),
    ):
        lines.stated("http://peer", statement)
    assert not stopped
    lines.stated("http://peer", Statement(0, "ab" * 32, "11" * 32, KEYS[1].address, b"\x01"))
    assert len(stopped) == 1


def proposed(proposer, uri, experiment=1):
    event = Proposed(experiment, 1, proposer, "11" * 32, "22" * 32, 0, ("33" * 32,), uri, 9)
    return Happening(1, 1, proposer, (event,))


def test_addresses_come_from_the_invitation_and_from_proposals_and_the_newest_counts():
    near = Neighbours(1, ("http://first:1",), "http://me:9")
    near.hear(proposed(KEYS[0].address, "http://ada:1"))
    near.hear(proposed(KEYS[1].address, "http://ben:1"))
    near.hear(proposed(KEYS[0].address, "http://ada:2"))
    near.hear(proposed(KEYS[2].address, "http://me:9"))
    near.hear(proposed(KEYS[3].address, "file:///etc/passwd"))
    near.hear(proposed(KEYS[3].address, "http://elsewhere:1", experiment=2))
    assert set(near.urls()) == {"http://ada:2", "http://ben:1", "http://first:1"}


def test_a_remote_that_asks_peers_hears_of_each_address(tmp_path):
    near = Neighbours(1, ("http://127.0.0.1:1",), None)
    sender = Sender(KEYS[0], Domain(1, ZERO), lambda: (0, "00" * 32))
    remote = PeersRemote((), sender)
    near.attach(remote)
    assert remote.urls() == ("http://127.0.0.1:1",)
    near.hear(proposed(KEYS[1].address, "http://127.0.0.1:2"))
    assert set(remote.urls()) == {"http://127.0.0.1:1", "http://127.0.0.1:2"}
    remote.close()
    assert list(DirectoryStore(tmp_path).digests()) == []
