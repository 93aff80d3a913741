"""The hosted ledger's client with a real server: lost answers, many writers, cut logs (7.9)."""

import asyncio
import shutil
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier

import pytest
from tests.hosts import relay, tunnel
from tests.logs import (
    CREATE,
    DRIFT_S,
    ME,
    START,
    Group,
    SetClock,
    digest,
    filled_log,
    make_log,
    served,
)

from colearn.core import calls
from colearn.errors import (
    ColearnError,
    ConfigError,
    LedgerConflictError,
    LedgerRejectedError,
    LedgerTamperedError,
    LedgerUnavailableError,
    LocalProtocolError,
)
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger, hosted, serving
from colearn.ledger.hosted import HostedLedger

OTHER = Key.from_seed(2, "other")


class CountingKey(Key):
    """A key that counts what it signs."""

    __slots__ = ("count",)

    @classmethod
    def named(cls, name):
        key = cls(Key.from_seed(1, name)._signer, simulated=True)
        key.count = 0
        return key

    def sign(self, digest):
        self.count += 1
        return super().sign(digest)


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def path(tmp_path):
    return make_log(tmp_path / "ledger.db")


@pytest.fixture
def url(path, clock):
    with served(path, clock=clock, synchronous="NORMAL") as ready:
        yield ready.url


@pytest.fixture
def line(url):
    """A line to the server that can lose things: its URL, and what it is to do."""
    with relay(url) as (outside, line):
        line.url = outside
        yield line


def rows_in(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("select count(*) from rows").fetchone()[0]


def shorten(path, height):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("delete from rows where height > ?", (height,))


def port_of(url):
    return int(url.rpartition(":")[2])


# ------------------------------------------------------------------------------ the address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger",
        "127.0.0.1:8463",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http://127.0.0.1:99999999",
        "http://127.0.0.1:x",
        "http://a b",
        "http://\n",
        "http://127.0.0.1/\x00",
        "http://" + "x" * 3000,
        "http://127.0.0.1/?a=1",
        "http://127.0.0.1/#a",
        "http://someone:secret@127.0.0.1/",
        None,
        7,
        b"http://127.0.0.1",
    ],
)
def test_an_address_that_is_none_is_refused_and_no_secret_is_repeated(url):
    with pytest.raises(ConfigError) as caught:
        HostedLedger(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "10", None])
def test_a_timeout_that_is_none_is_refused(timeout_s):
    with pytest.raises(ConfigError, match="timeout"):
        HostedLedger("http://127.0.0.1:1", timeout_s=timeout_s)


def test_a_server_that_is_not_there_is_unavailable(url):
    with served_and_gone(url) as gone, pytest.raises(LedgerUnavailableError, match=gone):
        HostedLedger(gone)


def served_and_gone(url):
    """An address of loopback where nobody listens."""
    from contextlib import nullcontext
    from socket import socket

    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return nullcontext(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_name_that_leads_nowhere_is_unavailable():
    with pytest.raises(LedgerUnavailableError):
        HostedLedger("http://ledger.invalid:8463", timeout_s=20)


def test_something_else_at_the_address_is_no_ledger(url):
    with pytest.raises(LedgerUnavailableError, match="404"):
        HostedLedger(url + "/elsewhere")


def test_the_genesis_can_be_pinned(url, path):
    with EmbeddedLedger(path) as view:
        expected = view.genesis.digest
    with HostedLedger(url, expected_genesis=expected.upper()) as view:
        assert view.genesis.digest == expected
    with pytest.raises(LedgerTamperedError, match=expected) as caught:
        HostedLedger(url, expected_genesis=digest("another log"))
    assert caught.value.entry == 0
    with pytest.raises(ConfigError):
        HostedLedger(url, expected_genesis="ab")


def test_a_slash_at_the_end_of_the_address_is_nothing(url):
    with HostedLedger(url + "/") as view:
        assert view.url == url


# --------------------------------------------------------------------------- use and misuse


def test_the_history_is_what_was_read(url, clock, path):
    with HostedLedger(url, clock=clock) as view:
        Group([view], size=3).establish().round()
        with EmbeddedLedger(path, clock=clock) as file:
            file.sync()
            assert list(view.history()) == list(file.history())
            assert list(view.history(4)) == list(file.history(4))
            assert file.head == view.head


def test_it_works_inside_a_running_event_loop(url, clock):
    async def notebook():
        with HostedLedger(url, clock=clock) as view:
            view.submit(ME, CREATE)
            return view.head.height

    assert asyncio.run(notebook()) == 1


def test_a_closed_view_says_so(url, clock):
    view = HostedLedger(url, clock=clock)
    view.close()
    view.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        view.sync()


def test_a_listener_that_calls_the_ledger_is_told_so(url, clock):
    with HostedLedger(url, clock=clock) as view:
        view.listen(lambda _: view.sync())
        with pytest.raises(LocalProtocolError, match="listener"):
            view.submit(ME, CREATE)


def test_many_rows_come_in_several_answers(tmp_path, clock, monkeypatch):
    from colearn.ledger import _wire

    path = filled_log(tmp_path / "filled.db", rounds=2, clock=clock)
    monkeypatch.setattr(_wire, "ROWS_BYTES", 4000)
    with served(path, clock=clock) as ready, relay(ready.url) as (outside, line):
        with HostedLedger(outside, clock=clock) as view:
            assert view.sync() == rows_in(path)
        assert line.seen.count(("GET", "/v1/rows")) > 2


# ------------------------------------------------------------------------ one signature (L6)


def test_n_writers_at_once_need_n_signatures(url, clock):
    """Another member's row between reading and sending costs no second signature (L6)."""
    count = 12
    keys = [CountingKey.named(f"writer {index}") for index in range(count)]
    barrier = Barrier(count)

    def write(key):
        with HostedLedger(url, clock=clock) as view:
            view.sync()
            barrier.wait(30)
            view.submit(key, CREATE)
            return view.head

    with ThreadPoolExecutor(count) as threads:
        heads = list(threads.map(write, keys))
    assert [key.count for key in keys] == [1] * count
    assert max(heads).height == count


def test_a_view_that_has_not_read_for_long_signs_once(url, clock):
    key = CountingKey.named("late")
    with HostedLedger(url, clock=clock) as late, HostedLedger(url, clock=clock) as busy:
        late.sync()
        Group([busy], size=3).establish().round()
        late.submit(key, CREATE)
        assert key.count == 1
        assert late.head.height == busy.head.height + 1


def test_a_first_submit_reads_first_and_signs_once(url, clock):
    key = CountingKey.named("returning")
    for number in (1, 2):
        clock.pass_s(1)
        with HostedLedger(url, clock=clock) as view:
            (created,) = view.submit(key, CREATE)
            assert created.experiment == number
    assert key.count == 2


def test_a_refused_call_is_signed_once(url, clock):
    key = CountingKey.named("refused")
    with HostedLedger(url, clock=clock) as view, pytest.raises(LedgerRejectedError):
        view.submit(key, calls.Leave(1))
    assert key.count == 1


def test_one_round_trip_is_enough_for_a_submit(line, clock):
    with HostedLedger(line.url, clock=clock) as view:
        view.sync()
        line.seen.clear()
        view.submit(ME, CREATE)
        assert line.seen == [("POST", "/v1/entries")]


# -------------------------------------------------------------------------------- lost things


@pytest.mark.parametrize("lost", ["lose", "swallow"])
def test_a_lost_answer_is_asked_for_again_with_the_same_bytes(line, clock, path, lost):
    key = CountingKey.named("patient")
    with HostedLedger(line.url, clock=clock) as view:
        setattr(line, lost, 2)
        (created,) = view.submit(key, CREATE)
        assert created.experiment == 1
        assert key.count == 1
        assert len(set(line.bodies)) == 1
        assert len(line.bodies) == 3
    assert rows_in(path) == 1


def test_when_every_answer_is_lost_nobody_knows_and_trying_again_is_safe(line, clock, path):
    with HostedLedger(line.url, clock=clock) as view:
        line.lose = 3
        with pytest.raises(LedgerUnavailableError):
            view.submit(ME, CREATE)
        assert rows_in(path) == 1
        clock.pass_s(2)
        # The same call again, signed anew: it is on the ledger already, once.
        (created,) = view.submit(ME, CREATE)
        assert (created.experiment, created.creator) == (1, ME.address)
        assert rows_in(path) == 1
        (created,) = view.submit(ME, CREATE)
        assert created.experiment == 2


def test_after_a_lost_answer_another_call_takes_the_next_place(line, clock, path):
    with HostedLedger(line.url, clock=clock) as view:
        line.lose = 3
        with pytest.raises(LedgerUnavailableError):
            view.submit(ME, CREATE)
        clock.pass_s(2)
        (created,) = view.submit(ME, replace(CREATE, uri="another"))
        assert (created.experiment, created.uri) == (2, "another")
        assert [view.experiment(number).creator for number in (1, 2)] == [ME.address] * 2
    assert rows_in(path) == 2


def test_an_entry_that_never_arrived_is_simply_sent_again(line, clock, path):
    with HostedLedger(line.url, clock=clock) as view:
        line.swallow = 3
        with pytest.raises(LedgerUnavailableError):
            view.submit(ME, CREATE)
        assert rows_in(path) == 0
        assert view.sync() == 0
        view.submit(ME, CREATE)
    assert rows_in(path) == 1


def test_two_processes_may_use_one_key(url, clock, path):
    with HostedLedger(url, clock=clock) as first, HostedLedger(url, clock=clock) as second:
        for index in range(4):
            view = (first, second)[index % 2]
            (created,) = view.submit(ME, replace(CREATE, uri=f"{index}"))
            assert created.uri == f"{index}"
    assert rows_in(path) == 4


def test_listeners_hear_an_entry_once_though_its_answer_was_lost(line, clock):
    heard = []
    with HostedLedger(line.url, clock=clock) as view:
        view.listen(heard.append)
        line.lose = 1
        view.submit(ME, CREATE)
        line.lose = 3
        with pytest.raises(LedgerUnavailableError):
            view.submit(ME, CREATE)
        view.sync()
    assert [each.height for each in heard] == [1, 2]


# ------------------------------------------------------------------------------------ clocks


def test_a_clock_within_the_drift_is_good_enough(url, clock):
    for shift in (-DRIFT_S, DRIFT_S):
        with HostedLedger(url, clock=lambda shift=shift: clock() + shift) as view:
            view.submit(ME, CREATE)
            assert view.head.height > 0


@pytest.mark.parametrize("shift", [-100, 100])
def test_a_clock_far_away_is_refused_and_says_so(url, clock, shift):
    with HostedLedger(url, clock=lambda: clock() + shift) as view:
        with pytest.raises(LedgerRejectedError, match="clock") as caught:
            view.submit(ME, CREATE)
        assert "differ by more than 5 s" in caught.value.reason
        assert "clock" in caught.value.hint


def test_an_entry_that_was_too_long_under_way_is_signed_anew(url, clock):
    """Only an entry whose time has passed, so that it can never be a row, is signed again."""
    key = CountingKey.named("slow")
    times = iter([START])
    clock.pass_s(60)
    with HostedLedger(url, clock=lambda: next(times, START + 60)) as view:
        view.sync()
        view.submit(key, CREATE)
    assert key.count == 2


def test_rows_ahead_of_the_own_clock_are_held(url, clock):
    behind = SetClock(START - 60)
    with HostedLedger(url, clock=clock) as other, HostedLedger(url, clock=behind) as view:
        other.submit(OTHER, CREATE)
        assert view.sync() == 0
        assert view.held
        with pytest.raises(LedgerUnavailableError, match="future"):
            view.submit(ME, CREATE)
        assert view.wait(0.3) is False
        behind.pass_s(60)
        assert view.wait(30) is True
        assert view.head == other.head


# --------------------------------------------------------------------------------- cut logs


def test_a_client_puts_back_what_the_log_has_lost_before_anything_else(path, clock):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        group = Group([view], size=3).establish()
        for _ in range(2):
            clock.pass_s(10)
            group.round()
        head = view.head
    shorten(path, 4)
    clock.pass_s(100)
    with view, served(path, clock=clock, port=port_of(view.url)) as ready:
        assert view.sync() == 0
        assert view.head == head
        assert rows_in(path) == head.height
        with HostedLedger(ready.url, clock=clock) as other:
            other.sync()
            assert other.head == head
            group.round()


def test_a_submit_to_a_log_that_was_cut_puts_back_first_and_signs_once(path, clock):
    key = CountingKey.named("me")
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        for _ in range(4):
            view.submit(key, CREATE)
    shorten(path, 2)
    with view, served(path, clock=clock, port=port_of(view.url)):
        (created,) = view.submit(key, CREATE)
        assert created.experiment == 5
    assert key.count == 5
    assert rows_in(path) == 5


def test_who_waits_on_a_log_that_was_cut_puts_back_at_once(path, clock):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        view.submit(ME, CREATE)
    shorten(path, 0)
    with view, served(path, clock=clock, port=port_of(view.url)):
        assert view.wait(0.2) is False
        assert rows_in(path) == 1


def test_several_clients_put_back_each_what_it_holds(path, clock):
    with served(path, clock=clock) as ready:
        views = [HostedLedger(ready.url, clock=clock) for _ in range(3)]
        for index, view in enumerate(views):
            view.sync()
            view.submit(Key.from_seed(index, "member"), CREATE)
        heads = [view.head.height for view in views]
    assert heads == [1, 2, 3]
    shorten(path, 0)
    with served(path, clock=clock, port=port_of(views[0].url)):
        for view in (views[1], views[0], views[2]):
            view.sync()
        assert rows_in(path) == 3
        for view in views:
            view.sync()
            assert view.head == views[2].head
            view.close()


def test_a_log_that_was_cut_and_went_on_otherwise_is_named_and_nothing_more_is_signed(path, clock):
    key = CountingKey.named("me")
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        for _ in range(3):
            view.submit(key, CREATE)
    shorten(path, 1)
    with EmbeddedLedger(path, clock=clock) as other:
        for _ in range(2):
            other.submit(OTHER, CREATE)
        theirs = other.head
    with view, served(path, clock=clock, port=port_of(view.url)):
        with pytest.raises(LedgerTamperedError) as caught:
            view.sync()
        assert caught.value.entry == 3
        assert view.head.digest in str(caught.value)
        assert theirs.digest in str(caught.value)
        with pytest.raises(LedgerTamperedError):
            view.submit(key, CREATE)
    assert key.count == 3
    assert rows_in(path) == 3


def test_a_shorter_log_of_another_line_is_named_and_nothing_is_put_back(path, clock):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        for _ in range(3):
            view.submit(ME, CREATE)
    shorten(path, 1)
    with EmbeddedLedger(path, clock=clock) as other:
        other.submit(OTHER, CREATE)
        theirs = other.head
    with view, served(path, clock=clock, port=port_of(view.url)):
        with pytest.raises(LedgerTamperedError, match=theirs.digest) as caught:
            view.sync()
        assert caught.value.entry == 2
    assert rows_in(path) == 2


def test_a_server_that_takes_nothing_back_has_lost_rows_and_is_named(path, clock):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        for _ in range(3):
            view.submit(ME, CREATE)
        lost = view.replica.heads[2]
    shorten(path, 1)
    with view, served(path, clock=clock, port=port_of(view.url), put_back_s=0.0):
        with pytest.raises(LedgerTamperedError, match=lost) as caught:
            view.sync()
        assert caught.value.entry == 2
        assert "only after a start" in str(caught.value.__cause__)


def test_rows_are_put_back_in_several_requests(path, clock, monkeypatch):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        for _ in range(9):
            view.submit(ME, CREATE)
    shorten(path, 0)
    monkeypatch.setattr(hosted, "_BATCH_BYTES", 2500)
    with view, served(path, clock=clock) as ready, relay(ready.url) as (outside, line):
        view._exchange.url = outside
        assert view.sync() == 0
        assert line.seen.count(("POST", "/v1/rows")) > 2
    assert rows_in(path) == 9


def test_a_log_that_was_swapped_for_another_is_named(path, tmp_path, clock):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        fresh = HostedLedger(ready.url, clock=clock)
        view.submit(ME, CREATE)
    other = make_log(tmp_path / "other.db")
    with view, fresh, served(other, clock=clock, port=port_of(view.url)):
        for each in (view, fresh):
            with pytest.raises(LedgerTamperedError) as caught:
                each.sync()
            assert caught.value.entry == 0


def test_two_tails_are_named_at_the_first_exchanged_head(path, tmp_path, clock):
    """L7: a host shows two members two histories; the first head one tells the other names it."""
    with EmbeddedLedger(path, clock=clock) as view:
        group = Group([view]).establish()
        common = view.head
    twin = tmp_path / "twin.db"
    shutil.copy(path, twin)
    with (
        served(path, clock=clock) as one,
        served(twin, clock=clock) as two,
        HostedLedger(one.url, clock=clock) as a,
        HostedLedger(two.url, clock=clock) as b,
    ):
        a.sync()
        b.sync()
        assert a.check_head(b.head)
        for view, key in ((a, group.keys[1]), (b, group.keys[2])):
            view.submit(key, calls.Motion(1, 0, 3, "0x" + "00" * 20))
        # Each alone sees nothing wrong.
        assert (a.sync(), b.sync()) == (0, 0)
        for view, other in ((a, b), (b, a)):
            with pytest.raises(LedgerTamperedError) as caught:
                view.check_head(other.head)
            assert caught.value.entry == common.height + 1
            assert a.head.digest in str(caught.value)
            assert b.head.digest in str(caught.value)


# ------------------------------------------------------------------------------ busy servers


def test_a_server_that_does_not_wait_is_not_asked_without_a_pause(path, clock, monkeypatch):
    monkeypatch.setattr(serving, "_WAITERS_MAX", 0)
    with served(path, clock=clock) as ready, relay(ready.url) as (outside, line):
        with HostedLedger(outside, clock=clock) as view:
            assert view.wait(0.7) is False
        assert line.seen.count(("GET", "/v1/rows")) <= 8


def test_a_server_that_was_away_for_a_moment_is_asked_again(path, clock):
    with served(path, clock=clock) as ready:
        view = HostedLedger(ready.url, clock=clock)
        view.submit(ME, CREATE)
    with view:
        with pytest.raises(LedgerUnavailableError):
            view.sync()
        with pytest.raises(LedgerUnavailableError):
            view.submit(ME, CREATE)
        with served(path, clock=clock, port=port_of(view.url)):
            assert view.sync() == 0
            (created,) = view.submit(ME, CREATE)
            assert created.experiment == 2


def test_a_conflict_that_reading_does_not_explain_is_an_error(line, clock):
    """Two entries of one key at once: the second is signed again, and never twice for one."""
    with HostedLedger(line.url, clock=clock) as view, HostedLedger(line.url, clock=clock) as other:
        view.sync()
        other.submit(ME, replace(CREATE, uri="faster"))
        (created,) = view.submit(ME, replace(CREATE, uri="slower"))
        assert created.uri == "slower"
        assert view.head.height == 2
    assert issubclass(LedgerConflictError, ColearnError)


# ---------------------------------------------------------------------------- TLS and proxies


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private authority with a certificate for a server: three files in a folder."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt install openssl")
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}",
        )  # fmt: skip
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=ledger.example",
    )  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:ledger.example\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
        "-out", "server.pem", "-extfile", "names", "-CAcreateserial",
    )  # fmt: skip
    return folder


@pytest.fixture
def secured(path, clock, authority):
    files = {"certfile": authority / "server.pem", "keyfile": authority / "server.key"}
    with served(path, clock=clock, **files) as ready:
        yield ready


def test_https_with_a_private_authority(secured, clock, authority):
    assert secured.url.startswith("https://127.0.0.1:")
    with HostedLedger(secured.url, clock=clock, ca_file=authority / "ca.pem") as view:
        view.submit(ME, CREATE)
        assert view.head.height == 1


def test_a_certificate_of_another_authority_is_refused(secured, authority):
    for ca_file in (authority / "other.pem", None):
        with pytest.raises(LedgerUnavailableError, match="certificate"):
            HostedLedger(secured.url, ca_file=ca_file)


def test_an_authority_that_is_none_is_named(secured, tmp_path):
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("nonsense")
    for ca_file in (nonsense, tmp_path / "no.pem"):
        with pytest.raises(ConfigError, match=ca_file.name):
            HostedLedger(secured.url, ca_file=ca_file)


def test_http_to_an_https_server_is_unavailable(secured):
    with pytest.raises(LedgerUnavailableError):
        HostedLedger(secured.url.replace("https", "http"), timeout_s=5)


def test_https_goes_through_the_proxy_of_the_environment(secured, clock, authority, monkeypatch):
    with tunnel(port_of(secured.url)) as (proxy, names):
        for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        url = "https://ledger.example:8463"
        with HostedLedger(url, clock=clock, ca_file=authority / "ca.pem") as view:
            view.submit(ME, CREATE)
        assert set(names) == {"ledger.example:8463"}


def test_the_own_loopback_is_asked_without_a_proxy(url, clock, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with HostedLedger(url, clock=clock) as view:
        assert view.sync() == 0


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1")
    with pytest.raises(ConfigError, match="proxy"):
        HostedLedger("https://ledger.example")
