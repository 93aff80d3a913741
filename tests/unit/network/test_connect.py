from dataclasses import replace
from pathlib import Path

import pytest

from colearn.errors import ConfigError, DigestMismatchError, LedgerTamperedError
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.network.connect import (
    drift_of,
    genesis_of,
    ledger_address,
    open_ledger,
    open_ledger_at,
    open_store,
    store_address,
)
from colearn.network.invitation import Invitation
from colearn.store import DirectoryStore

KEY = Key.from_secret(bytes(31) + b"\7")
CONTRACT = "0x" + "ab" * 20


@pytest.fixture
def invitation(tmp_path):
    EmbeddedLedger.create(tmp_path / "ledger.db", KEY.address, drift_s=5)
    with EmbeddedLedger(tmp_path / "ledger.db") as ledger:
        digest = ledger.genesis.digest
    shared = f"directory:{tmp_path / 'shared'}"
    return Invitation(f"embedded:{tmp_path / 'ledger.db'}", digest, 1, "2" * 64, "3" * 64, shared)


def test_a_log_is_opened_by_its_genesis_and_another_one_is_refused(invitation):
    with open_ledger(invitation) as ledger:
        assert genesis_of(ledger) == invitation.genesis
        assert drift_of(ledger) == 5
    with pytest.raises(LedgerTamperedError, match=invitation.genesis):
        open_ledger(replace(invitation, genesis="9" * 64))
    with open_ledger_at(invitation.ledger) as ledger:
        assert genesis_of(ledger) == invitation.genesis


def test_addresses_of_people_become_those_of_invitations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Path.cwd()
    assert ledger_address("ledger.db") == f"embedded:{here}/ledger.db"
    assert ledger_address("embedded:/x/l.db") == "embedded:/x/l.db"
    assert ledger_address("http://host:8463/") == "http://host:8463"
    assert ledger_address(f"evm+http://host/{CONTRACT}") == f"evm+http://host/{CONTRACT}"
    assert store_address(None, "http://host:8463") == "hosted"
    assert store_address(None, "embedded:/x/l.db") == "directory:/x/blobs"
    assert store_address("directory:b", "http://host") == f"directory:{here}/b"
    assert store_address("peers", f"evm+http://host/{CONTRACT}") == "peers"
    with pytest.raises(ConfigError, match="keeps no weights"):
        store_address(None, f"evm+http://host/{CONTRACT}")
    for wrong in (
        "", "embedded:", "ftp://me:secret@host", "http://me:secret@host", "127.0.0.1:8463",
        "ledger.example.org:8463/v1",
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="not the address of a ledger") as error:
            ledger_address(wrong)
        assert "secret" not in str(error.value)


def test_only_a_contract_has_another_node_and_it_must_be_the_same_contract(invitation):
    with pytest.raises(ConfigError, match="Only a contract"):
        open_ledger(invitation, node_url=f"evm+http://host/{CONTRACT}")
    chain = replace(invitation, ledger=f"evm+http://host/{CONTRACT}", genesis=None, store="peers")
    with pytest.raises(ConfigError, match="another contract"):
        open_ledger(chain, node_url="evm+http://other/0x" + "cd" * 20)


def test_a_shared_folder_gives_and_takes_blobs_and_a_transfer_goes_on(invitation, tmp_path):
    with open_ledger(invitation) as ledger:
        one = open_store(invitation, DirectoryStore(tmp_path / "one"), KEY, ledger)
        two = open_store(invitation, DirectoryStore(tmp_path / "two"), KEY, ledger)
        digest = one.put(b"weights" * 1000)
        with two.held.receive(digest, 10_000) as draft:
            draft.write(b"weights" * 10)
        two.bring(digest, 10_000)
        assert two.held.get(digest, 10_000) == b"weights" * 1000
        (tmp_path / "shared" / digest).write_bytes(b"forged")
        three = open_store(invitation, DirectoryStore(tmp_path / "three"), KEY, ledger)
        with pytest.raises(DigestMismatchError):
            three.bring(digest, 10_000)
        assert not three.held.has(digest)
