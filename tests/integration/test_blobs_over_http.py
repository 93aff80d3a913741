"""Blobs on real servers: `colearn ledger serve --blobs` as a process, TLS, proxies, restarts."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from threading import Thread

import pytest
from tests.blob_servers import MEMBERS, Club, sender, serving_blobs
from tests.hosts import tunnel
from tests.logs import CREATE, ME, make_log

from colearn.cli.ledger import read_bytes
from colearn.core import calls
from colearn.errors import ConfigError, PeerUnreachableError
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger
from colearn.ledger.hosted import HostedLedger
from colearn.store import DirectoryStore, HoldingStore
from colearn.store.hosted import HostedRemote
from colearn.store.peers import PeersRemote
from colearn.store.sender import Credentials, Sender

COMMAND = [sys.executable, "-c", "from colearn.cli import main; main()", "ledger", "serve"]
FRIEND = Key.from_seed(2, "friend")
STRANGER = Key.from_seed(2, "stranger")
BLOB = random.Random(3).randbytes(2_500_000)
DIGEST = hashlib.sha256(BLOB).hexdigest()
LIMIT = 2**28


@contextmanager
def serve(*words):
    """Run the command; yield the process and what it printed when it was ready."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=30)


@contextmanager
def member(url, folder, key=ME, credentials=None, ca_file=None):
    """A member's store on a hosted ledger that keeps the blobs too."""
    with HostedLedger(url, ca_file=ca_file) as view:
        view.sync()
        if not view.head.height:
            view.submit(ME, CREATE)
            view.submit(ME, calls.Invite(1, (ME.address, FRIEND.address)))
        said = Sender(key, view.genesis.domain, lambda: tuple(view.head))
        heard = []
        remote = HostedRemote(
            url, said, credentials, on_statement=lambda _, statement: heard.append(statement)
        )
        store = HoldingStore(DirectoryStore(folder), remote)
        yield store, view, heard
        store.close()


def run(*words):
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


# ------------------------------------------------------------------ the command, as a process


def test_a_member_leaves_a_blob_and_another_gets_it_over_one_connection(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    blobs = tmp_path / "blobs"
    with serve(path, "--blobs", blobs) as (process, said):
        assert said["blobs"] == str(blobs)
        with member(said["url"], tmp_path / "mine") as (mine, view, heard):
            assert mine.put(BLOB) == DIGEST
            assert (blobs / DIGEST).read_bytes() == BLOB
            with member(said["url"], tmp_path / "friends", FRIEND) as (friends, _, _):
                assert friends.get(DIGEST, LIMIT) == BLOB
            assert heard
            assert all(view.check_head(head_of(statement)) for statement in heard)
        with (
            member(said["url"], tmp_path / "strangers", STRANGER) as (strangers, _, _),
            pytest.raises(PeerUnreachableError, match="403.*no part"),
        ):
            strangers.bring(DIGEST, LIMIT)
        process.terminate()
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")


def head_of(statement):
    from colearn.ledger import Head

    return Head(statement.height, statement.head)


def test_who_is_invited_later_gets_in_then(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with (
        serve(path, "--blobs", tmp_path / "blobs") as (_, said),
        member(said["url"], tmp_path / "mine") as (mine, view, _),
    ):
        mine.put(BLOB)
        with member(said["url"], tmp_path / "late", STRANGER) as (late, _, _):
            with pytest.raises(PeerUnreachableError, match="403"):
                late.bring(DIGEST, LIMIT)
            view.submit(ME, calls.Invite(1, (STRANGER.address,)))
            late.bring(DIGEST, LIMIT)
            assert late.get(DIGEST, LIMIT) == BLOB


def test_what_another_process_writes_into_the_ledger_counts_at_once(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with (
        serve(path, "--blobs", tmp_path / "blobs") as (_, said),
        member(said["url"], tmp_path / "mine") as (mine, _, _),
    ):
        mine.put(BLOB)
        with EmbeddedLedger(path) as beside:
            beside.sync()
            beside.submit(ME, calls.Invite(1, (STRANGER.address,)))
            me = Sender(STRANGER, beside.genesis.domain, lambda: (0, beside.genesis.digest))
            remote = HostedRemote(said["url"], me)
            late = HoldingStore(DirectoryStore(tmp_path / "late"), remote)
            assert late.get(DIGEST, LIMIT) == BLOB
            remote.close()


def test_a_killed_server_has_what_it_has_taken_and_nothing_half_done(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    blobs = tmp_path / "blobs"
    large = os.urandom(60_000_000)
    with serve(path, "--blobs", blobs) as (process, said), member(
        said["url"], tmp_path / "mine"
    ) as (mine, _, _):  # fmt: skip
        mine.put(BLOB)
        digest = mine.held.put(large)
        failures = []

        def share():
            try:
                mine.share(digest)
            except PeerUnreachableError as error:
                failures.append(error)

        sharing = Thread(target=share)
        sharing.start()
        deadline = time.monotonic() + 30
        while not any(each.name.startswith(f".{digest}") for each in blobs.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        sharing.join(60)
        assert len(failures) == 1
    with serve(path, "--blobs", blobs) as (_, said), member(
        said["url"], tmp_path / "mine"
    ) as (mine, _, _):  # fmt: skip
        assert (blobs / DIGEST).read_bytes() == BLOB
        mine.share(digest)
        assert (blobs / digest).read_bytes() == large


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_signal_stops_it_though_a_blob_is_being_sent(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with serve(path, "--blobs", tmp_path / "blobs") as (process, said):
        with member(said["url"], tmp_path / "mine") as (mine, _, _):
            mine.put(BLOB)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


def test_the_quota_is_said_in_bytes_that_people_write(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    words = ("--blobs", tmp_path / "blobs", "--blob-quota", "2MB", "--blob-quota-each", "1MiB")
    with (
        serve(path, *words) as (_, said),
        member(said["url"], tmp_path / "mine") as (mine, _, _),
        member(said["url"], tmp_path / "friends", FRIEND) as (friends, _, _),
    ):
        mine.put(b"a" * 2**20)
        with pytest.raises(PeerUnreachableError, match="507.*one address"):
            mine.put(b"b")
        with pytest.raises(PeerUnreachableError, match="507.*full"):
            friends.put(b"c" * 1_000_000)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("8GB", 8 * 10**9), ("8 GB", 8 * 10**9), ("8GiB", 2**33), ("500MB", 5 * 10**8),
     ("3kB", 3000), ("1TiB", 2**40), ("7B", 7), ("2G", 2 * 10**9)],
)  # fmt: skip
def test_bytes_are_read_with_their_units(text, size):
    assert read_bytes("--x", text) == size


@pytest.mark.parametrize("text", ["", "0", "GB", "-1", "1.5GB", "8gb", "8PB", "1e9", "9" * 20, "٣"])
def test_what_is_no_number_of_bytes_is_named(text):
    with pytest.raises(ConfigError, match="--x must be a number of bytes"):
        read_bytes("--x", text)


def test_a_wrong_quota_or_address_is_refused_before_anything_is_served(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    blobs = tmp_path / "blobs"
    for words in (("--blob-quota", "much"), ("--public-url", "x"), ("--client-ca", path)):
        done = run(path, "--blobs", blobs, *words)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
    (tmp_path / "file").write_text("x")
    assert run(path, "--blobs", tmp_path / "file").returncode == 8


def test_a_server_of_all_interfaces_says_what_it_cannot_know(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    words = (path, "--host", "0.0.0.0", "--blobs", tmp_path / "blobs")
    with serve(*words) as (process, _):
        process.terminate()
        assert "--public-url" in process.communicate(timeout=30)[1]


def test_a_forked_member_is_told_on_standard_error_with_what_it_signed(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with serve(path, "--blobs", tmp_path / "blobs") as (process, said):
        with member(said["url"], tmp_path / "mine") as (mine, view, _):
            forked = Sender(ME, view.genesis.domain, lambda: (1, "ee" * 32))
            remote = HostedRemote(said["url"], forked)
            for _ in range(2):
                with pytest.raises(PeerUnreachableError, match="409"):
                    remote.share(mine.held.put(BLOB), mine.held)
            remote.close()
        process.terminate()
        _, err = process.communicate(timeout=30)
    (line,) = err.splitlines()
    assert ME.address in line
    assert "ee" * 32 in line


def test_without_blobs_the_server_has_none(tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with (
        serve(path) as (_, said),
        member(said["url"], tmp_path / "mine") as (mine, _, _),
        pytest.raises(PeerUnreachableError, match="404"),
    ):
        mine.put(BLOB)
    with EmbeddedLedger(path) as view:
        assert view.sync() == 2


# ----------------------------------------------------------------------------- TLS and proxies


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private authority, with certificates for a server and for a member."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt install openssl")
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "other"):
        openssl("req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
                "-subj", f"/CN={name}")  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:blobs.example\n")
    for name, signer in (("server", "ca"), ("member", "ca"), ("foreign", "other")):
        openssl(
            "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey",
                f"{signer}.key", "-days", "2", "-out", f"{name}.pem", "-extfile", "names",
                "-CAcreateserial")  # fmt: skip
    return folder


def tls(authority):
    return {"ssl_certfile": authority / "server.pem", "ssl_keyfile": authority / "server.key"}


def trust(authority, name=None, ca="ca"):
    if name is None:
        return Credentials(authority / f"{ca}.pem")
    return Credentials(
        authority / f"{ca}.pem", authority / f"{name}.pem", authority / f"{name}.key"
    )


@pytest.fixture
def secured(tmp_path, authority):
    with serving_blobs(tmp_path / "peer", **tls(authority)) as (url, store):
        store.put(BLOB)
        yield url


def test_blobs_come_over_https_from_who_has_the_right_certificate(secured, authority, tmp_path):
    remote = PeersRemote([secured], sender(), trust(authority))
    store = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
    assert store.get(DIGEST, LIMIT) == BLOB
    remote.close()
    for credentials in (trust(authority, ca="other"), None):
        remote = PeersRemote([secured], sender(), credentials)
        store = HoldingStore(DirectoryStore(tmp_path / "other"), remote)
        with pytest.raises(PeerUnreachableError, match=r"cannot be trusted.*certificate"):
            store.get(DIGEST, LIMIT)
        remote.close()


def test_files_that_are_no_certificates_are_named(authority, tmp_path):
    (tmp_path / "x.pem").write_text("nonsense")
    for credentials in (
        Credentials(tmp_path / "x.pem"),
        Credentials(tmp_path / "no.pem"),
        Credentials(authority / "ca.pem", tmp_path / "x.pem"),
        Credentials(authority / "ca.pem", authority / "server.pem", authority / "member.key"),
    ):
        with pytest.raises(ConfigError, match="pem"):
            HostedRemote("https://host", sender(), credentials)


def test_mutual_tls_lets_in_only_who_shows_a_certificate(authority, tmp_path):
    path = make_log(tmp_path / "ledger.db")
    with EmbeddedLedger(path) as view:
        view.submit(ME, CREATE)
    words = ("--certfile", authority / "server.pem", "--keyfile", authority / "server.key",
             "--client-ca", authority / "ca.pem", "--blobs", tmp_path / "blobs")  # fmt: skip
    with serve(path, *words) as (_, said), EmbeddedLedger(path) as view:
        view.sync()
        for name, works in (("member", True), ("foreign", False), (None, False)):
            me = Sender(ME, view.genesis.domain, lambda: (0, view.genesis.digest))
            remote = HostedRemote(said["url"], me, trust(authority, name), share_s=10)
            store = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
            if works:
                store.put(BLOB)
                assert (tmp_path / "blobs" / DIGEST).read_bytes() == BLOB
            else:
                with pytest.raises(PeerUnreachableError):
                    store.put(b"another")
            remote.close()


def test_https_goes_through_the_proxy_of_the_environment(tmp_path, authority, monkeypatch):
    club = Club()
    with serving_blobs(tmp_path / "peer", club, **tls(authority)) as (url, store):
        store.put(BLOB)
        port = int(url.rpartition(":")[2])
        club.hosts = {*club.hosts, f"blobs.example:{port}"}
        for name in ("NO_PROXY", "no_proxy", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        with tunnel(port) as (proxy, names):
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            remote = HostedRemote(f"https://blobs.example:{port}", sender(), trust(authority))
            HoldingStore(DirectoryStore(tmp_path / "mine"), remote).bring(DIGEST, LIMIT)
            remote.close()
            assert names == [f"blobs.example:{port}"]
            # This machine is not behind the proxy.
            remote = HostedRemote(url, sender(), trust(authority))
            HoldingStore(DirectoryStore(tmp_path / "other"), remote).bring(DIGEST, LIMIT)
            remote.close()
            assert len(names) == 1
            monkeypatch.setenv("NO_PROXY", "blobs.example")
            remote = HostedRemote(f"https://blobs.example:{port}", sender(), trust(authority))
            with pytest.raises(PeerUnreachableError):
                HoldingStore(DirectoryStore(tmp_path / "third"), remote).bring(DIGEST, LIMIT)
            remote.close()
            assert len(names) == 1


@pytest.mark.parametrize(
    "proxy", ["socks5://h:1", "https://user:secret@h", "http://h:99999", "http://"]
)
def test_a_proxy_that_cannot_be_used_is_an_error_without_its_password(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        HostedRemote("https://blobs.example", sender())
    assert "secret" not in str(caught.value)


# -------------------------------------------------------------------------------- among peers


def test_what_a_peer_brought_it_serves_to_others(tmp_path):
    with (
        serving_blobs(tmp_path / "one", key=MEMBERS[0]) as (one, first),
        serving_blobs(tmp_path / "two", key=MEMBERS[1]) as (two, second),
    ):
        first.put(BLOB)
        between = HoldingStore(second, PeersRemote([one], sender(MEMBERS[1])))
        between.bring(DIGEST, LIMIT)
        last = PeersRemote([two], sender(MEMBERS[2]))
        third = HoldingStore(DirectoryStore(tmp_path / "three"), last)
        assert third.get(DIGEST, LIMIT) == BLOB
        between.close()
        third.close()


def test_a_fetch_goes_on_after_its_process_was_killed(tmp_path):
    blob = random.Random(4).randbytes(40_000_000)
    digest = hashlib.sha256(blob).hexdigest()
    code = """
import os, sys, time
from pathlib import Path
from threading import Thread
sys.path.insert(0, sys.argv[1])
from tests.blob_servers import sender
from colearn.store import DirectoryStore, HoldingStore
from colearn.store.peers import PeersRemote
folder, digest = Path(sys.argv[3]), sys.argv[4]

def kill():
    # Somewhere in the middle.
    while True:
        for each in folder.glob(f".{digest}*"):
            if each.stat().st_size > 5_000_000:
                os.kill(os.getpid(), 9)

Thread(target=kill).start()
HoldingStore(DirectoryStore(folder), PeersRemote([sys.argv[2]], sender())).bring(digest, 2**30)
"""
    from pathlib import Path

    mine = tmp_path / "mine"
    with serving_blobs(tmp_path / "peer") as (url, store):
        store.put(blob)
        subprocess.run(
            [sys.executable, "-c", code, Path(__file__).parents[2], url, mine, digest], check=False
        )
        with DirectoryStore(mine).receive(digest, LIMIT) as draft:
            assert draft.offset > 5_000_000
        remote = PeersRemote([url], sender(MEMBERS[1]))
        resumed = HoldingStore(DirectoryStore(mine), remote)
        assert resumed.get(digest, LIMIT) == blob
        remote.close()


def test_peers_come_and_go_while_blobs_are_fetched(tmp_path):
    """Threads fetch many blobs while the set of peers changes: all come, from whoever is there."""
    with (
        serving_blobs(tmp_path / "one", key=MEMBERS[0]) as (one, first),
        serving_blobs(tmp_path / "two", key=MEMBERS[1]) as (two, second),
    ):
        blobs = [random.Random(number).randbytes(200_000) for number in range(30)]
        digests = [first.put(blob) for blob in blobs]
        for blob in blobs:
            second.put(blob)
        remote = PeersRemote([one], sender(MEMBERS[2]))
        store = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        failures = []

        def fetch(part):
            for digest in part:
                try:
                    store.bring(digest, LIMIT)
                except Exception as error:  # noqa: BLE001
                    failures.append(error)

        threads = [Thread(target=fetch, args=(digests[place::3],)) for place in range(3)]
        for thread in threads:
            thread.start()
        for number in range(20):
            remote.set([one, two] if number % 2 else [two])
            time.sleep(0.005)
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert [store.held.get(digest, LIMIT) for digest in digests] == blobs
        store.close()
