"""A node of a chain that speaks HTTP as it likes: every question ends, with an error of the ledger."""

import importlib.util
import os
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest

if importlib.util.find_spec("web3") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
    pytest.skip("no web3 here: pip install 'colearn[evm]'", allow_module_level=True)

from colearn.errors import LedgerError, LedgerUnavailableError
from colearn.ledger.evm_rpc import RpcNode

TIMEOUT_S = 0.5
OK = b"HTTP/1.1 200 OK\r\n"


def http_answer(body, status=200, more=""):
    head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


ANSWER = http_answer(b'{"jsonrpc": "2.0", "id": 0, "result": "0x1"}')


def says(data):
    return lambda line, stopped: line.sendall(data)


def endlessly(head, chunk, pause_s=0.0):
    """An answer that goes on until the server stops."""

    def speech(line, stopped):
        line.sendall(head)
        while not stopped.wait(pause_s):
            line.sendall(chunk)

    return speech


SPEECHES = {
    "nothing": says(b""),
    "garbage": says(bytes(range(256)) * 2),
    "another protocol": says(b"220 mail.example ESMTP\r\n"),
    "half a status": says(b"HTTP/1."),
    "a status that is none": says(b"HTTP/1.1 9999 x\r\n\r\n"),
    "only a status": says(OK),
    "no body": says(OK + b"content-length: 100\r\n\r\nshort"),
    "a negative length": says(OK + b"content-length: -1\r\n\r\n"),
    "a length of petabytes": endlessly(OK + b"content-length: 9999999999999999\r\n\r\n", bytes(10**5)),
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
    "a redirection": says(http_answer(b"", 302, "location: http://127.0.0.1:9/\r\n")),
    "a redirection to a file": says(http_answer(b"", 301, "location: file:///etc/passwd\r\n")),
    "please log in": says(http_answer(b"{}", 401, 'www-authenticate: Basic realm="x"\r\n')),
    "too many requests": says(http_answer(b"{}", 429, "retry-after: 100000\r\n")),
    "unavailable": says(http_answer(b"{}", 503, "retry-after: 100000\r\n")),
    "html": says(http_answer(b"<html>not a node</html>")),
    "no text": says(http_answer(b"\xff\xfe\xfd")),
    "deep JSON": says(http_answer(b"[" * 10**6)),
    "deep objects": says(http_answer(b'{"a":' * 10**5)),
    "a long number": says(http_answer(b"1" * 10**6)),
    "many lists": says(http_answer(b"[" + b"[]," * 10**6 + b"[]]")),
    "a gzip that is none": says(http_answer(b"junk", more="content-encoding: gzip\r\n")),
    "a cookie": says(http_answer(b"{}", more="set-cookie: a=b\r\n")),
}  # fmt: skip


@contextmanager
def speaking(speech, secured=None):
    """A server that answers every connection's first request with a speech; yields its port."""
    stopped, lines = threading.Event(), []
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(line):
        with suppress(OSError), line:
            if secured is not None:
                line = secured.wrap_socket(line, server_side=True)
                lines.append(line)
            asked = b""
            while not asked.endswith(b"}"):
                asked += line.recv(2**16)
            speech(line, stopped)

    def accept():
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                lines.append(line)
                threading.Thread(target=talk, args=(line,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        for line in lines:
            line.close()


@pytest.fixture
def node():
    nodes = []

    def at(address, timeout_s=TIMEOUT_S):
        nodes.append(RpcNode(address, timeout_s))
        return nodes[-1]

    yield at
    for each in nodes:
        each.close()


@pytest.mark.parametrize("speech", SPEECHES.values(), ids=SPEECHES.keys())
def test_whatever_a_node_says_the_question_ends_with_an_error_of_the_ledger(node, speech):
    with speaking(speech) as port:
        asked = node(f"http://127.0.0.1:{port}")
        for _ in range(2):
            with pytest.raises(LedgerUnavailableError, match="The node http://127.0.0.1") as caught:
                asked.ask("eth_chainId")
            assert len(str(caught.value)) < 500


def test_an_answer_is_believed(node):
    with speaking(says(ANSWER)) as port:
        assert node(f"http://127.0.0.1:{port}").ask("eth_chainId") == "0x1"


def hangs_up_on_the_second(line, stopped):
    line.sendall(ANSWER)
    line.recv(2**16)


@pytest.mark.parametrize("speech", [says(ANSWER), hangs_up_on_the_second])
def test_a_connection_that_the_node_closes_is_opened_again(node, speech):
    with speaking(speech) as port:
        asked = node(f"http://127.0.0.1:{port}", 5.0)
        for _ in range(10):
            assert asked.ask("eth_chainId") == "0x1"


def test_nobody_there_is_an_error_of_the_ledger(node):
    with speaking(says(ANSWER)) as port:
        pass
    with pytest.raises(LedgerError, match="cannot be reached"):
        node(f"http://127.0.0.1:{port}").ask("eth_chainId")
    with pytest.raises(LedgerError, match="cannot be reached"):
        node("http://nowhere.invalid:8545", 5.0).ask("eth_chainId")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private authority, and a certificate of it for this machine."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt install openssl")
    folder = tmp_path_factory.mktemp("authority")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    openssl("req", *curve, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=node")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "node.pem",
        "-extfile", "names", "-CAcreateserial",
    )  # fmt: skip
    return folder


def test_https_is_verified_and_a_private_authority_can_be_named(node, authority, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "node.pem", authority / "node.key")
    with speaking(says(ANSWER), context) as port:
        address = f"https://127.0.0.1:{port}"
        with pytest.raises(LedgerUnavailableError, match="no certificate that is trusted here"):
            node(address, 5.0).ask("eth_chainId")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
        assert node(address, 5.0).ask("eth_chainId") == "0x1"
        with pytest.raises(LedgerUnavailableError):
            node(address.replace("https", "http"), 5.0).ask("eth_chainId")
    dripping = speaking(SPEECHES["headers that drip"], context)
    with dripping as port, pytest.raises(LedgerUnavailableError, match="not answered within"):
        node(f"https://127.0.0.1:{port}").ask("eth_chainId")
