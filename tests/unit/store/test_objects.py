"""A store in a bucket, against servers that lie, echo, break off or say nothing."""

import hashlib
import subprocess
import sys
import traceback
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from tests.s3 import KEY, SECRET, credentials, environment, free_port, require_obstore

from colearn.errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    ConfigError,
    DigestMismatchError,
    PeerTimeoutError,
    PeerUnreachableError,
    StoreError,
)
from colearn.store import DirectoryStore, HoldingStore

BLOB = b"some weights" * 1000
DIGEST = hashlib.sha256(BLOB).hexdigest()
TOKEN = "a.session.token/that+no=error-may-show"


@pytest.fixture(autouse=True)
def _obstore():
    require_obstore()


def object_store(url="s3://bucket/folder", **settings):
    from colearn.store.objects import ObjectStore

    return ObjectStore(url, **settings)


class Request:
    """One request, and the means to answer it."""

    def __init__(self, handler, body):
        self.handler, self.body = handler, body
        self.method, self.path, self.headers = handler.command, handler.path, handler.headers

    @property
    def first(self):
        """The first byte that is asked for."""
        asked = self.headers.get("range")
        return int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0

    def say(self, status, body=b"", *, length=None, **headers):
        self.handler.send_response(status)
        headers = {
            "content-length": len(body) if length is None else length,
            "last-modified": "Tue, 24 Nov 2026 14:31:13 GMT",
            "etag": '"x"',
            **headers,
        }
        for name, value in headers.items():
            if value is not None:
                self.handler.send_header(name, str(value))
        self.handler.end_headers()
        if self.method != "HEAD":
            self.handler.wfile.write(body)

    def give(self, blob):
        """The blob from the byte that is asked for."""
        if self.first:
            where = f"bytes {self.first}-{len(blob) - 1}/{len(blob)}"
            self.say(206, blob[self.first :], **{"content-range": where})
        else:
            self.say(200, blob)

    def hang_up(self):
        self.handler.close_connection = True


@contextmanager
def server(answer):
    """An object store that answers as `answer` does; yields its address and what it was asked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_store(self):
            request = Request(self, self.rfile.read(int(self.headers.get("content-length") or 0)))
            seen.append(request)
            with suppress(OSError):
                answer(request)

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self.handle_store
            raise AttributeError(name)

        def log_message(self, *arguments):
            pass

    class Listening(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments):
            pass

    listening = Listening(("127.0.0.1", 0), Handler)
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", seen
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(10)


@contextmanager
def store_on(answer, **settings):
    settings = {"timeout_s": 5, "retries": 1, **settings}
    with server(answer) as (endpoint, seen):
        with credentials():
            store = object_store(endpoint=endpoint, allow_http=True, **settings)
        yield store, seen


# Where it is


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hunter2@bucket/folder",
        "s3://bucket/folder?secret=hunter2",
        "s3://bucket/folder#hunter2",
        "s3://bucket/../hunter2",
        "s3://bucket/a/./hunter2",
        "s3://bucket//hunter2",
        "s3://bucket/hunter2\n",
        "s3://bucket/hunter2\0",
        "https://bucket.s3.amazonaws.com/hunter2",
        "file:///hunter2",
        "memory://hunter2",
        "S3://hunter2",
        "s3:///hunter2",
        "s3://BUCKET/hunter2",
        "s3://" + "b" * 300 + "/hunter2",
        "hunter2",
        "",
        None,
        7,
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="s3://bucket/folder") as caught:
        object_store(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "environment" in caught.value.hint


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a/b.c=d", "gs://bucket/a"])
def test_the_repr_is_the_address(url):
    with credentials():
        store = object_store(url)
    assert repr(store) == f"ObjectStore({url!r})"
    assert store.url == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://key:hunter2@host",
        "https://host?x=hunter2",
        "https://host#hunter2",
        "https://host:hunter2",
        "ftp://hunter2",
        "hunter2",
        "https://",
        "https://host\nhunter2",
        "",
        7,
        b"https://hunter2",
    ],
)
def test_what_is_no_endpoint_is_refused_and_not_repeated(endpoint):
    with pytest.raises(ConfigError, match="endpoint") as caught:
        object_store(endpoint=endpoint)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_an_endpoint_that_is_not_encrypted_must_be_allowed():
    with pytest.raises(ConfigError, match="allow_http=True"):
        object_store(endpoint="http://127.0.0.1:9000")


@pytest.mark.parametrize("allowed", [{}, {"allow_http": False}])
def test_an_endpoint_of_the_environment_must_be_allowed_too(allowed):
    with server(lambda request: request.give(BLOB)) as (endpoint, seen):
        variables = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        variables["AWS_ENDPOINT_URL_S3"] = endpoint
        if allowed:
            variables["AWS_ALLOW_HTTP"] = "true"
        with environment(**variables):
            store = object_store(**allowed)
        with pytest.raises(StoreError, match="not encrypted.*AWS_ALLOW_HTTP"):
            store.has(DIGEST)
    assert seen == []


def test_the_environment_may_allow_its_endpoint():
    with server(lambda request: request.give(BLOB)) as (endpoint, _):
        with environment(
            AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_ENDPOINT_URL_S3=endpoint,
            AWS_ALLOW_HTTP="true",
        ):  # fmt: skip
            store = object_store()
        assert store.get(DIGEST, len(BLOB)) == BLOB


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"timeout_s": "5"}, "timeout_s"),
        ({"allow_http": "false"}, "allow_http"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"retries": 1000}, "retries"),
        ({"url": "gs://bucket", "region": "eu-west-1"}, "region"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, what):
    with pytest.raises(ConfigError, match=what):
        object_store(**settings)


def test_arguments_win_over_the_environment():
    with server(lambda request: request.give(BLOB)) as (endpoint, seen):
        elsewhere = f"http://127.0.0.1:{free_port()}"
        with environment(
            AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_BUCKET="other",
            AWS_ENDPOINT_URL=elsewhere, AWS_ENDPOINT_URL_S3=elsewhere, AWS_REGION="eu-west-1",
        ):  # fmt: skip
            store = object_store(endpoint=endpoint, region="eu-north-1", allow_http=True)
        assert store.get(DIGEST, len(BLOB)) == BLOB
    assert seen[0].path == f"/bucket/folder/{DIGEST}"
    assert "/eu-north-1/s3/" in seen[0].headers["authorization"]


def test_the_environment_serves_where_nothing_is_said():
    with server(lambda request: request.give(BLOB)) as (endpoint, seen):
        with environment(
            AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=TOKEN,
            AWS_ENDPOINT_URL_S3=endpoint, AWS_REGION="eu-west-1",
        ):  # fmt: skip
            store = object_store(allow_http=True)
        assert store.get(DIGEST, len(BLOB)) == BLOB
    assert f"Credential={KEY}/" in seen[0].headers["authorization"]
    assert "/eu-west-1/s3/" in seen[0].headers["authorization"]
    assert seen[0].headers["x-amz-security-token"] == TOKEN


def test_an_environment_that_makes_no_sense_is_told_without_its_values():
    with (
        environment(GOOGLE_SERVICE_ACCOUNT_KEY='{"private_key": "hunter2"'),
        pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS") as caught,
    ):
        object_store("gs://bucket")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    with environment(), pytest.raises(ConfigError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        object_store("az://container")


def test_without_credentials_it_says_which_variables_to_set():
    with environment(AWS_METADATA_ENDPOINT=f"http://127.0.0.1:{free_port()}"):
        store = object_store(endpoint="https://127.0.0.1:9", timeout_s=2, retries=0)
    with pytest.raises(StoreError, match="no credentials.*AWS_ACCESS_KEY_ID"):
        store.get(DIGEST, 10)


def test_without_its_package_the_extra_is_named():
    code = """
import sys
sys.modules["obstore"] = None
import colearn.store
from colearn.errors import MissingExtraError
try:
    import colearn.store.objects
except MissingExtraError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert 'pip install "colearn[s3]"' in run.stdout


def test_the_other_stores_do_not_load_it():
    code = "import colearn.store, sys; print('obstore' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# Servers that lie


@pytest.mark.parametrize(
    "other",
    [b"", BLOB[:-1], BLOB + b"\0", b"S" + BLOB[1:]],
    ids=["none", "fewer", "more", "others"],
)
def test_other_bytes_never_come_out(other, tmp_path):
    with store_on(lambda request: request.say(200, other)) as (store, _):
        with pytest.raises(DigestMismatchError, match=DIGEST):
            store.get(DIGEST, 2 * len(BLOB))
        held = DirectoryStore(tmp_path)
        with pytest.raises(DigestMismatchError, match=DIGEST):
            HoldingStore(held, store).bring(DIGEST, 2 * len(BLOB))
        assert not list(tmp_path.iterdir())


def test_a_blob_over_the_limit_is_refused_before_it_is_read(tmp_path):
    def endless(request):
        request.say(200, length=2**50)
        while True:
            request.handler.wfile.write(bytes(2**16))

    with store_on(endless) as (store, _):
        with pytest.raises(BlobTooLargeError, match=f"may have 1000 bytes, it has {2**50}"):
            store.get(DIGEST, 1000)
        with pytest.raises(BlobTooLargeError, match="may have 1000 bytes"):
            HoldingStore(DirectoryStore(tmp_path), store).bring(DIGEST, 1000)
        assert not list(tmp_path.iterdir())


def test_an_answer_that_echoes_what_it_was_sent_shows_nothing_of_it():
    def echo(request):
        told = "".join(f"<Code>{value}</Code>" for value in request.headers.values())
        request.say(status, told.encode())

    with server(echo) as (endpoint, seen):
        with environment(
            AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=TOKEN
        ):
            store = object_store(endpoint=endpoint, allow_http=True, retries=0)
        for status in (400, 401, 403, 404, 409, 418, 500, 503):
            for call in (
                lambda: store.get(DIGEST, 10),
                lambda: store.put(b"x"),
                lambda: store.has(DIGEST),
                lambda: list(store.digests()),
            ):
                with pytest.raises(StoreError) as caught:
                    call()
                told = "".join(traceback.format_exception(caught.value))
                assert str(status) in told or "no bucket" in told
                for secret in (TOKEN, SECRET, KEY, "Signature="):
                    assert secret not in told
    assert any(TOKEN in str(request.headers) for request in seen)


def test_a_listing_gives_digests_alone():
    name = "<Contents><Key>folder/{}</Key><LastModified>2026-11-24T14:31:13.000Z</LastModified>"
    name += '<Size>5</Size><ETag>"x"</ETag></Contents>'
    names = ["README", DIGEST.upper(), "sub/" + DIGEST, DIGEST, DIGEST[:-1], DIGEST + ".bak"]
    listing = "".join(map(name.format, names))
    with store_on(
        lambda request: request.say(200, f"<ListBucketResult>{listing}</ListBucketResult>".encode())
    ) as (store, _):
        assert list(store.digests()) == [DIGEST]


@pytest.mark.parametrize("answer", [b"", b"no xml", b"<ListBucketResult>", b"\xff\xfe" * 100])
def test_a_listing_that_is_none_is_a_store_error(answer):
    with (
        store_on(lambda request: request.say(200, answer)) as (store, _),
        pytest.raises(StoreError),
    ):
        assert list(store.digests())


def test_a_server_without_sizes_is_refused():
    with store_on(lambda request: request.say(200, **{"content-length": None})) as (store, _):
        with pytest.raises(PeerUnreachableError):
            store.get(DIGEST, 10)
        with pytest.raises(PeerUnreachableError):
            store.has(DIGEST)


def test_a_server_that_sends_elsewhere_is_not_believed():
    with (
        store_on(lambda request: request.say(301)) as (store, _),
        pytest.raises(StoreError, match="elsewhere.*region"),
    ):
        store.get(DIGEST, 10)


# Servers that fail


def test_a_server_that_is_not_there_is_told():
    with credentials():
        store = object_store(endpoint=f"http://127.0.0.1:{free_port()}", allow_http=True, retries=0)
    for call in (lambda: store.put(b"x"), lambda: store.get(DIGEST, 1), lambda: store.has(DIGEST)):
        with pytest.raises(PeerUnreachableError, match="cannot be reached") as caught:
            call()
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_request_that_fails_is_sent_again_so_often_and_no_more(status):
    with store_on(lambda request: request.say(status), retries=2) as (store, seen):
        with pytest.raises(PeerUnreachableError, match=str(status)):
            store.get(DIGEST, 10)
        assert len(seen) == 3


def test_a_request_that_works_the_second_time_works():
    answers = iter([500, 200])
    with store_on(lambda request: request.say(next(answers), BLOB)) as (store, _):
        assert store.get(DIGEST, len(BLOB)) == BLOB


def test_a_silent_server_is_left():
    done = Event()
    with store_on(lambda _: done.wait(60), timeout_s=0.5) as (store, seen):
        try:
            for call in (lambda: store.put(b"x"), lambda: store.get(DIGEST, 1)):
                with pytest.raises(PeerTimeoutError, match="silent"):
                    call()
            assert len(seen) == 2
        finally:
            done.set()


def dripping(done, size):
    def answer(request):
        request.say(200, length=size)
        while not done.wait(0.02):
            request.handler.wfile.write(b"x")

    return answer


def test_a_server_that_drips_is_left():
    done = Event()
    with store_on(dripping(done, 10_000), timeout_s=0.5) as (store, _):
        try:
            with pytest.raises(PeerTimeoutError, match="too slowly"):
                store.get(DIGEST, 10_000)
        finally:
            done.set()


def test_a_blob_that_does_not_come_in_time_keeps_what_came(tmp_path):
    done = Event()
    held = DirectoryStore(tmp_path)
    with store_on(dripping(done, 10**6)) as (store, _):
        try:
            with pytest.raises(PeerTimeoutError, match="in time"):
                HoldingStore(held, store).bring(DIGEST, 10**6, timeout_s=1)
        finally:
            done.set()
    with held.receive(DIGEST, 10**6) as draft:
        assert draft.offset > 0


def test_a_silent_server_takes_no_longer_than_the_blob_may(tmp_path):
    done = Event()
    with store_on(lambda _: done.wait(60), timeout_s=3600, retries=50) as (store, _):
        try:
            with pytest.raises(PeerTimeoutError):
                HoldingStore(DirectoryStore(tmp_path), store).bring(DIGEST, 10, timeout_s=1)
        finally:
            done.set()


def test_a_transfer_goes_on_where_it_broke_off(tmp_path):
    held = DirectoryStore(tmp_path)
    breaks = True

    def answer(request):
        if breaks and request.method == "GET":
            request.say(200, BLOB[:5000], length=len(BLOB))
            request.hang_up()
        else:
            request.give(BLOB)

    with store_on(answer, retries=0) as (store, seen):
        with pytest.raises(PeerUnreachableError):
            HoldingStore(held, store).bring(DIGEST, len(BLOB))
        breaks = False
        HoldingStore(held, store).bring(DIGEST, len(BLOB))
    assert held.get(DIGEST, len(BLOB)) == BLOB
    assert seen[-1].first == 5000


def test_a_draft_that_is_longer_than_the_blob_begins_anew(tmp_path):
    held = DirectoryStore(tmp_path)
    with held.receive(DIGEST, 10**6) as draft:
        draft.write(BLOB + b"and more")
    with store_on(lambda request: request.give(BLOB)) as (store, _):
        with pytest.raises(DigestMismatchError):
            HoldingStore(held, store).bring(DIGEST, 10**6)
        HoldingStore(held, store).bring(DIGEST, 10**6)
    assert held.get(DIGEST, len(BLOB)) == BLOB


# Storing


class Shelf:
    """An S3 server as simple as one can be: objects in a dict.

    Attributes:
        conditional: 412 as S3 does, 501 as servers that do not know it, or None: it is ignored.
    """

    def __init__(self, conditional):
        self.conditional, self.objects, self.puts = conditional, {}, 0

    def __call__(self, request):
        name = request.path.split("?")[0].rsplit("/", 1)[-1]
        if request.method == "PUT":
            asked = request.headers.get("if-none-match") and self.conditional
            if asked and (self.conditional != 412 or name in self.objects):
                return request.say(self.conditional, b"<Error><Code>x</Code></Error>")
            self.puts += 1
            self.objects[name] = request.body
            return request.say(200)
        if "list-type" in request.path:
            return request.say(200, b"<ListBucketResult></ListBucketResult>")
        if name in self.objects:
            return request.give(self.objects[name])
        return request.say(404)


@pytest.mark.parametrize("conditional", [412, 501, 405, 400, None])
def test_servers_with_and_without_conditional_writes_store_once(conditional):
    shelf = Shelf(conditional)
    with store_on(shelf, retries=0) as (store, _):
        for blob in (BLOB, b"another", BLOB, b""):
            assert store.get(store.put(blob), 10**6) == blob
    assert {
        hashlib.sha256(blob).hexdigest(): blob for blob in shelf.objects.values()
    } == shelf.objects
    assert shelf.puts == (4 if conditional is None else 3)


@pytest.mark.parametrize("conditional", [412, 501, None])
@pytest.mark.parametrize("wrong", [b"", b"S" + BLOB[1:], BLOB + b"\0"])
def test_wrong_bytes_under_a_digest_are_replaced_when_the_blob_is_stored(conditional, wrong):
    shelf = Shelf(conditional)
    shelf.objects[DIGEST] = wrong
    with store_on(shelf, retries=0) as (store, _):
        store.put(BLOB)
        assert store.get(DIGEST, len(BLOB)) == BLOB


def test_a_huge_object_under_a_digest_is_replaced_without_reading_it():
    shelf, done, sent = Shelf(412), Event(), []

    def answer(request):
        if request.method == "GET" and DIGEST in request.path and not shelf.puts:
            request.say(200, length=2**50)
            while not done.is_set():
                request.handler.wfile.write(bytes(2**16))
                sent.append(2**16)
        elif request.method == "PUT" and request.headers.get("if-none-match"):
            request.say(412)
        else:
            shelf(request)

    with store_on(answer) as (store, _):
        try:
            store.put(BLOB)
        finally:
            done.set()
        assert store.get(DIGEST, len(BLOB)) == BLOB
    # What the buffers between the two hold, and no more.
    assert sum(sent) < 2**26


def test_a_server_that_takes_nothing_is_told():
    def answer(request):
        if request.method == "PUT":
            request.say(507, b"<Error><Code>XMinioStorageFull</Code></Error>")
        else:
            Shelf(412)(request)

    with (
        store_on(answer, retries=0) as (store, _),
        pytest.raises(PeerUnreachableError, match="507 XMinioStorageFull"),
    ):
        store.put(BLOB)


def test_a_damaged_file_is_not_shared(tmp_path):
    held = DirectoryStore(tmp_path)
    held.put(BLOB)
    (tmp_path / DIGEST).write_bytes(b"S" + BLOB[1:])
    shelf = Shelf(412)
    with store_on(shelf) as (store, _):
        with pytest.raises(DigestMismatchError, match="damaged"):
            HoldingStore(held, store).share(DIGEST)
        with pytest.raises(BlobNotFoundError):
            store.share(hashlib.sha256(b"not here").hexdigest(), held)
    assert shelf.objects == {}


def test_closing_twice_does_no_harm():
    with store_on(lambda request: request.give(BLOB)) as (store, _):
        store.close()
        store.close()
