"""Attacks by the host of a log: whatever it answers, a client ends with an error it can name.

Every question ends in bounded time and memory, and nothing that is not valid is taken in (7.9).
"""

import gzip
import itertools
import json
import os
import random
from dataclasses import replace

import pytest
from tests.hosts import Liar, http_answer, lying, speaking
from tests.logs import CREATE, ME, START, SetClock, digest, filled_log

from colearn.core import Row, calls, encode_call
from colearn.core.chain import Entry, head_after
from colearn.errors import (
    ColearnError,
    LedgerRejectedError,
    LedgerTamperedError,
    LedgerUnavailableError,
)
from colearn.identity import Key
from colearn.ledger import EmbeddedLedger, Head, _exchange
from colearn.ledger.hosted import HostedLedger
from colearn.ledger.log import StoredRow

SEED = int(os.environ.get("COLEARN_SEED", "1"))
TIMEOUT_S = 0.5
LATER = START + 1000


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return filled_log(tmp_path_factory.mktemp("log") / "ledger.db", rounds=2, clock=SetClock())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(_exchange, "_PAUSES_S", (0.0, 0.0))


@pytest.fixture
def liar(original):
    """A host that has the log of a real group, and no key."""
    with EmbeddedLedger(original, clock=lambda: LATER) as view:
        view.sync()
        return Liar(view, LATER)


@pytest.fixture
def url(liar):
    with lying(liar) as url:
        yield url


@pytest.fixture
def view(url):
    with HostedLedger(url, clock=lambda: LATER, timeout_s=TIMEOUT_S * 10) as view:
        yield view


# ------------------------------------------------------------------- answers that are no HTTP


def says(data):
    return lambda line, stopped: line.sendall(data)


def endlessly(head, chunk, pause_s=0.0):
    """An answer that goes on until the server stops."""

    def speech(line, stopped):
        line.sendall(head)
        while not stopped.wait(pause_s):
            line.sendall(chunk)

    return speech


OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"content-type: application/json\r\n"
SPEECHES = {
    "nothing": says(b""),
    "garbage": says(os.urandom(500)),
    "zeros": says(bytes(5000)),
    "another protocol": says(b"220 mail.example ESMTP\r\n"),
    "half a status": says(b"HTTP/1."),
    "a status that is none": says(b"HTTP/1.1 9999 x\r\n\r\n"),
    "only a status": says(OK),
    "no body": says(OK + b"content-length: 100\r\n\r\nshort"),
    "a negative length": says(OK + b"content-length: -1\r\n\r\n"),
    "two lengths": says(OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
    "a length of petabytes": endlessly(
        OK + b"content-length: 9999999999999999\r\n\r\n", bytes(10**5)
    ),
    "an endless body": endlessly(OK + b"connection: close\r\n\r\n", b"[" * 10**5),
    "endless chunks": endlessly(
        OK + b"transfer-encoding: chunked\r\n\r\n", b"ffff\r\n" + bytes(0xFFFF) + b"\r\n"
    ),
    "chunks that are none": says(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
    "a body that drips": endlessly(OK + b"content-length: 100000\r\n\r\n", b" ", 0.05),
    "headers that drip": endlessly(OK, b"x", 0.05),
    "headers without end": endlessly(OK, b"x-a: b\r\n"),
    "one header without end": endlessly(OK + b"x: ", b"a" * 10**4),
    "continue without end": endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": lambda line, stopped: stopped.wait(),
    "a switch of protocols": says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
    "no content": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a redirection": says(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
    ),
    "a redirection to a file": says(
        b"HTTP/1.1 301 x\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n"
    ),
    "please log in": says(http_answer(b"{}", 401, 'www-authenticate: Basic realm="x"\r\n')),
    "not found": says(http_answer(b"<html>", 404)),
    "too many requests": says(http_answer(b"{}", 429, "retry-after: 100000\r\n")),
    "a failure": says(http_answer(b"{}", 500)),
    "unavailable": says(http_answer(b"{}", 503, "retry-after: 100000\r\n")),
    "html": says(http_answer(b"<html>not a ledger</html>")),
    "no text": says(http_answer(b"\xff\xfe\xfd")),
    "nothing as JSON": says(http_answer(b"")),
    "deep JSON": says(http_answer(b"[" * 10**6)),
    "deep objects": says(http_answer(b'{"a":' * 10**5)),
    "a long number": says(http_answer(b"1" * 10**6)),
    "many lists": says(http_answer(b"[" + b"[]," * 10**6 + b"[]]")),
    "not a number": says(http_answer(b"NaN")),
    "a compressed bomb": says(
        http_answer(gzip.compress(bytes(10**8)), headers="content-encoding: gzip\r\n")
    ),
    "an unknown compression": says(http_answer(b"{}", headers="content-encoding: x\r\n")),
    "headers that are no text": says(OK + b"x: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}"),
    "a header with a line break": says(OK + b"x: a\n b\ncontent-length: 2\n\n{}"),
}


@pytest.mark.parametrize("speech", SPEECHES.values(), ids=SPEECHES)
def test_a_server_that_speaks_no_ledger_is_unavailable(speech):
    with speaking(speech) as url, pytest.raises(LedgerUnavailableError) as caught:
        HostedLedger(url, timeout_s=TIMEOUT_S)
    assert url in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("speech", SPEECHES.values(), ids=SPEECHES)
def test_a_server_that_turns_bad_is_unavailable_and_the_view_stays_as_it_was(liar, view, speech):
    view.sync()
    head, heard = view.head, []
    view.listen(heard.append)
    with speaking(speech) as url:
        view._exchange.url = url
        view._exchange._timeout_s = TIMEOUT_S
        for use in (view.sync, lambda: view.submit(ME, CREATE), lambda: view.wait(0.1)):
            with pytest.raises(LedgerUnavailableError):
                use()
    assert (view.head, heard) == (head, [])


@pytest.mark.parametrize(
    ("speech", "said"),
    [
        ("an endless body", "more than 4194304 bytes"),
        ("endless chunks", "more than 4194304 bytes"),
        ("many lists", "nonsense"),
        ("a compressed bomb", "compressed"),
        ("silence", "in time"),
        ("a body that drips", "in time"),
        ("headers that drip", "in time"),
        ("not found", "404"),
        ("a failure", "500"),
        ("nothing", "Disconnected|disconnected"),
    ],
)
def test_the_error_says_what_was_wrong(speech, said):
    with (
        speaking(SPEECHES[speech]) as url,
        pytest.raises(LedgerUnavailableError, match=said),
    ):
        HostedLedger(url, timeout_s=2 if "endless" in speech else TIMEOUT_S)


def test_answers_are_tried_again_only_a_few_times():
    counted = itertools.count()
    with (
        speaking(lambda line, stopped: next(counted)) as url,
        pytest.raises(LedgerUnavailableError),
    ):
        HostedLedger(url, timeout_s=10)
    assert next(counted) == 3


def test_a_redirection_is_not_followed(liar):
    visited = []

    def speech(line, stopped):
        visited.append(line)
        line.sendall(http_answer(b"", 307, f"location: {url}/v1/genesis\r\n"))

    with speaking(speech) as url, pytest.raises(LedgerUnavailableError, match="307"):
        HostedLedger(url, timeout_s=TIMEOUT_S)
    assert len(visited) == 1


def test_cookies_are_not_kept(liar, url, view):
    cookie = "".join(f"set-cookie: a{index}={'x' * 100}\r\n" for index in range(50))
    honest = liar.page({"from": ["1"]})
    liar.say["/v1/rows"] = http_answer(json.dumps(honest).encode(), headers=cookie)
    view.sync()
    assert len(view._exchange._client.cookies.jar) == 0


# ------------------------------------------------------------------- documents of other forms

WRONG = [
    None,
    True,
    -1,
    2**63,
    10**4000,
    1.5,
    "",
    "x",
    "00",
    [],
    {},
    [[]],
    "00" * 31,
    "AB" * 32,
    "é",
]


@pytest.mark.parametrize("field", ["from", "height", "head", "base", "rows"])
def test_pages_with_fields_of_other_kinds_are_nonsense(liar, view, field):
    for value in WRONG:
        liar.say["/v1/rows"] = lambda honest, value=value: {**honest, field: value}
        if field == "rows" and value == []:
            continue
        with pytest.raises(LedgerUnavailableError):
            view.sync()
        assert view.head.height == 0
    liar.say.clear()
    assert view.sync() == len(liar.rows)


@pytest.mark.parametrize("field", ["entry", "signature", "stamp", "head"])
def test_rows_with_fields_of_other_kinds_are_nonsense(liar, view, field):
    for value in WRONG:

        def spoiled(honest, value=value):
            rows = [dict(row) for row in honest["rows"]]
            rows[1][field] = value
            return {**honest, "rows": rows}

        liar.say["/v1/rows"] = spoiled
        with pytest.raises(LedgerUnavailableError):
            view.sync()
        assert view.head.height == 0


@pytest.mark.parametrize(
    "document", [None, [], 7, "x", {}, {"from": 1}, {"rows": []}, {"a": 1}, [{"from": 1}]]
)
def test_documents_that_are_no_page_are_nonsense(liar, view, document):
    liar.say["/v1/rows"] = http_answer(json.dumps(document).encode())
    with pytest.raises(LedgerUnavailableError, match="nonsense"):
        view.sync()


def test_a_page_with_more_fields_or_more_rows_than_the_log_has_is_nonsense(liar, view):
    for change in (
        lambda honest: {**honest, "more": 1},
        lambda honest: {**honest, "rows": honest["rows"] * 2},
        lambda honest: {**honest, "height": 1},
        lambda honest: {**honest, "from": 2},
        lambda honest: {**honest, "base": None},
        lambda honest: {**honest, "rows": honest["rows"] * 100},
    ):
        liar.say["/v1/rows"] = change
        with pytest.raises(LedgerUnavailableError, match="nonsense"):
            view.sync()
        assert view.head.height == 0


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"height": 1},
        {"height": "1", "stamp": 1, "page": None},
        {"height": 1, "stamp": 1, "page": None},
        {"height": -1, "stamp": 1, "page": {}},
    ],
)
def test_places_that_are_none_are_nonsense(liar, view, document):
    view.sync()
    liar.say["/v1/entries"] = http_answer(json.dumps(document).encode())
    with pytest.raises(LedgerUnavailableError, match="nonsense"):
        view.submit(ME, CREATE)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"error": "refused"},
        {"error": "refused", "condition": "rules", "reason": "because I say so"},
        {"error": "refused", "condition": "rules", "reason": 7},
        {"error": "refused", "condition": "weather", "reason": "not running"},
        {"error": "refused", "condition": "nonce", "reason": "\x1b[2Jcleared"},
        {"error": "refused", "condition": "nonce", "reason": "x" * 10**5},
        {"error": "refused", "condition": ["rules"], "reason": "not running"},
    ],
)
def test_refusals_for_no_reason_of_the_rules_are_nonsense(liar, view, document):
    view.sync()
    liar.say["/v1/entries"] = http_answer(json.dumps(document).encode(), 409)
    with pytest.raises(LedgerUnavailableError, match="nonsense"):
        view.submit(ME, CREATE)


@pytest.mark.parametrize(
    "genesis", [b"", b"{}", b"[]", b"null", b"x" * 10**5, b"[" * 10**5, b"NaN"]
)
def test_a_genesis_that_is_none_is_no_ledger(liar, url, genesis):
    liar.say["/v1/genesis"] = genesis
    with pytest.raises(LedgerUnavailableError, match="nonsense"):
        HostedLedger(url)


def test_a_genesis_of_another_version_is_no_ledger(liar, url):
    for other in (replace(liar.genesis, rules_version=2), replace(liar.genesis, format="other")):
        liar.say["/v1/genesis"] = other.encode()
        with pytest.raises(LedgerUnavailableError, match="nonsense"):
            HostedLedger(url)


def test_a_host_with_another_log_than_the_pinned_one_is_named_before_anything_is_read(liar, url):
    expected = liar.genesis.digest
    liar.say["/v1/genesis"] = replace(liar.genesis, salt="00" * 32).encode()
    with pytest.raises(LedgerTamperedError, match=expected):
        HostedLedger(url, expected_genesis=expected)
    assert [path for _, path, _ in liar.asked] == ["/v1/genesis"]


# ------------------------------------------------------------------------- rows that are false


def test_any_flipped_digit_of_any_row_is_named_with_its_row(liar, view):
    chance = random.Random(SEED)
    for _ in range(60):
        index = chance.randrange(view.head.height, len(liar.rows))
        field = chance.choice(["entry", "signature", "head"])

        def flipped(honest, index=index, field=field):
            rows = [dict(row) for row in honest["rows"]]
            row = rows[index - honest["from"] + 1]
            text, at = row[field], chance.randrange(len(row[field]))
            digit = chance.choice([d for d in "0123456789abcdef" if d != text[at]])
            row[field] = text[:at] + digit + text[at + 1 :]
            return {**honest, "rows": rows}

        liar.say["/v1/rows"] = flipped
        with HostedLedger(view.url, clock=lambda: LATER) as fresh:
            with pytest.raises((LedgerTamperedError, LedgerUnavailableError)) as caught:
                fresh.sync()
            # It is no entry by its form, so nothing of the answer is taken; or it is, and is named.
            if caught.type is LedgerUnavailableError:
                assert "nonsense" in str(caught.value)
                assert fresh.head.height == 0
            else:
                assert (caught.value.entry, fresh.head.height) == (index + 1, index)


def rehead(liar):
    head = liar.genesis.digest
    liar.heads = [head]
    for index, (row, _) in enumerate(liar.rows):
        head = head_after(head, row)
        liar.rows[index] = StoredRow(row, head)
        liar.heads.append(head)


def test_stamps_that_are_moved_by_more_than_the_drift_are_named(liar, view):
    row = liar.rows[-1].row
    liar.rows[-1] = StoredRow(replace(row, stamp=row.stamp + 6), "")
    rehead(liar)
    with pytest.raises(LedgerTamperedError, match="clock") as caught:
        view.sync()
    assert caught.value.entry == len(liar.rows)


def test_dropped_and_swapped_rows_are_named(liar, url):
    whole = list(liar.rows)
    for index in range(len(whole) - 2):
        for rows in (
            whole[:index] + whole[index + 1 :],
            [*whole[:index], whole[index + 1], whole[index], *whole[index + 2 :]],
            [*whole[: index + 1], *whole[index:]],
        ):
            liar.rows = list(rows)
            rehead(liar)
            with HostedLedger(url, clock=lambda: LATER) as fresh:
                with pytest.raises(LedgerTamperedError):
                    fresh.sync()
                assert fresh.head.height in (index, index + 1)


def test_a_row_from_the_far_future_is_held_with_all_above_it(liar, view):
    """With a member's help a host can stop a log so; it cannot make anybody condemn it."""
    outsider = Key.from_seed(9, "outsider")
    entry = Entry(0, len(liar.rows), liar.heads[-1], LATER + 10**6, encode_call(CREATE))
    signature = outsider.sign(entry.digest(liar.genesis.separator))
    liar.rows.append(StoredRow(Row(entry, signature, LATER + 10**6), ""))
    rehead(liar)
    assert view.sync() == len(liar.rows) - 1
    assert view.held
    assert view.wait(0.2) is False
    with pytest.raises(LedgerUnavailableError, match="future"):
        view.submit(ME, CREATE)


# --------------------------------------------------------------------- a host that goes back


def test_a_host_that_goes_on_from_another_row_is_named_with_both_heads(liar, view):
    view.sync()
    mine = view.head
    other = digest("another line")
    liar.say["/v1/rows"] = lambda honest: {**honest, "base": other, "head": other}
    with pytest.raises(LedgerTamperedError, match=mine.digest) as caught:
        view.sync()
    assert other in str(caught.value)
    assert caught.value.entry == mine.height
    liar.say.clear()
    liar.asked.clear()
    # It stops for good: nothing more is signed or even asked.
    for use in (view.sync, lambda: view.submit(ME, CREATE), lambda: view.wait(1)):
        with pytest.raises(LedgerTamperedError):
            use()
    assert liar.asked == []


def test_a_host_that_forgets_rows_and_takes_none_back_is_named(liar, view):
    view.sync()
    lost = view.replica.heads[5]
    liar.cut(4)
    for answer in (
        {"error": "refused", "condition": "conflict", "reason": "another row"},
        http_answer(b"{}"),
    ):
        liar.say["POST", "/v1/rows"] = answer
        view._evidence = None
        with pytest.raises(LedgerTamperedError):
            view.sync()
    liar.say["POST", "/v1/rows"] = {"error": "refused", "condition": "place", "reason": "late"}
    view._evidence = None
    with pytest.raises(LedgerTamperedError, match=lost) as caught:
        view.sync()
    assert caught.value.entry == 5


def test_a_host_that_has_forgotten_everything_is_given_it_once_a_question(liar, view):
    view.sync()
    liar.cut(0)
    liar.asked.clear()
    liar.say["POST", "/v1/rows"] = http_answer(b"{}")
    with pytest.raises(LedgerTamperedError):
        view.sync()
    assert [method for method, *_ in liar.asked] == ["GET", "POST", "GET"]


# ------------------------------------------------------------------------ a host that withholds


def test_a_host_that_says_it_has_rows_and_does_not_show_them_is_told_so(liar, view):
    liar.say["/v1/rows"] = lambda honest: {
        **honest,
        "rows": honest["rows"][: max(0, 4 - honest["from"])],
    }
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match="does not show row 4"):
            view.sync()
        assert view.head.height == 3


def test_a_host_that_hides_rows_is_seen_by_who_hears_a_peers_head(liar, view):
    """Nobody can tell it from silence alone; a peer's head is known or it is not (7.9)."""
    peer = (len(liar.rows), liar.heads[-1])
    liar.cut(6)
    assert view.sync() == 6
    assert view.check_head(Head(*peer)) is False
    assert view.sync() == 0
    assert view.check_head(Head(6, liar.heads[6])) is True


def test_a_host_that_says_an_entry_is_in_and_does_not_show_it_is_named(liar, view):
    view.sync()
    height = len(liar.rows)

    def place(at):
        page = liar.page({"from": [str(height + 1)]})
        return {"height": at, "stamp": LATER, "page": page}

    for at, error in (
        (height, LedgerTamperedError),
        (3, LedgerTamperedError),
        (0, LedgerTamperedError),
    ):
        liar.say["/v1/entries"] = place(at)
        view._evidence = None
        with pytest.raises(error, match="something else there"):
            view.submit(ME, CREATE)
    liar.say["/v1/entries"] = place(height + 1)
    view._evidence = None
    with pytest.raises(LedgerTamperedError):
        view.submit(ME, CREATE)
    assert view.head.height == height


def test_a_host_that_shows_somebody_elses_row_as_ones_own_is_named(liar, view):
    view.sync()
    height = len(liar.rows)
    # The second is another entry of the same key, as another process with it may have sent.
    for key in (Key.from_seed(9, "outsider"), ME):
        entry = Entry(
            0, height, liar.heads[height], LATER, encode_call(replace(CREATE, uri="other"))
        )
        liar.cut(height)
        liar.append(entry, key.sign(entry.digest(liar.genesis.separator)))
        page = liar.page({"from": [str(height + 1)]})
        liar.say["/v1/entries"] = {"height": height + 1, "stamp": LATER, "page": page}
        with HostedLedger(view.url, clock=lambda: LATER) as fresh:
            liar.cut(height)
            fresh.sync()
            with pytest.raises(LedgerTamperedError, match="something else there") as caught:
                fresh.submit(ME, CREATE)
            assert caught.value.entry == height + 1


@pytest.mark.parametrize("field", ["height", "stamp"])
def test_a_host_that_names_another_place_than_it_shows_is_named(liar, view, field):
    view.submit(ME, CREATE)
    liar.say["/v1/entries"] = lambda honest: {**honest, field: honest[field] - 1}
    with pytest.raises(LedgerTamperedError, match="something else there"):
        view.submit(ME, CREATE)


def test_a_host_may_refuse_and_that_is_all_it_may(liar, view):
    """7.10: it can refuse or delay entries."""
    liar.say["/v1/entries"] = {"error": "refused", "condition": "rules", "reason": "not running"}
    with pytest.raises(LedgerRejectedError) as caught:
        view.submit(ME, calls.Leave(1))
    assert caught.value.reason == "not running"


@pytest.mark.parametrize(
    "condition", ["nonce", "anchor", "clock", "conflict", "signature", "place"]
)
def test_a_host_that_refuses_for_ever_is_asked_a_few_times_and_gets_one_signature(
    liar, view, condition
):
    view.sync()
    sent = []
    liar.asked.clear()
    liar.say["/v1/entries"] = {"error": "refused", "condition": condition, "reason": "no"}
    with pytest.raises(ColearnError):
        view.submit(ME, CREATE)
    sent = [path for method, path, _ in liar.asked if method == "POST"]
    assert 1 <= len(sent) <= 3
    assert view.head.height == len(liar.rows)
