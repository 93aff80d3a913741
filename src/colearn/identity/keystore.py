"""Key files: written once, for their owner alone, and read with suspicion (7.6).

A file is either of our own format or an Ethereum keystore of version 3, which is read only.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colearn.errors import ColearnError, ConfigError
from colearn.identity._document import malformed
from colearn.identity._ethereum import ethereum_address, from_ethereum, is_ethereum
from colearn.identity._sealed import FORMAT, is_sealed, seal, stated_address, unseal
from colearn.identity.key import Key

__all__ = ["KEY_FILE_BYTES_MAX", "PASSPHRASE_MAX", "KeyFile", "describe", "load", "save"]

KEY_FILE_BYTES_MAX = 64 * 2**10
PASSPHRASE_MAX = 1024
"""Characters a passphrase may have."""

_OTHERS = 0o077
"""The mode bits of everybody but the owner."""

# Systems without POSIX modes and open flags (Windows) have none to check or to set.
_POSIX = os.name == "posix"
_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file states without being opened.

    Attributes:
        address: The stated address, lower-case; None where the file states none.
        encrypted: Whether a passphrase is needed to read the secret.
    """

    address: str | None
    encrypted: bool


def save(key: Key, path: Path | str, passphrase: str | None) -> None:
    """Write a key into a new file that its owner alone can read.

    A folder that is missing is made with mode 700, the file with mode 600. The file appears
    whole or not at all, and never replaces another.

    Args:
        key: The key; a simulated one is no secret and is refused.
        path: The new file.
        passphrase: Seals the secret; None writes it plain.

    Raises:
        ConfigError: The file is there already, the key is simulated, the passphrase is empty or
            too long, or the file system shows the file to others.
        ColearnError: It cannot be written.
    """
    path = Path(path)
    if key.simulated:
        raise ConfigError("A simulated key is no secret, so it is not saved as one.")
    if passphrase is not None:
        _check(passphrase)
    if os.path.lexists(path):
        raise _exists(path)
    text = json.dumps(seal(key, passphrase), indent=2) + "\n"
    with _writing(path):
        for folder in reversed([parent for parent in path.parents if not parent.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
        _publish(path, text.encode("ascii"))


def load(path: Path | str, passphrase: str | None = None) -> Key:
    """Read the key of a file.

    Args:
        path: A file of our own format, or an Ethereum keystore of version 3.
        passphrase: What opens it; not looked at when the file is not encrypted.

    Raises:
        ConfigError: The file cannot be read, can be read by others, is larger than 64 KiB, is
            malformed, asks for too much work, its address is not the one of its secret, or the
            passphrase is missing or another one.
        MissingExtraError: It is an Ethereum keystore, and the extra `evm` is not installed.
    """
    document, where = _document(Path(path)), str(path)
    if passphrase is not None:
        _check(passphrase)
    if is_ethereum(document):
        return from_ethereum(document, passphrase, where)
    return unseal(document, passphrase, where)


def describe(path: Path | str) -> KeyFile:
    """Return what a key file states, without a passphrase: nothing of it is proved.

    Raises:
        ConfigError: As `load`, as far as it can be seen without opening the secret.
    """
    document, where = _document(Path(path)), str(path)
    if is_ethereum(document):
        return KeyFile(ethereum_address(document, where), encrypted=True)
    return KeyFile(stated_address(document, where), encrypted=is_sealed(document, where))


def _document(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file; a ConfigError says why there is none, and quotes nothing."""
    data = _read(path)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        # The error of the parser holds the whole text, and with it the secret: it goes no further.
        document = None
    if not isinstance(document, dict):
        raise malformed(str(path), "it is not a JSON object")
    if not is_ethereum(document) and document.get("format") != FORMAT:
        raise malformed(str(path), f"'format' must be {FORMAT!r}")
    return document


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise malformed(str(path), "it is not a regular file")
            if _POSIX and status.st_mode & _OTHERS:
                raise ConfigError(
                    f"The key file {path} has mode {stat.S_IMODE(status.st_mode):03o}, so others "
                    "than its owner may read or change it.",
                    hint=f"Run: chmod 600 {path}",
                )
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no key file {path}.", hint="Make one with `colearn key new`."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, ColearnError):
            raise
        raise ConfigError(f"Cannot read the key file {path}: {_reason(error)}.") from error
    if len(data) > KEY_FILE_BYTES_MAX:
        raise malformed(str(path), f"it has more than {KEY_FILE_BYTES_MAX} bytes")
    return data


def _publish(path: Path, data: bytes) -> None:
    """Write a draft beside the file, then give it the file's name in one step, or none."""
    draft = path.with_name(f".{secrets.token_hex(8)}.key-draft")
    try:
        with open(draft, "xb", opener=_for_the_owner) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if _POSIX and os.fstat(file.fileno()).st_mode & _OTHERS:
                raise ConfigError(
                    f"The file system of {path} cannot hide a file from others.",
                    hint="Choose another folder.",
                )
        # A link fails where a name is taken, and a rename would replace it.
        os.link(draft, path)
    except FileExistsError as error:
        raise _exists(path) from error
    finally:
        with suppress(OSError):
            draft.unlink()
    _sync_folder(path.parent)


def _without_waiting(path: str, flags: int) -> int:
    # A pipe in the place of the file must not stop the program.
    return os.open(path, flags | _NONBLOCK)


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the system can: a lost key is a lost name."""
    if not _POSIX:
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check(passphrase: str) -> None:
    if not isinstance(passphrase, str) or not 0 < len(passphrase) <= PASSPHRASE_MAX:
        raise ConfigError(f"A passphrase must be 1 to {PASSPHRASE_MAX} characters of text.")


def _exists(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is there already, and a key is never written over.",
        hint="Name another file.",
    )


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ColearnError):
            raise
        raise ColearnError(
            f"Cannot write the key file {path}: {_reason(error)}.", hint="Choose another folder."
        ) from error
