"""The hosted ledger's server over plain HTTP: routes, limits, waiting, errors (7.8)."""

import asyncio
import json
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.logs import CREATE, ME, START, SetClock, filled_log, make_log, served

from colearn.core import Genesis, encode_call
from colearn.errors import ConfigError, LedgerTamperedError, LedgerUnavailableError
from colearn.ledger import EmbeddedLedger, Head, _wire, server, serving
from colearn.ledger._desk import Desk
from colearn.ledger.server import make_app
from colearn.ledger.serving import serve

BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture
def path(tmp_path):
    return make_log(tmp_path / "ledger.db")


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def door(path, clock):
    """A client of a served log."""
    with (
        served(path, clock=clock, synchronous="NORMAL") as ready,
        httpx.Client(base_url=ready.url, trust_env=False, timeout=40) as client,
    ):
        yield client


def signed(path, key=ME, call=CREATE, nonce=None):
    """An entry and its signature, as a client of the log in the file sends them."""
    with EmbeddedLedger(path, clock=lambda: START) as view:
        view.sync()
        entry = view.replica.entry(key.address, START, encode_call(call))
        return entry, key.sign(view.replica.digest(entry))


def post(door, entry, signature, query=""):
    return door.post(
        f"/v1/entries{query}", content=_wire.write_entry(entry, signature), headers=BINARY
    )


def is_error(answer, status, kind):
    document = answer.json()
    assert (answer.status_code, document["error"]) == (status, kind)
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    assert "ledger.db" not in answer.text
    return document["reason"]


# ----------------------------------------------------------------------------------- routes


def test_the_genesis_is_given_in_its_canonical_bytes(door, path):
    answer = door.get("/v1/genesis")
    with EmbeddedLedger(path) as view:
        assert Genesis.decode(answer.content) == view.genesis
    assert answer.headers["content-type"] == "application/json"


def test_health_says_how_far_the_log_is(door, path):
    before = door.get("/v1/health").json()
    assert (before["height"], before["waiting"]) == (0, 0)
    assert post(door, *signed(path)).status_code == 200
    after = door.get("/v1/health").json()
    assert after["height"] == 1
    assert after["head"] == door.get("/v1/rows").json()["head"]


def test_an_entry_in_bytes_gets_its_height_and_stamp(door, path, clock):
    clock.pass_s(3)
    assert post(door, *signed(path)).json() == {"height": 1, "stamp": START + 3, "page": None}


def test_an_entry_in_hex_gets_its_height_and_stamp(door, path):
    entry, signature = signed(path)
    document = {"entry": entry.encode().hex(), "signature": signature.hex()}
    assert door.post("/v1/entries", json=document).json()["height"] == 1
    assert door.get("/v1/rows").json()["rows"][0]["entry"] == document["entry"]


def test_the_same_entry_again_gets_its_place_and_is_no_second_row(door, path):
    entry, signature = signed(path)
    first = post(door, entry, signature).json()
    assert post(door, entry, signature).json() == first
    assert door.get("/v1/health").json()["height"] == 1


def test_the_sender_gets_the_rows_it_has_not_read_with_the_answer(door, path):
    post(door, *signed(path))
    document = post(door, *signed(path), query="?from=1").json()
    assert document["height"] == 2
    assert [row["stamp"] for row in document["page"]["rows"]] == [START, START]
    assert document["page"]["from"] == 1


def test_a_refused_call_gets_the_reason_of_the_rules(door, path):
    from colearn.core import calls

    answer = post(door, *signed(path, call=calls.Leave(1)))
    assert is_error(answer, 409, "refused") == "not running"
    assert answer.json()["condition"] == "rules"


def test_a_nonce_that_is_taken_is_a_conflict(door, path, clock):
    from dataclasses import replace

    first, second = signed(path), signed(path, call=replace(CREATE, uri="other"))
    assert post(door, *first).status_code == 200
    answer = post(door, *second)
    assert answer.json()["condition"] == "conflict"
    assert answer.status_code == 409


def test_rows_are_given_from_a_height_on_with_the_head_below(tmp_path):
    path = filled_log(tmp_path / "filled.db", rounds=1)
    with EmbeddedLedger(path) as view, served(path) as ready:
        view.sync()
        heads = view.replica.heads
        with httpx.Client(base_url=ready.url, trust_env=False) as door:
            page = door.get("/v1/rows", params={"from": 4, "limit": 2}).json()
            assert [row["head"] for row in page["rows"]] == heads[4:6]
            assert (page["from"], page["height"]) == (4, len(heads) - 1)
            assert (page["base"], page["head"]) == (heads[3], heads[-1])
            end = door.get("/v1/rows", params={"from": len(heads)}).json()
            assert (end["base"], end["rows"]) == (heads[-1], [])
            beyond = door.get("/v1/rows", params={"from": len(heads) + 1}).json()
            assert (beyond["base"], beyond["rows"]) == (None, [])
            page = _wire.Page.read(door.get("/v1/rows").json(), 1)
            assert list(page.rows) == list(view.history())


def test_an_answer_has_an_end_in_rows_and_in_bytes(tmp_path, monkeypatch):
    path = filled_log(tmp_path / "filled.db", rounds=2)
    with served(path) as ready, httpx.Client(base_url=ready.url, trust_env=False) as door:
        whole = door.get("/v1/rows").json()["rows"]
        monkeypatch.setattr(_wire, "ROWS_BYTES", 2000)
        some = door.get("/v1/rows").json()["rows"]
        assert 0 < len(some) < len(whole)
        monkeypatch.setattr(_wire, "ROWS_BYTES", 1)
        assert len(door.get("/v1/rows").json()["rows"]) == 1
        monkeypatch.setattr(_wire, "ROWS_BYTES", 10**6)
        monkeypatch.setattr(_wire, "ROWS_MAX", 3)
        assert door.get("/v1/rows", params={"limit": 100}).json()["rows"] == whole[:3]


# ------------------------------------------------------------------------- hostile requests


@pytest.mark.parametrize(
    "query",
    [
        {"from": "0"},
        {"from": "-1"},
        {"from": "x"},
        {"from": "1.0"},
        {"from": ""},
        {"from": "9" * 19},
        {"from": "٣"},
        {"limit": "0"},
        {"limit": "1e9"},
        {"wait_s": "nan"},
        {"wait_s": "inf"},
        {"wait_s": "-1"},
        {"wait_s": "1e3"},
        {"wait_s": "9" * 7},
    ],
)
def test_questions_that_are_none_are_told_so(door, query):
    name = next(iter(query))
    assert name in is_error(door.get("/v1/rows", params=query), 400, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        bytes(65),
        bytes(120),
        b"\xff" * 200,
        bytes(65 + 8 + 8 + 8 + 31),
    ],
)
def test_bytes_that_are_no_entry_are_refused(door, body):
    answer = door.post("/v1/entries", content=body, headers=BINARY)
    assert answer.status_code in (400, 409)
    assert door.get("/v1/health").json()["height"] == 0


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        7,
        {},
        {"entry": 7, "signature": "00" * 65},
        {"entry": "zz", "signature": "00" * 65},
        {"entry": "00" * 60, "signature": None},
        {"entry": "00" * 60, "signature": "00" * 64},
        {"entry": "AB" * 60, "signature": "00" * 65},
        {"entry": "00 " * 60, "signature": "00" * 65},
        {"entry": ["00"], "signature": {"a": 1}},
    ],
)
def test_documents_that_are_no_entry_are_refused(door, document):
    body, kind = json.dumps(document).encode(), {"content-type": "application/json"}
    is_error(door.post("/v1/entries", content=body, headers=kind), 400, "malformed")


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b"nan", b"1" * 10_000])
def test_json_that_is_none_is_refused(door, text):
    answer = door.post("/v1/entries", content=text, headers={"content-type": "application/json"})
    is_error(answer, 400, "malformed")
    is_error(door.post("/v1/rows", content=text), 400, "malformed")


def test_other_content_types_are_refused(door, path):
    body = _wire.write_entry(*signed(path))
    for kind in ("text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = door.post("/v1/entries", content=body, headers={"content-type": kind})
        is_error(answer, 415, "malformed")


def test_a_body_that_is_too_long_is_not_read_to_its_end(door):
    def endless():
        for _ in range(200):
            yield bytes(100_000)

    for path in ("/v1/entries", "/v1/rows"):
        try:
            answer = door.post(path, content=endless(), headers=BINARY)
        except httpx.TransportError:
            # The server had answered and hung up while it was still being written to.
            continue
        is_error(answer, 413, "malformed")
    assert door.get("/v1/health").status_code == 200


def test_a_body_that_does_not_come_is_given_up(door, monkeypatch):
    monkeypatch.setattr(server, "_BODY_S", 0.2)
    host, port = door.base_url.host, door.base_url.port
    with socket.create_connection((host, port)) as line:
        line.sendall(
            b"POST /v1/entries HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n"
            b"content-type: application/octet-stream\r\n\r\nhalf"
        )
        assert line.makefile("rb").readline().startswith(b"HTTP/1.1 408")


def test_a_request_that_breaks_off_harms_nobody(door):
    host, port = door.base_url.host, door.base_url.port
    for half in (
        b"",
        b"GET /v1",
        b"POST /v1/entries HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx",
    ):
        with socket.create_connection((host, port)) as line:
            line.sendall(half)
    assert door.get("/v1/health").status_code == 200


def test_other_paths_and_methods_are_told_so_in_json(door):
    is_error(door.get("/"), 404, "malformed")
    is_error(door.get("/v1/rows/../../etc/passwd"), 404, "malformed")
    is_error(door.get("/v2/rows"), 404, "malformed")
    is_error(door.get("/v1/entries"), 405, "malformed")
    is_error(door.delete("/v1/rows"), 405, "malformed")
    answer = door.post("/v1/genesis")
    is_error(answer, 405, "malformed")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"from": 0, "rows": []},
        {"from": "1", "rows": []},
        {"from": True, "rows": []},
        {"from": 1, "rows": {}},
        {"from": 1, "rows": [1]},
        {"from": 1, "rows": [{}]},
        {"from": 1, "rows": [{"entry": "", "signature": "", "stamp": 0, "head": ""}]},
        {"from": 1, "rows": [[]] * 1001},
    ],
)
def test_rows_to_put_back_that_are_none_are_refused(door, document):
    is_error(door.post("/v1/rows", json=document), 400, "malformed")


def test_rows_are_put_back_only_for_a_while_after_the_start(tmp_path):
    path = filled_log(tmp_path / "filled.db", rounds=1)
    with served(path, put_back_s=0.0) as ready:
        answer = httpx.post(f"{ready.url}/v1/rows", json={"from": 1, "rows": []}, trust_env=False)
    assert "only after a start" in is_error(answer, 409, "refused")


# ---------------------------------------------------------------------------------- waiting


def ask_waiting(url, begin, wait_s):
    return httpx.get(
        f"{url}/v1/rows", params={"from": begin, "wait_s": wait_s}, timeout=40, trust_env=False
    ).json()


def until_waiting(door, count):
    while door.get("/v1/health").json()["waiting"] < count:
        time.sleep(0.01)


def test_many_that_wait_are_all_answered_by_one_entry(door, path):
    url, count = str(door.base_url), 40
    with ThreadPoolExecutor(count) as threads:
        waiting = [threads.submit(ask_waiting, url, 1, 30) for _ in range(count)]
        # The server answers others while they wait.
        until_waiting(door, count)
        assert post(door, *signed(path)).status_code == 200
        pages = [each.result() for each in waiting]
    assert all(page["height"] == 1 and len(page["rows"]) == 1 for page in pages)
    assert door.get("/v1/health").json()["waiting"] == 0


def test_what_another_process_writes_into_the_file_ends_the_waiting(door, path, clock):
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask_waiting, str(door.base_url), 1, 30)
        until_waiting(door, 1)
        with EmbeddedLedger(path, clock=clock) as view:
            view.submit(ME, CREATE)
        assert waiting.result()["height"] == 1


def test_waiting_has_an_end(door):
    page = ask_waiting(str(door.base_url), 1, 0.1)
    assert (page["height"], page["rows"]) == (0, [])


def test_nobody_waits_for_what_is_there_or_for_what_was_lost(door, path):
    post(door, *signed(path))
    assert ask_waiting(str(door.base_url), 1, 30)["height"] == 1
    # A reader that has more than the log is told so at once: it puts back what it holds.
    assert ask_waiting(str(door.base_url), 5, 30)["base"] is None


def test_more_than_may_wait_are_answered_at_once(path, monkeypatch):
    monkeypatch.setattr(serving, "_WAITERS_MAX", 2)
    with (
        served(path) as ready,
        ThreadPoolExecutor(2) as threads,
        httpx.Client(base_url=ready.url, trust_env=False) as door,
    ):
        waiting = [threads.submit(ask_waiting, ready.url, 1, 30) for _ in range(2)]
        until_waiting(door, 2)
        assert ask_waiting(ready.url, 1, 30)["rows"] == []
        assert door.get("/v1/health").json()["waiting"] == 2
        ready.stop()
        assert [each.result()["rows"] for each in waiting] == [[], []]


# ----------------------------------------------------------------------------------- errors


def test_a_log_that_is_damaged_while_it_is_served_says_no_more_than_that(door, path):
    entry = signed(path)
    post(door, *entry)
    with sqlite3.connect(path) as db:
        db.execute("delete from rows")
    db.close()
    for answer in (door.get("/v1/rows"), post(door, *entry)):
        assert "owner" in is_error(answer, 500, "damaged")
    assert door.get("/v1/health").status_code == 200


def test_a_file_that_is_locked_makes_the_server_unavailable_and_not_silent(
    path, clock, monkeypatch
):
    from colearn.ledger import _file

    monkeypatch.setattr(_file, "_BUSY_S", 0.1)
    entry = signed(path)
    with (
        served(path, clock=clock) as ready,
        httpx.Client(base_url=ready.url, trust_env=False) as door,
    ):
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("begin immediate")
        try:
            is_error(post(door, *entry), 503, "unavailable")
            assert door.get("/v1/rows").status_code == 200
        finally:
            blocker.close()
        assert post(door, *entry).status_code == 200


class FailingDesk:
    """A desk whose ledger has a bug."""

    head, waiting, opened = Head(0, ""), 0, 0.0

    async def ask(self, question):
        raise ZeroDivisionError("secret")


def test_a_bug_in_the_server_is_an_answer_without_its_details():
    async def ask():
        transport = httpx.ASGITransport(make_app(FailingDesk()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get("/v1/rows")

    answer = asyncio.run(ask())
    is_error(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "Zero" not in answer.text


def test_a_desk_refuses_when_too_many_questions_stand_in_line(path, monkeypatch):
    from colearn.ledger import _desk

    monkeypatch.setattr(_desk, "_QUESTIONS_MAX", 3)
    hold = threading.Event()

    async def crowd():
        desk = Desk(lambda: EmbeddedLedger(path))
        await desk.open()
        try:
            asked = [asyncio.create_task(desk.ask(lambda _: hold.wait(10))) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(LedgerUnavailableError, match="in line"):
                await desk.ask(lambda ledger: ledger.sync())
            hold.set()
            assert await asyncio.gather(*asked) == [True] * 3
            assert await desk.ask(lambda ledger: ledger.sync()) == 0
        finally:
            hold.set()
            await desk.close()

    asyncio.run(crowd())


# -------------------------------------------------------------------------- start and stop


def test_a_log_that_is_not_there_or_not_valid_is_not_served(tmp_path):
    with pytest.raises(ConfigError):
        serve(tmp_path / "nowhere.db", port=0)
    path = filled_log(tmp_path / "ledger.db", rounds=1)
    with sqlite3.connect(path) as db:
        db.execute("update rows set stamp = stamp + 1 where height = 3")
    db.close()
    with pytest.raises(LedgerTamperedError) as caught:
        serve(path, port=0)
    assert caught.value.entry == 3


def test_a_port_that_is_taken_or_none_is_named(path):
    with served(path) as ready:
        port = int(ready.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=str(port)):
            serve(path, port=port)
    with pytest.raises(ConfigError):
        serve(path, port=70_000)
    with pytest.raises(ConfigError):
        serve(path, host="no such host", port=0)


def test_certificates_that_are_none_are_named(path, tmp_path):
    nonsense = tmp_path / "cert.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(ConfigError, match="cert"):
        serve(path, port=0, certfile=nonsense)
    with pytest.raises(ConfigError, match="cert"):
        serve(path, port=0, certfile=tmp_path / "no.pem")
    with pytest.raises(ConfigError, match="key file"):
        serve(path, port=0, keyfile=nonsense)


def test_the_server_binds_loopback_by_default_and_can_be_started_again(path):
    for _ in range(2):
        with served(path) as ready:
            assert ready.url.startswith("http://127.0.0.1:")
            assert json.loads(httpx.get(f"{ready.url}/v1/genesis", trust_env=False).text)


def test_ipv6_addresses_are_written_in_brackets(path):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        with served(path, host="::1") as ready:
            assert ready.url.startswith("http://[::1]:")
            assert httpx.get(f"{ready.url}/v1/health", trust_env=False).status_code == 200
    except LedgerUnavailableError:
        pytest.skip("no IPv6 on this machine")
