"""A run as a folder: records, timings, the experiment file and the model."""

from __future__ import annotations

import json
import os
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colearn.crypto import checksum_address
from colearn.errors import ColearnError, ConfigError
from colearn.experiment.records import RoundRecord
from colearn.weights import NamedArrays, decode

if sys.platform != "win32":
    import fcntl

__all__ = ["RunFolder"]

_RECORD_BYTES_MAX = 256 * 2**20
"""The largest rounds.jsonl that is read, in bytes."""


class RunFolder:
    """Reads and writes the files of one run.

    ``ledger.db`` and ``blobs/`` are what an audit reads. ``rounds.jsonl`` holds only what the
    seed decides, so the same experiment writes the same bytes again; what a clock says goes to
    ``timings.jsonl``, and what single learners saw to ``observations.jsonl``.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Name a folder; `claim` and `open` are the ways in."""
        self.path = path
        self._since = time.perf_counter()
        self._open_files: dict[str, int] = {}
        # Whoever forgets to release a run leaves no open file behind all the same.
        self._release = weakref.finalize(self, _close, self._open_files)

    @staticmethod
    def holds_run(path: Path) -> bool:
        """Say whether there is a run in a folder, however short."""
        return any((path / name).exists() for name in ("ledger.db", "rounds.jsonl"))

    @staticmethod
    def describe(path: Path, experiment: str) -> None:
        """Write the experiment file of a new run, before anything else, so that it can go on.

        Raises:
            ConfigError: There is a run in the folder already.
            ColearnError: It cannot be written.
        """
        _refuse_run(path)
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
        RunFolder(path).write_text("experiment.toml", experiment)

    @staticmethod
    def claim(path: Path, *, resume: bool = False) -> RunFolder:
        """Take a folder for a new run, or to go on with the one in it; nobody else may then.

        Lines that a killed process could not finish are taken away.

        Raises:
            ConfigError: There is a run in it already, or none to go on with; or another process
                is running it.
            ColearnError: It cannot be made.
        """
        folder = RunFolder(path)
        if not resume:
            _refuse_run(path)
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
            folder._take_lock()
            for name in ("rounds.jsonl", "timings.jsonl", "observations.jsonl"):
                _cut_unfinished_line(path / name)
            (path / "rounds.jsonl").touch()
        return folder

    @staticmethod
    def open(path: Path) -> RunFolder:
        """Open the folder of a run that was written before.

        Raises:
            ConfigError: There is no run in it.
        """
        if not (path / "rounds.jsonl").is_file():
            raise ConfigError(f"There is no run in {path}.", hint="Name a folder under runs/.")
        return RunFolder(path)

    def release(self) -> None:
        """Let another process have the run."""
        _close(self._open_files)

    def write_observation(self, line: str) -> None:
        """Append a line to observations.jsonl, before its node acts on what it saw.

        Raises:
            ColearnError: The file cannot be written.
        """
        path = self.path / "observations.jsonl"
        with _writing(path):
            # Straight to the system: what is written outlives a killed process.
            os.write(self._file("observations.jsonl"), line.encode() + b"\n")

    def observations(self) -> list[str]:
        """Read the lines of observations.jsonl."""
        if not (self.path / "observations.jsonl").exists():
            return []
        return self._text("observations.jsonl").splitlines()

    def write_members(self, members: Mapping[str, str], seed: int) -> None:
        """Write who is who, and that the keys are no secret.

        Raises:
            ColearnError: The file cannot be written.
        """
        document = {
            "keys": f"SIMULATED: they come from the seed {seed} and the names. NOT SECRET.",
            "members": {checksum_address(address): name for address, name in members.items()},
        }
        self._replace("members.json", json.dumps(document, indent=2).encode() + b"\n")

    def write_resumption(self, round_number: int, local_state: Mapping[str, str]) -> None:
        """Note in timings.jsonl that the run goes on, and with which state of each learner.

        Raises:
            ColearnError: The file cannot be written.
        """
        note = {"resumed_at_round": round_number, "local_state": dict(local_state)}
        self._append("timings.jsonl", json.dumps(note, sort_keys=True))

    def on_round(self, record: RoundRecord) -> None:
        """Append one record, and how long its round took.

        Raises:
            ColearnError: The file cannot be written, for example on a full disk.
        """
        now = time.perf_counter()
        timing = {"round_number": record.round_number, "round_s": round(now - self._since, 6)}
        self._since = now
        self._append("rounds.jsonl", record.to_json())
        self._append("timings.jsonl", json.dumps(timing))

    def write_model(self, model: NamedArrays) -> None:
        """Replace model.safetensors in one step, so that a crash leaves the old or the new one.

        Raises:
            ColearnError: The file cannot be written.
        """
        self._replace("model.safetensors", model.data)

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file in one step.

        Raises:
            ColearnError: The file cannot be written.
        """
        self._replace(name, text.encode())

    def records(self) -> list[RoundRecord]:
        """Read the records of all rounds.

        Raises:
            ConfigError: The file is no list of records, or larger than any run writes.
        """
        return [RoundRecord.from_json(line) for line in self._text("rounds.jsonl").splitlines()]

    def document(self, name: str) -> Any:
        """Read a JSON file of the run; None where there is none.

        Raises:
            ConfigError: It is not JSON.
        """
        if not (self.path / name).exists():
            return None
        try:
            return json.loads(self._text(name))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self.path / name} is not JSON: {error}.") from error

    def model(self) -> NamedArrays:
        """Read the model.

        Raises:
            ConfigError: No round was accepted, so there is none.
            WeightsError: The file is not what this package wrote.
        """
        path = self.path / "model.safetensors"
        if not path.exists():
            raise ConfigError(f"There is no model in {self.path}: no proposal was accepted.")
        return decode(path.read_bytes())

    def _take_lock(self) -> None:
        """Hold the run's lock until this process ends or releases it."""
        lock = self._file(".lock")
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise ConfigError(
                f"Another process is running {self.path}.", hint="Wait for its end, or stop it."
            ) from error

    def _file(self, name: str) -> int:
        """Return the descriptor of a file that stays open to be appended to."""
        if name not in self._open_files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._open_files[name] = os.open(self.path / name, flags, 0o644)
        return self._open_files[name]

    def _text(self, name: str) -> str:
        path = self.path / name
        size = path.stat().st_size
        if size > _RECORD_BYTES_MAX:
            raise ConfigError(f"{path} may have {_RECORD_BYTES_MAX} bytes, got {size}.")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8 text.") from error

    def _append(self, name: str, line: str) -> None:
        path = self.path / name
        with _writing(path), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _replace(self, name: str, data: bytes) -> None:
        path = self.path / name
        draft = path.with_name(f".{name}.draft")
        with _writing(path):
            draft.write_bytes(data)
            draft.replace(path)


def _refuse_run(path: Path) -> None:
    if RunFolder.holds_run(path):
        raise ConfigError(
            f"{path} holds a run already.",
            hint="Name another folder, delete this one, or go on with --resume.",
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ColearnError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Free some space or choose another folder.",
        ) from error


def _cut_unfinished_line(path: Path) -> None:
    """Take away what follows the last line break: a process was killed while it wrote that."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        data = file.read(_RECORD_BYTES_MAX + 1)
        if data and not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)


def _close(files: dict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])
