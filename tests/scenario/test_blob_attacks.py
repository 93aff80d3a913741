"""Attacks on blobs over HTTP: by strangers and members on a server, by a server on its clients.

A server gives nothing to who may not have it, and no request keeps it busy for long. A client
ends with the right bytes or with an error that it can name, in bounded time and memory (6.4, 7.6).
"""

import hashlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from tests.blob_servers import (
    CONTRIBUTE,
    CREATOR,
    HEADS,
    INVITED,
    MEMBERS,
    PROPOSE,
    STRANGER,
    Club,
    authorization,
    hearing,
    sender,
    serving_blobs,
)
from tests.hosts import speaking

from colearn.core.bindings import Domain
from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    DigestMismatchError,
    PeerTimeoutError,
    PeerUnreachableError,
)
from colearn.identity import Key
from colearn.store import DirectoryStore, HoldingStore, _wire
from colearn.store.hosted import HostedRemote
from colearn.store.peers import PeersRemote
from colearn.store.quota import Quota
from colearn.store.routes import BlobLimits
from colearn.web import patience

SEED = int(os.environ.get("COLEARN_SEED", "1"))
BLOB = random.Random(SEED).randbytes(3_000_000)
DIGEST = hashlib.sha256(BLOB).hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
LIMIT = 2**24


def quota(total=10**8, each=10**8):
    return lambda store: Quota(store, total, each)


@pytest.fixture
def club():
    return Club()


@pytest.fixture
def server(tmp_path, club):
    """A server that has one blob and takes others."""
    limits = BlobLimits(blob_bytes=LIMIT, piece_s=1.0)
    with serving_blobs(tmp_path / "server", club, limits=limits, quota=quota()) as (url, store):
        store.put(BLOB)
        yield url, store


def ask(url, header=None, method="GET", digest=DIGEST, body=None, headers=None, host=None):
    """Send one request by hand; return status, headers and body."""
    name = url.partition("://")[2]
    line = http.client.HTTPConnection(name, timeout=30)
    try:
        line.putrequest(method, f"/v1/blobs/{digest}", skip_host=True)
        line.putheader("Host", host or name)
        if header is not None:
            line.putheader("Authorization", header)
        for each, value in (headers or {}).items():
            line.putheader(each, value)
        if body is not None and "Content-Length" not in (headers or {}):
            line.putheader("Content-Length", str(len(body)))
        line.endheaders()
        if body is not None:
            line.send(body)
        answer = line.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        line.close()


def signed(url, key=MEMBERS[0], method="GET", digest=DIGEST, now=None, host=None, **changed):
    host = host or url.partition("://")[2]
    now = time.time() if now is None else now
    return authorization(key, method, host, digest, now=now, **changed)


def put(url, data, key=MEMBERS[0], digest=None, headers=None):
    digest = digest or hashlib.sha256(data).hexdigest()
    header = signed(url, key, "PUT", digest, body=digest)
    return ask(url, header, "PUT", digest, data, headers)


# ------------------------------------------------------------------------------- strangers


def test_a_member_gets_the_blob_and_the_servers_head(server):
    url, _ = server
    status, headers, data = ask(url, signed(url))
    assert (status, data) == (200, BLOB)
    assert headers["colearn-head"] == f"{len(HEADS) - 1}:{HEADS[-1]}"


@pytest.mark.parametrize("key", [CREATOR, INVITED, *MEMBERS], ids=range(6))
def test_all_who_have_or_had_a_part_get_in(server, key):
    url, _ = server
    assert ask(url, signed(url, key))[0] == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_an_unsigned_request_gets_nothing(server, method):
    url, store = server
    body = b"another" if method == "PUT" else None
    for header in (None, "", "Bearer x", "Colearn " + "x" * 1000):
        status, _, data = ask(url, header, method, OTHER if body else DIGEST, body)
        assert status == 401
        assert BLOB[:100] not in data
    assert not store.has(OTHER)


def test_who_has_no_part_in_the_ledger_gets_nothing(server):
    url, _ = server
    status, _, data = ask(url, signed(url, STRANGER))
    assert status == 403
    assert STRANGER.address in json.loads(data)["reason"]
    assert put(url, b"another", STRANGER)[0] == 403


def test_a_member_of_another_ledger_gets_nothing(server, tmp_path):
    url, _ = server
    elsewhere = sender(domain=Domain(1, "0x" + "34" * 20))
    remote = HostedRemote(url, elsewhere)
    with pytest.raises(PeerUnreachableError, match="401"):
        HoldingStore(DirectoryStore(tmp_path / "a"), remote).bring(DIGEST, LIMIT)
    remote.close()


@pytest.mark.parametrize("late_s", [-120, 120])
def test_a_stale_request_gets_nothing(server, late_s):
    url, _ = server
    status, _, data = ask(url, signed(url, now=time.time() + late_s))
    assert status == 401
    assert "clocks" in json.loads(data)["reason"]


def test_a_replayed_request_gets_nothing(server):
    url, _ = server
    header = signed(url)
    assert ask(url, header)[0] == 200
    status, _, data = ask(url, header)
    assert status == 401
    assert BLOB[:100] not in data


def test_a_request_is_for_one_blob_and_one_method(server):
    url, store = server
    other = store.put(b"another")
    assert ask(url, signed(url), digest=other)[0] == 401
    assert ask(url, signed(url), method="HEAD")[0] == 401
    header = signed(url, method="PUT", digest=OTHER)
    assert ask(url, header, "PUT", OTHER, b"another")[0] == 401


def test_a_request_that_was_meant_for_another_server_gets_nothing(server):
    """A server that members ask cannot use their requests at another one."""
    url, _ = server
    theirs = signed(url, host="mallory.example:8464")
    assert ask(url, theirs, host="mallory.example:8464")[0] == 421
    assert ask(url, theirs)[0] == 401


def test_a_hundred_strangers_do_not_keep_a_member_out(server):
    url, _ = server
    strangers = [Key.from_seed(5, str(number)) for number in range(100)]
    for key in strangers:
        assert ask(url, signed(url, key))[0] == 403
    assert ask(url, signed(url))[0] == 200


@pytest.mark.parametrize(
    "path",
    ["", "/", "/..", "/../../etc/passwd", "/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/" + "a" * 5000,
     "/" + DIGEST.upper(), "/" + DIGEST + "/", "/" + DIGEST + "%00", "/.uploads"],
)  # fmt: skip
def test_paths_that_are_no_digest_lead_nowhere(server, path):
    url, _ = server
    line = http.client.HTTPConnection(url.partition("://")[2], timeout=30)
    line.request("GET", "/v1/blobs" + path, headers={"Authorization": signed(url)})
    assert line.getresponse().status in (307, 400, 401, 404)
    line.close()


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(server, method):
    url, store = server
    assert ask(url, signed(url, method=method), method)[0] == 405
    assert store.has(DIGEST)


def test_refusals_name_no_file_of_the_server(server, tmp_path):
    url, store = server
    (store.path / OTHER).mkdir()
    status, _, data = ask(url, signed(url, digest=OTHER), digest=OTHER)
    assert status == 500
    assert str(tmp_path).encode() not in data


# ---------------------------------------------------------------------------- contributions


def test_a_contribution_is_given_out_only_when_its_phase_is_over(server, club):
    url, store = server
    mine = store.put(b"my contribution")
    club.contribute(CONTRIBUTE, mine)
    for key in (*MEMBERS, CREATOR):
        status, _, data = ask(url, signed(url, key, digest=mine), digest=mine)
        assert status == 403
        assert b"my contribution" not in data
    assert ask(url, signed(url, digest=mine, method="HEAD"), "HEAD", mine)[0] == 403
    assert ask(url, signed(url))[0] == 200
    club.contribute(PROPOSE, mine)
    assert ask(url, signed(url, digest=mine), digest=mine)[2] == b"my contribution"


def test_a_contribution_can_be_stored_while_its_phase_is_open(server, club):
    url, store = server
    club.contribute(CONTRIBUTE, OTHER)
    assert put(url, b"another")[0] == 201
    assert put(url, b"another")[0] == 200
    assert store.has(OTHER)


def test_nobody_locks_the_model_up_by_contributing_it(server, club):
    from dataclasses import replace

    url, _ = server
    club.experiment = replace(club.experiment, model=DIGEST)
    club.contribute(CONTRIBUTE, DIGEST)
    assert ask(url, signed(url))[0] == 200


def test_what_a_node_withholds_is_not_given_out(server, club):
    url, _ = server
    club.withheld.add(DIGEST)
    assert ask(url, signed(url))[0] == 403


# -------------------------------------------------------------------------- heads, and forks


def test_a_request_from_another_line_of_the_ledger_is_evidence(server, club):
    url, _ = server
    other = "ee" * 32
    status, _, data = ask(url, signed(url, head=(3, other)))
    assert status == 409
    assert other in json.loads(data)["reason"]
    (claim,) = club.forks
    claim.check(Domain(1, "0x" + "12" * 20))
    assert (claim.address, claim.height, claim.head) == (MEMBERS[0].address, 3, other)
    assert json.loads(json.dumps(claim.evidence()))["head"] == other


def test_who_has_read_further_is_served(server, club):
    url, _ = server
    assert ask(url, signed(url, head=(10**6, "ee" * 32)))[0] == 200
    assert ask(url, signed(url, head=(0, HEADS[0])))[0] == 200
    assert club.forks == []


def test_a_peer_signs_how_far_it_has_read(tmp_path):
    heard = []
    with serving_blobs(tmp_path / "peer", key=MEMBERS[1]) as (url, store):
        store.put(BLOB)
        remote = PeersRemote([url], sender(), on_statement=lambda *said: heard.append(said))
        HoldingStore(DirectoryStore(tmp_path / "mine"), remote).bring(DIGEST, LIMIT)
        remote.close()
    ((where, statement),) = heard
    assert where == url
    assert statement.address == MEMBERS[1].address
    assert (statement.height, statement.head) == (len(HEADS) - 1, HEADS[-1])
    statement.check(Domain(1, "0x" + "12" * 20))


# -------------------------------------------------------------------------------- uploads


def test_wrong_bytes_are_not_stored(server):
    url, store = server
    for data in (b"anothex", b""):
        assert put(url, data, digest=OTHER)[0] == 409
    assert not store.has(OTHER)
    assert put(url, b"another")[0] == 201
    assert store.get(OTHER, 100) == b"another"


def test_nothing_of_a_refused_upload_stays(server):
    url, store = server
    before = sorted(path.name for path in store.path.iterdir())
    put(url, b"wrong" * 10**5, digest=OTHER)
    assert sorted(path.name for path in store.path.iterdir()) == before


def test_half_an_upload_leaves_nothing(server):
    url, store = server
    name = url.partition("://")[2]
    host, _, port = name.rpartition(":")
    data = b"x" * 10**6
    digest = hashlib.sha256(data).hexdigest()

    def drafts():
        return [each.name for each in store.path.iterdir() if digest in each.name]

    with socket.create_connection((host, int(port)), 30) as line:
        line.sendall(
            f"PUT /v1/blobs/{digest} HTTP/1.1\r\nhost: {name}\r\ncontent-length: {len(data)}\r\n"
            f"authorization: {signed(url, method='PUT', digest=digest, body=digest)}\r\n\r\n".encode()
        )
        line.sendall(data[:600_000])
        until(drafts)
    until(lambda: not drafts())
    assert not store.has(digest)


def until(condition, limit_s=30):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_upload_says_its_size(server):
    url, store = server
    header = signed(url, method="PUT", digest=OTHER, body=OTHER)
    line = http.client.HTTPConnection(url.partition("://")[2], timeout=30)
    line.putrequest("PUT", f"/v1/blobs/{OTHER}")
    line.putheader("Authorization", header)
    line.putheader("Transfer-Encoding", "chunked")
    line.endheaders()
    line.send(b"7\r\nanother\r\n0\r\n\r\n")
    assert line.getresponse().status == 411
    line.close()
    assert not store.has(OTHER)


def test_an_upload_over_the_limit_is_refused_before_it_is_read(server):
    url, _ = server
    for size in (LIMIT + 1, 10**10, 10**15 - 1):
        header = signed(url, method="PUT", digest=OTHER, body=OTHER)
        assert ask(url, header, "PUT", OTHER, b"", {"Content-Length": str(size)})[0] == 413


def drip(url, pause_s=0.05):
    """Upload a byte at a time, and return the answer."""
    name = url.partition("://")[2]
    host, _, port = name.rpartition(":")
    header = signed(url, method="PUT", digest=OTHER, body=OTHER)
    answer = b""
    with socket.create_connection((host, int(port)), 30) as line:
        line.sendall(
            f"PUT /v1/blobs/{OTHER} HTTP/1.1\r\nhost: {name}\r\ncontent-length: 1000\r\n"
            f"authorization: {header}\r\n\r\n".encode()
        )
        line.settimeout(pause_s)
        for _ in range(400):
            try:
                line.sendall(b"x")
                answer += line.recv(1000)
            except TimeoutError:
                pass
            except OSError:
                break
            if b"\r\n\r\n" in answer:
                break
    return answer


def test_an_upload_that_drips_is_left(server):
    url, store = server
    assert drip(url).startswith(b"HTTP/1.1 408")
    assert not store.has(OTHER)
    assert put(url, b"another")[0] == 201


def test_an_upload_has_an_end_however_well_it_comes(tmp_path):
    limits = BlobLimits(piece_s=60.0, transfer_s=0.5)
    with serving_blobs(tmp_path / "server", limits=limits, quota=quota()) as (url, _):
        assert drip(url).startswith(b"HTTP/1.1 408")


def test_the_quota_of_all_and_of_one_member_hold(tmp_path):
    with serving_blobs(tmp_path / "server", quota=quota(3000, 2000)) as (url, store):
        assert put(url, b"a" * 1500)[0] == 201
        status, _, data = put(url, b"b" * 600)
        assert status == 507
        assert "one address" in json.loads(data)["reason"]
        assert put(url, b"c" * 1400, MEMBERS[1])[0] == 201
        status, _, data = put(url, b"d" * 200, MEMBERS[2])
        assert status == 507
        assert "full" in json.loads(data)["reason"]
        # What is there already takes no room, and what was refused has taken none.
        assert put(url, b"a" * 1500, MEMBERS[2])[0] == 200
        assert put(url, b"e" * 100, MEMBERS[2])[0] == 201
        assert len(list(store.digests())) == 3


def test_uploads_that_failed_take_no_room(tmp_path):
    with serving_blobs(tmp_path / "server", quota=quota(3000, 2000)) as (url, store):
        for _ in range(5):
            assert put(url, b"x" * 2000, digest=OTHER)[0] == 409
        assert put(url, b"a" * 2000)[0] == 201
        assert len(list(store.digests())) == 1


def test_a_restart_does_not_forget_who_stored_what(tmp_path):
    for size, expected in ((1500, 201), (600, 507)):
        with serving_blobs(tmp_path / "server", quota=quota(10_000, 2000)) as (url, _):
            assert put(url, b"x" * size)[0] == expected
            assert put(url, b"y" * 100, MEMBERS[1])[0] in (200, 201)


def test_a_spoiled_record_of_uploads_keeps_no_server_from_starting(tmp_path):
    folder = tmp_path / "server"
    for spoil in (b"", b"\xff" * 1000, b"x" * 10**6, DIGEST.encode() + b" 0x 5\n"):
        folder.mkdir(exist_ok=True)
        (folder / ".uploads").write_bytes(spoil)
        assert Quota(DirectoryStore(folder), 10, 10).used_bytes == 0


def test_a_server_without_a_quota_takes_nothing(tmp_path):
    with serving_blobs(tmp_path / "peer") as (url, store):
        assert put(url, b"another")[0] == 405
        assert list(store.digests()) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    code = """
import resource, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tests.blob_servers as servers
from colearn.store import DirectoryStore, HoldingStore
from colearn.store.hosted import HostedRemote
from colearn.store.quota import Quota
from colearn.errors import PeerUnreachableError
folder = Path(sys.argv[2])
held = DirectoryStore(folder / "mine")
digest = held.put(bytes(2_000_000))
small = held.put(b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, 1_200_000))
with servers.serving_blobs(folder / "server", quota=lambda store: Quota(store, 10**9, 10**9)) as (
    url, store):
    store_ = HoldingStore(held, HostedRemote(url, servers.sender()))
    try:
        store_.share(digest)
    except PeerUnreachableError as error:
        print(error)
    store_.share(small)
    print(sorted(store.digests()) == [small])
    print(sorted(path.name for path in store.path.iterdir()) == sorted([small, ".uploads"]))
    store_.close()
"""
    from pathlib import Path

    run = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parents[2]), str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    first, *others = run.stdout.splitlines()
    assert "507" in first
    assert "disk full" in first
    assert others == ["True", "True"]


# -------------------------------------------------------------------- many, slow and rude ones


def test_two_hundred_readers_get_the_blob_or_are_told_to_wait(tmp_path):
    limits = BlobLimits(downloads_count=64, address_count=40)
    blob = BLOB[:300_000]
    digest = hashlib.sha256(blob).hexdigest()
    keys = [*MEMBERS, CREATOR, INVITED]
    with serving_blobs(tmp_path / "peer", limits=limits) as (url, store):
        store.put(blob)

        def read(number):
            status, headers, data = ask(
                url, signed(url, keys[number % 6], digest=digest), digest=digest
            )
            if status == 200:
                return data == blob
            return status in (429, 503) and headers["retry-after"] == "1"

        with ThreadPoolExecutor(200) as pool:
            assert list(pool.map(read, range(200))) == [True] * 200
        assert ask(url, signed(url, digest=digest), digest=digest)[2] == blob


@contextmanager
def rude(url, data):
    """A connection that has sent something, and reads nothing unless asked."""
    host, _, port = url.partition("://")[2].rpartition(":")
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(30)
        line.connect((host, int(port)))
        line.sendall(data)
        yield line


def ended(line):
    """Read until the server ends the connection; fails if it does not."""
    size = 0
    try:
        while data := line.recv(2**16):
            size += len(data)
    except ConnectionError:
        pass
    return size


def test_who_does_not_take_its_blob_gives_its_place_back(tmp_path):
    limits = BlobLimits(downloads_count=1, address_count=1, piece_s=0.5)
    blob = bytes(30_000_000)
    digest = hashlib.sha256(blob).hexdigest()
    with serving_blobs(tmp_path / "peer", limits=limits) as (url, store):
        store.put(blob)
        name = url.partition("://")[2]
        head = (
            f"GET /v1/blobs/{digest} HTTP/1.1\r\nhost: {name}\r\n"
            f"authorization: {signed(url, digest=digest)}\r\n\r\n"
        )
        with rude(url, head.encode()) as line:
            line.recv(1)
            until(lambda: ask(url, signed(url, digest=digest), digest=digest)[0] == 200)
            assert ended(line) < len(blob)


def test_one_member_cannot_take_the_places_of_all(tmp_path):
    limits = BlobLimits(downloads_count=10, address_count=2, piece_s=30.0)
    blob = bytes(30_000_000)
    digest = hashlib.sha256(blob).hexdigest()
    with serving_blobs(tmp_path / "peer", limits=limits) as (url, store), ExitStack() as stack:
        store.put(blob)
        name = url.partition("://")[2]
        for _ in range(2):
            head = (
                f"GET /v1/blobs/{digest} HTTP/1.1\r\nhost: {name}\r\n"
                f"authorization: {signed(url, digest=digest)}\r\n\r\n"
            )
            stack.enter_context(rude(url, head.encode())).recv(1)
        status, _, data = ask(url, signed(url, digest=digest), digest=digest)
        assert status == 429
        assert "one address" in json.loads(data)["reason"]
        assert ask(url, signed(url, MEMBERS[1], digest=digest), digest=digest)[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 200_000,
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 30_000,
    ],
    ids=["one header", "the path", "many headers"],
)
def test_a_huge_head_is_cut_off(server, head, monkeypatch):
    url, _ = server
    monkeypatch.setattr(patience, "HEAD_S", 300.0)
    with rude(url, b"") as line:
        try:
            line.sendall(head)
            assert ended(line) < 1000
        except OSError:
            pass
    assert ask(url, signed(url))[0] == 200


@pytest.mark.parametrize("head", [b"", b"GET", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_a_head_that_does_not_end_is_cut_off(server, head, monkeypatch):
    url, _ = server
    monkeypatch.setattr(patience, "HEAD_S", 0.3)
    with rude(url, head) as line:
        assert ended(line) == 0


def test_a_connection_may_be_used_again_after_a_while(server, monkeypatch):
    monkeypatch.setattr(patience, "HEAD_S", 0.3)
    url, _ = server
    line = http.client.HTTPConnection(url.partition("://")[2], timeout=30)
    line.auto_open = False
    line.connect()
    for _ in range(3):
        line.request("GET", f"/v1/blobs/{DIGEST}", headers={"Authorization": signed(url)})
        assert line.getresponse().read() == BLOB
        time.sleep(0.5)
    line.close()


# ----------------------------------------------------------------------- servers that attack


OK = b"HTTP/1.1 200 OK\r\n"


def says(data):
    return lambda line, stopped: line.sendall(data)


def endlessly(head, chunk, pause_s=0.0):
    def speech(line, stopped):
        line.sendall(head)
        while not stopped.wait(pause_s):
            line.sendall(chunk)

    return speech


def blob_answer(data, size=None):
    return OK + f"content-length: {len(data) if size is None else size}\r\n\r\n".encode() + data


SPEECHES = {
    "nothing": (says(b""), PeerUnreachableError),
    "garbage": (says(random.Random(SEED).randbytes(500)), PeerUnreachableError),
    "half a status": (says(b"HTTP/1."), PeerUnreachableError),
    "only a status": (says(OK), PeerUnreachableError),
    "no length": (says(OK + b"\r\n" + BLOB), PeerUnreachableError),
    "a negative length": (says(OK + b"content-length: -1\r\n\r\n"), PeerUnreachableError),
    "a length that is none": (says(OK + b"content-length: x\r\n\r\n"), PeerUnreachableError),
    "chunks": (
        endlessly(OK + b"transfer-encoding: chunked\r\n\r\n", b"ffff\r\n" + bytes(0xFFFF) + b"\r\n"),
        PeerUnreachableError,
    ),
    "compressed": (
        says(OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nxxxxx"),
        PeerUnreachableError,
    ),
    "10 GB": (endlessly(OK + b"content-length: 10000000000\r\n\r\n", bytes(10**5)), BlobTooLargeError),
    "half a blob": (says(blob_answer(BLOB[: 10**6], len(BLOB))), PeerUnreachableError),
    "other bytes": (says(blob_answer(bytes(len(BLOB)))), DigestMismatchError),
    "fewer bytes": (says(blob_answer(BLOB[:-1])), DigestMismatchError),
    "more bytes": (says(blob_answer(BLOB + b"\0")), DigestMismatchError),
    "nothing as a blob": (says(blob_answer(b"")), DigestMismatchError),
    "part of what was not asked": (
        says(b"HTTP/1.1 206 x\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5\r\n\r\nxxxxx"),
        PeerUnreachableError,
    ),
    "part of nothing": (
        says(b"HTTP/1.1 206 x\r\ncontent-length: 5\r\n\r\nxxxxx"),
        PeerUnreachableError,
    ),
    "not in the range": (
        says(b"HTTP/1.1 416 x\r\ncontent-range: bytes */0\r\ncontent-length: 0\r\n\r\n"),
        DigestMismatchError,
    ),
    "a redirection": (
        says(b"HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"),
        PeerUnreachableError,
    ),
    "not found": (says(b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n"), BlobNotFoundError),
    "a failure": (says(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n"), PeerUnreachableError),
    "a reason that clears the screen": (
        says(b'HTTP/1.1 403 x\r\ncontent-length: 27\r\n\r\n{"reason":"\\u001b[2Jcleared"}'),
        PeerUnreachableError,
    ),
    "deep JSON": (says(b"HTTP/1.1 403 x\r\ncontent-length: 100000\r\n\r\n" + b"[" * 10**5), PeerUnreachableError),
    "a switch of protocols": (says(b"HTTP/1.1 101 x\r\nupgrade: x\r\n\r\n"), PeerUnreachableError),
    "a head that is nonsense": (
        says(OK + b"colearn-head: x\r\ncontent-length: 3\r\n\r\nxxx"),
        PeerUnreachableError,
    ),
    "silence": (lambda line, stopped: stopped.wait(), PeerTimeoutError),
    "headers that drip": (endlessly(OK, b"x", 0.05), PeerTimeoutError),
    "headers without end": (endlessly(OK, b"x-a: b\r\n"), PeerUnreachableError),
    "one header without end": (endlessly(OK + b"x: ", b"a" * 10**4), PeerUnreachableError),
    "continue without end": (
        endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        PeerTimeoutError,
    ),
    "a body that drips": (
        endlessly(OK + b"content-length: 3000000\r\n\r\n", b" ", 0.05),
        PeerTimeoutError,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("speech", "kind"), SPEECHES.values(), ids=SPEECHES)
@pytest.mark.parametrize("remote", [HostedRemote, PeersRemote])
def test_whatever_a_server_answers_the_error_is_named_and_nothing_is_taken(
    tmp_path, speech, kind, remote
):
    def statement(*said):
        raise AssertionError(said)

    with speaking(speech) as url:
        urls = url if remote is HostedRemote else [url]
        there = remote(urls, sender(), on_statement=statement)
        store = HoldingStore(DirectoryStore(tmp_path / "mine"), there)
        with pytest.raises(kind) as caught:
            store.bring(DIGEST, LIMIT, timeout_s=0.7)
        there.close()
    assert list(store.digests()) == []
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    if kind is not BlobNotFoundError or remote is HostedRemote:
        assert url in str(caught.value) or kind is DigestMismatchError


def test_a_blob_comes_whole_from_a_server_that_closes_behind_it(tmp_path):
    def speech(line, stopped):
        line.sendall(OK + f"connection: close\r\ncontent-length: {len(BLOB)}\r\n\r\n".encode())
        time.sleep(0.1)
        line.sendall(BLOB)

    asked = []
    with speaking(lambda *line: (asked.append(1), speech(*line))) as url:
        remote = HostedRemote(url, sender())
        store = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        assert store.get(DIGEST, LIMIT) == BLOB
        remote.close()
    assert len(asked) == 1


def test_a_refusal_is_read_to_its_reason(tmp_path):
    def speech(line, stopped):
        line.sendall(b"HTTP/1.1 403 x\r\nconnection: close\r\ncontent-length: 24\r\n\r\n")
        time.sleep(0.1)
        line.sendall(b'{"reason":"I do not know')

    def whole(line, stopped):
        body = b'{"reason":"I do not know you"}'
        line.sendall(
            b"HTTP/1.1 403 x\r\nconnection: close\r\ncontent-length: "
            + str(len(body)).encode() + b"\r\n\r\n"
        )  # fmt: skip
        time.sleep(0.1)
        line.sendall(body)

    for said, expected in ((whole, "403: I do not know you"), (speech, "answers 403")):
        with speaking(said) as url:
            remote = HostedRemote(url, sender())
            with pytest.raises(PeerUnreachableError, match=expected):
                HoldingStore(DirectoryStore(tmp_path / "mine"), remote).bring(DIGEST, LIMIT)
            remote.close()


def test_a_peer_that_drips_is_left_long_before_the_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(_wire, "_WINDOW_S", 0.3)
    with (
        speaking(endlessly(OK + b"content-length: 3000000\r\n\r\n", b" " * 100, 0.05)) as slow,
        serving_blobs(tmp_path / "peer") as (url, store),
    ):
        store.put(BLOB)
        remote = PeersRemote([slow], sender())
        mine = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        with pytest.raises(PeerUnreachableError, match="bytes a second"):
            mine.bring(DIGEST, LIMIT, timeout_s=300)
        remote.set([slow, url])
        # What the slow one sent was wrong: it is thrown away, and the blob fetched whole.
        mine.bring(DIGEST, LIMIT, timeout_s=60)
        assert mine.get(DIGEST, LIMIT) == BLOB
        remote.close()


def test_a_peer_that_falls_silent_is_left_long_before_the_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(_wire, "_WINDOW_S", 0.3)

    def speech(line, stopped):
        line.sendall(blob_answer(BLOB[: 10**6], len(BLOB)))
        stopped.wait()

    with speaking(speech) as silent:
        remote = PeersRemote([silent], sender())
        with pytest.raises(PeerUnreachableError, match="too slow"):
            HoldingStore(DirectoryStore(tmp_path / "mine"), remote).bring(
                DIGEST, LIMIT, timeout_s=300
            )
        remote.close()


NO = b"HTTP/1.1 404 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [b"", b"x", b"HTTP/1.1 507 x\r\ncontent-length: 0\r\n\r\n", GO_ON, GO_ON * 1000, GO_ON + b"x",
     b"HTTP/1.1 100 Continue\r\nx: " + b"a" * 10**6, b"HTTP/1.1 204 x\r\n\r\n"],
    ids=range(8),
)  # fmt: skip
def test_a_server_that_takes_no_blob_is_named(tmp_path, answer):
    held = DirectoryStore(tmp_path / "mine")
    held.put(BLOB)
    count = []

    def speech(line, stopped):
        count.append(1)
        line.sendall(answer if len(count) > 1 else NO)

    with hearing(speech) as url:
        remote = HostedRemote(url, sender(), share_s=5)
        with pytest.raises((PeerUnreachableError, PeerTimeoutError), match=url):
            HoldingStore(held, remote).share(DIGEST)
        remote.close()


def test_a_server_that_takes_a_blob_slowly_is_left(tmp_path):
    held = DirectoryStore(tmp_path / "mine")
    digest = held.put(bytes(30_000_000))
    count = []

    def speech(line, stopped):
        count.append(1)
        line.sendall(GO_ON if len(count) > 1 else NO)
        if len(count) > 1:
            stopped.wait()

    with hearing(speech) as url:
        remote = HostedRemote(url, sender(), share_s=1.0)
        with pytest.raises(PeerTimeoutError, match=url):
            HoldingStore(held, remote).share(digest)
        remote.close()


def test_a_server_that_refuses_a_blob_is_not_sent_it(tmp_path):
    held = DirectoryStore(tmp_path / "mine")
    digest = held.put(bytes(30_000_000))
    with serving_blobs(tmp_path / "server", quota=quota(1000, 1000)) as (url, _):
        remote = HostedRemote(url, sender())
        with pytest.raises(PeerUnreachableError, match=r"507.*full"):
            HoldingStore(held, remote).share(digest)
        remote.close()


# --------------------------------------------------------------------------- lying among peers


def lie(folder, data):
    """Serve other bytes: a server does not hash what it sends."""
    folder.mkdir(exist_ok=True)
    (folder / DIGEST).write_bytes(data)


def test_a_liar_among_peers_is_named_and_the_blob_comes_from_another(tmp_path):
    with (
        serving_blobs(tmp_path / "honest") as (honest, store),
        serving_blobs(tmp_path / "liar") as (liar, _),
    ):
        store.put(BLOB)
        lie(tmp_path / "liar", BLOB[:-1] + b"x")
        remote = PeersRemote([liar], sender())
        mine = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        with pytest.raises(DigestMismatchError, match=liar):
            mine.bring(DIGEST, LIMIT)
        assert [path.name for path in (tmp_path / "mine").iterdir()] == []
        remote.set([liar, honest])
        mine.bring(DIGEST, LIMIT)
        assert mine.get(DIGEST, LIMIT) == BLOB
        remote.close()


@pytest.mark.parametrize("seed", range(8))
def test_bytes_of_several_of_whom_one_lied_are_fetched_whole_from_one(tmp_path, seed):
    """The first gives a wrong beginning and breaks off; the others are blamed for nothing."""

    def speech(line, stopped):
        data = random.Random(seed).randbytes(1_000_000)
        line.sendall(blob_answer(data, len(BLOB)))

    with (
        speaking(speech) as liar,
        serving_blobs(tmp_path / "honest") as (honest, store),
    ):
        store.put(BLOB)
        remote = PeersRemote([liar], sender())
        mine = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        with pytest.raises(PeerUnreachableError):
            mine.bring(DIGEST, LIMIT, timeout_s=20)
        remote.set([liar, honest])
        mine.bring(DIGEST, LIMIT, timeout_s=60)
        assert mine.held.get(DIGEST, LIMIT) == BLOB
        remote.close()


def test_a_transfer_that_breaks_off_goes_on_at_another_peer(tmp_path):
    with serving_blobs(tmp_path / "honest") as (honest, store):
        store.put(BLOB)
        first = PeersRemote([honest], sender())
        asked = []

        def speech(line, stopped):
            asked.append(1)
            line.sendall(blob_answer(BLOB[:2_000_000], len(BLOB)))

        with speaking(speech) as breaking:
            mine = DirectoryStore(tmp_path / "mine")
            broken = PeersRemote([breaking], sender())
            with pytest.raises(PeerUnreachableError, match="broke off"):
                HoldingStore(mine, broken).bring(DIGEST, LIMIT)
            broken.close()
        with mine.receive(DIGEST, LIMIT) as draft:
            assert draft.offset == 2_000_000
        HoldingStore(mine, first).bring(DIGEST, LIMIT)
        assert mine.get(DIGEST, LIMIT) == BLOB
        first.close()


def test_peers_that_failed_are_asked_last(tmp_path):
    asked = []

    def speech(line, stopped):
        asked.append(1)

    with speaking(speech) as broken, serving_blobs(tmp_path / "honest") as (honest, store):
        remote = PeersRemote([broken, honest], sender())
        mine = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        for number in range(40):
            mine.bring(store.put(str(number).encode()), LIMIT)
        assert 1 <= len(asked) < 15
        remote.close()


def test_a_liar_is_asked_last_from_then_on(tmp_path):
    asked = []

    def speech(line, stopped):
        asked.append(1)
        line.sendall(blob_answer(b"wrong"))

    with speaking(speech) as liar, serving_blobs(tmp_path / "honest") as (honest, store):
        remote = PeersRemote([liar, honest], sender())
        mine = HoldingStore(DirectoryStore(tmp_path / "mine"), remote)
        for number in range(40):
            mine.bring(store.put(str(number).encode()), LIMIT)
        assert len(asked) <= 1
        remote.close()


def test_what_was_wrong_before_a_restart_is_fetched_anew(tmp_path):
    """A hosted store: the bytes on the disk are not what the server has."""
    mine = DirectoryStore(tmp_path / "mine")
    with mine.receive(DIGEST, LIMIT) as draft:
        draft.write(b"wrong" * 10**5)
    with serving_blobs(tmp_path / "server") as (url, store):
        store.put(BLOB)
        remote = HostedRemote(url, sender())
        HoldingStore(mine, remote).bring(DIGEST, LIMIT)
        assert mine.get(DIGEST, LIMIT) == BLOB
        remote.close()


def test_addresses_that_are_none_are_left_out_and_many_are_cut():
    urls = ["", "ftp://x", "http://", "http://user:secret@host", "x" * 10**5, "http://a\nb",
            "http://host:0", "http://host:99999", "http://[::1", "http://host/?q", None]  # fmt: skip
    remote = PeersRemote([each for each in urls if each is not None], sender())
    assert remote.urls() == ()
    with pytest.raises(PeerUnreachableError, match="no peer"):
        remote.fetch(DIGEST, NoDraft(), 10, time.monotonic() + 1)
    remote.set([f"http://host{number}:1" for number in range(1000)])
    assert len(remote.urls()) == 256
    remote.set(["http://HOST:80/", "http://host"])
    assert remote.urls() == ("http://host",)


class NoDraft:
    offset = 0
