"""A run as a folder: records, timings, the experiment file and the model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colearn.errors import ColearnError, ConfigError
from colearn.experiment.records import RoundRecord
from colearn.weights import NamedArrays, decode

__all__ = ["RunFolder"]

_RECORD_BYTES_MAX = 256 * 2**20
"""The largest rounds.jsonl that is read, in bytes."""


class RunFolder:
    """Reads and writes the files of one run.

    ``rounds.jsonl`` holds only what the seed decides, so the same experiment writes the same
    bytes again; what a clock says goes to ``timings.jsonl``.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Name a folder; `create` and `open` are the ways in."""
        self.path = path
        self._since = time.perf_counter()

    @staticmethod
    def create(path: Path) -> RunFolder:
        """Make the folder for a new run.

        Raises:
            ConfigError: There is a run in it already.
            ColearnError: It cannot be made.
        """
        folder = RunFolder(path)
        if (path / "rounds.jsonl").exists():
            raise ConfigError(
                f"{path} holds a run already.", hint="Name another folder, or delete this one."
            )
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ColearnError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Free some space or choose another folder.",
        ) from error
