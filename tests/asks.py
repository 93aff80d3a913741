"""Requests that are nearly right: for every route that an application has, and for none."""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote

from hypothesis import strategies as st

from tests.blob_servers import STRANGER
from tests.doors import BLOB, DIGEST
from tests.fuzz import PIECES, TEXTS, hostile_bytes, spoiled

METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "",
]
PUT_BODIES = [b"", b"x", BLOB[:300], bytes(70_000)]
FILLINGS = [DIGEST, DIGEST.upper(), DIGEST[:-1], DIGEST + "0", "00" * 32, "..", "%2e%2e%2f", *TEXTS]
QUERIES = [
    "from=1", "from=0", "from=3&limit=1", "from=999999999999999999", "limit=x", "from=-1",
    "from=1&from=2", "from=%31", "wait_s=0.01&from=99", "wait_s=1e9", "wait_s=nan", "wait_s=999999",
    "&&&", "=", "%", "a" * 3000, "from=\xd9\xa1", "wait_s=0.1&from=12", "\x00", ";",
]  # fmt: skip
RANGES = [
    "bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-4", "bytes=99999999999999-",
    "bytes=0-1,3-4", "bytes=x", "items=0-1", "bytes=-", "bytes=5119-5120", "bytes=5120-",
]  # fmt: skip
KINDS = [
    "application/json", "application/octet-stream", "application/json; charset=utf-7", "text/plain",
    "multipart/form-data; boundary=x", "APPLICATION/JSON ;", "", "\xff", "x" * 3000,
]  # fmt: skip
LENGTHS = ["0", "1", "-1", "+1", "1, 1", "99999999999999999999", "999999999999", "x", "", "\xb2"]
OTHERS = [
    ("expect", "100-continue"), ("expect", "x"), ("upgrade", "h2c"), ("upgrade", "websocket"),
    ("connection", "upgrade"), ("connection", "close"), ("connection", "keep-alive"),
    ("content-encoding", "gzip"), ("te", "trailers"), ("cookie", "a=b"), ("if-none-match", "*"),
    ("transfer-encoding", "chunked"), ("transfer-encoding", "gzip"), ("x", "y" * 3000),
    ("x-forwarded-for", "1.1.1.1"), ("sec-websocket-key", "x"), ("host", "evil.example"),
    ("accept-encoding", "*"), ("x\x01", "y"), ("x", "\x00"), ("", "x"), ("http2-settings", "AAMA"),
    ("content-length", "5"), ("forwarded", "for=x"), ("origin", "null"),
]  # fmt: skip


@dataclass
class Ask:
    """A request.

    Attributes:
        method: As a text.
        path: As it is sent.
        query: As it is sent.
        headers: Names and values.
        body: The bytes.
        sizes: How the body is cut into pieces.
        chunked: Whether it is sent in chunks.
    """

    method: str
    path: str
    query: str
    headers: list
    body: bytes
    sizes: list
    chunked: bool = False

    @property
    def pieces(self):
        found, at = [], 0
        for size in self.sizes:
            found.append(self.body[at : at + size])
            at += size
        return [*found, self.body[at:]]

    @property
    def target(self):
        return self.path + (f"?{self.query}" if self.query else "")

    def scope(self):
        """Return what a server tells an application."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            # As servers read it: they refuse what is no ASCII, and know no surrogates.
            "path": unquote(coded(self.path).decode("ascii", "replace")),
            "raw_path": coded(self.path),
            "query_string": coded(self.query),
            "root_path": "",
            "headers": [(coded(name.lower()), coded(value)) for name, value in self.headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }

    def messages(self):
        last = len(self.pieces) - 1
        return [
            {"type": "http.request", "body": piece, "more_body": place < last}
            for place, piece in enumerate(self.pieces)
        ]

    def words(self):
        """Return the request as it is sent."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        head = coded("\r\n".join([*lines, "", ""]))
        if not self.chunked:
            return head + self.body
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in self.pieces if each)
        return head + chunks + b"0\r\n\r\n"


def coded(text):
    return (
        text.encode("latin-1")
        if all(ord(each) < 256 for each in text)
        else text.encode("utf-8", "surrogatepass")
    )


@st.composite
def _paths(draw, door):
    path = draw(st.sampled_from([path for path, _ in door.routes]))
    filling = DIGEST if draw(st.integers(0, 3)) else draw(st.sampled_from(FILLINGS))
    path = re.sub("{[^}]*}", lambda _: filling, path)
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return draw(
            st.sampled_from(["/", "*", "", "//", "/v1", "/../..", "http://x/v1/health", "x"])
        )
    if kind == 1:
        return draw(spoiled(path.encode("utf-8", "replace"))).decode("latin-1")
    return path + ("/" if kind == 2 else "")


@st.composite
def _bodies(draw, door):
    kind = draw(st.integers(0, 4))
    if kind == 0 or not door.bodies:
        return draw(st.sampled_from([b"", *PUT_BODIES, *PIECES]))
    sound = draw(st.sampled_from(door.bodies))
    if isinstance(sound, bytes):
        return sound if kind == 1 else draw(spoiled(sound))
    return draw(hostile_bytes(sound))


@st.composite
def asks(draw, door):
    """A request to a door: what its routes take, somewhat changed."""
    path = draw(_paths(door))
    methods = next((known for route, known in door.routes if route[:9] == path[:9]), METHODS)
    method = draw(st.sampled_from(methods) if draw(st.integers(0, 3)) else st.sampled_from(METHODS))
    body = draw(_bodies(door)) if method in ("POST", "PUT", "") or draw(st.booleans()) else b""
    if method == "PUT" and draw(st.booleans()):
        path = path.replace(DIGEST, hashlib.sha256(body).hexdigest())
    query = ""
    if draw(st.booleans()):
        query = draw(st.sampled_from(QUERIES) | st.text("fromlit=&%0_w.s", max_size=20))
    ask = Ask(method, path, query, [], body, draw(st.lists(st.integers(0, 400), max_size=3)))
    ask.headers.append(("host", door.host if draw(st.integers(0, 9)) else draw(_words)))
    if door.key is not None and draw(st.integers(0, 9)):
        ask.headers.append(("authorization", draw(_authorization(door, ask))))
    if draw(st.booleans()):
        kind = KINDS[draw(st.booleans())] if draw(st.booleans()) else draw(st.sampled_from(KINDS))
        ask.headers.append(("content-type", kind))
    if draw(st.integers(0, 2)) == 0:
        ask.headers.append(("range", draw(st.sampled_from(RANGES) | _words)))
    if draw(st.integers(0, 3)) == 0:
        ask.headers += draw(st.lists(st.sampled_from(OTHERS), max_size=2))
    _frame(draw, ask)
    return ask


_words = st.sampled_from(TEXTS).map(lambda text: text.encode("utf-8", "replace").decode("latin-1"))


@st.composite
def _authorization(draw, door, ask):
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(_words)
    key = STRANGER if kind == 1 else None
    head = (door.head[0], "ab" * 32) if kind == 2 else None
    header = door.signed(ask.method, ask.target, ask.body, key, head)
    if kind == 3:
        header = draw(spoiled(header.encode())).decode("latin-1")
    return header


def _frame(draw, ask):
    """Say how long the body is, mostly right."""
    kind = draw(st.integers(0, 9))
    ask.chunked = kind in (0, 1)
    if kind == 2:
        ask.headers.append(("content-length", draw(st.sampled_from(LENGTHS))))
    elif kind == 3 and ask.body:
        ask.headers.append(("content-length", str(max(0, len(ask.body) - 1))))
    elif ask.chunked:
        ask.headers.append(("transfer-encoding", "chunked"))
    elif kind != 4 and (ask.body or draw(st.booleans())):
        ask.headers.append(("content-length", str(len(ask.body))))


@st.composite
def raw(draw, door):
    """Bytes for a connection: requests one after the other, whole, cut, spoiled, or none at all."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=300))
    words = b"".join(each.words() for each in draw(st.lists(asks(door), min_size=1, max_size=3)))
    if kind == 1:
        return words[: draw(st.integers(0, len(words)))]
    if kind == 2:
        return draw(spoiled(words))
    if kind == 3:
        return words + draw(st.sampled_from([b"GET", b"\r\n", b"\x00", b"GET / HTTP/1.1\r\nx:"]))
    return words
