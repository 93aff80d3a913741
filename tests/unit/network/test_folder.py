import os
import stat
import subprocess
import sys
import tomllib

import pytest

from colearn.errors import ColearnError, ConfigError
from colearn.identity import Key, save
from colearn.network.folder import NodeFolder, NodeState
from colearn.network.invitation import Invitation
from colearn.network.settings import NodeSettings

LINK = Invitation("http://127.0.0.1:1", "1" * 64, 1, "2" * 64, "3" * 64, "hosted").to_link()
KEY = Key.from_secret(bytes(31) + b"\7")


def settings(tmp_path, **changes):
    given = {
        "name": "ada",
        "invitation": LINK,
        "key": tmp_path / "key.json",
        "address": KEY.address,
    }
    return NodeSettings(**{**given, **changes})


def made(tmp_path, **changes):
    with NodeFolder.drafted(tmp_path / "nodes" / "ada", settings(tmp_path, **changes)) as folder:
        pass
    return folder


def test_a_folder_reads_back_what_was_written_and_only_its_owner_sees_it(tmp_path):
    folder = made(tmp_path, share=2, overrides=("learner.with.a=1",), listen="127.0.0.1:9")
    again = NodeFolder.open(folder.path)
    assert again.settings == folder.settings
    assert again.invitation.to_link() == LINK
    assert again.local.share == 2
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / "node.toml").stat().st_mode) == 0o600
    assert [each.name for each in folder.path.parent.iterdir()] == ["ada"]


def test_nothing_is_left_when_the_block_fails_and_no_folder_is_replaced(tmp_path):
    def refused():
        with NodeFolder.drafted(tmp_path / "ada", settings(tmp_path)) as folder:
            folder.blobs.mkdir()
            (folder.blobs / "x").write_text("")
            raise ColearnError("refused")

    with pytest.raises(ColearnError, match="refused"):
        refused()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "ada").mkdir()
    with (
        pytest.raises(ConfigError, match="there already"),
        NodeFolder.drafted(tmp_path / "ada", settings(tmp_path)),
    ):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ColearnError, match="Cannot write"),
        NodeFolder.drafted(tmp_path / "file" / "ada", settings(tmp_path)),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('colour = "red"', "colour"),
        ("share = 0", "share"),
        ("[[[", "not TOML"),
        ('address = "0x1"', "not TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_named_by_its_key(tmp_path, change, said):
    folder = made(tmp_path)
    file = folder.path / "node.toml"
    file.write_text(file.read_text() + change + "\n")
    with pytest.raises(ConfigError, match=said):
        NodeFolder.open(folder.path)
    with pytest.raises(ConfigError, match="no node in"):
        NodeFolder.open(tmp_path / "nowhere")


def test_another_key_than_the_one_that_joined_is_refused(tmp_path):
    folder = made(tmp_path)
    save(KEY, tmp_path / "key.json", None)
    assert folder.load_key().address == KEY.address
    (tmp_path / "key.json").unlink()
    save(Key.generate(), tmp_path / "key.json", None)
    with pytest.raises(ConfigError, match="this node joined as"):
        folder.load_key()


@pytest.mark.skipif(os.name != "posix", reason="locks as POSIX has them")
def test_one_process_runs_a_node_and_its_end_is_seen_however_it_ends(tmp_path):
    folder = made(tmp_path)
    assert not folder.is_running()
    code = (
        "import sys; from pathlib import Path; from colearn.network.folder import NodeFolder\n"
        "with NodeFolder.open(Path(sys.argv[1])).running():\n"
        "    print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    assert folder.is_running()
    with pytest.raises(ConfigError, match="Another process"), folder.running():
        pass
    process.kill()
    process.communicate()
    assert not folder.is_running()
    folder.write_state(NodeState(process.pid, None, 1))
    with folder.running():
        assert folder.is_running()
        assert folder.state() is None, "the number of a process that ended may be another's now"
        folder.write_state(NodeState(os.getpid(), None, 1))
    assert folder.state() is None


def test_state_and_proposals_are_read_with_suspicion(tmp_path):
    folder = made(tmp_path)
    assert folder.state() is None
    folder.write_state(NodeState(os.getpid(), "http://127.0.0.1:1/v1/health", 5))
    assert folder.state() == NodeState(os.getpid(), "http://127.0.0.1:1/v1/health", 5)
    for wrong in (
        "[]",
        "{}",
        '{"pid": -1, "health": null, "started": 1}',
        "{",
        '{"pid": true, "health": null, "started": 1}',
    ):
        (folder.path / "state.json").write_text(wrong)
        assert folder.state() is None
    assert folder.proposal_of((3, "4" * 64)) is None
    folder.keep_proposal((3, "4" * 64), "5" * 64)
    assert NodeFolder.open(folder.path).proposal_of((3, "4" * 64)) == "5" * 64
    assert folder.proposal_of((4, "4" * 64)) is None
    assert folder.proposal_of((3, "5" * 64)) is None
    assert tomllib.loads((folder.path / "node.toml").read_text())["name"] == "ada"
