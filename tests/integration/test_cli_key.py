import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import time

import pytest

from colearn.crypto import checksum_address
from colearn.identity import Key, load, save

PROGRAM = [sys.executable, "-c", "from colearn.cli import main; main()"]
SECRET = bytes.fromhex("5e" * 32)
ADDRESS = checksum_address(Key.from_secret(SECRET).address)
PASSPHRASE = "correct horse battery staple"


def environment(cwd, **extra):
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"COLEARN_PASSPHRASE", "XDG_CONFIG_HOME", "HOME"}
    }
    return {**kept, "HOME": str(cwd), "COLUMNS": "120", "NO_COLOR": "1", **extra}


def colearn(*arguments, cwd, **extra):
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        env=environment(cwd, **extra),
        check=False,
    )


def at_a_terminal(*arguments, cwd, answers):
    """Run the command on a terminal of its own and type the answers; return code and screen."""
    terminal, inside = pty.openpty()
    # The child takes the terminal for its own, so that Ctrl-C and the hidden prompt are real.
    program = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {PROGRAM[2]}"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd, env=environment(cwd), stdin=inside, stdout=inside, stderr=inside,
        start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    screen, deadline = b"", time.monotonic() + 60
    waiting = list(answers)
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            screen += piece
        elif waiting and screen.rstrip().endswith(b":"):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
            screen += b"\n"
    os.close(terminal)
    return process.wait(30), screen.decode()


@pytest.fixture
def plain(tmp_path):
    save(Key.from_secret(SECRET), tmp_path / "plain.json", None)
    return tmp_path / "plain.json"


@pytest.fixture
def sealed(tmp_path):
    save(Key.from_secret(SECRET), tmp_path / "sealed.json", PASSPHRASE)
    return tmp_path / "sealed.json"


@pytest.fixture
def passphrase_file(tmp_path):
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    return tmp_path / "passphrase"


def test_a_new_key_is_where_the_command_says(tmp_path):
    run = colearn("key", "new", "mine.json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    key = load(tmp_path / "mine.json")
    assert checksum_address(key.address) in run.stdout
    assert "mine.json" in run.stdout
    assert "encrypted  no" in run.stdout
    assert key.reveal_secret().hex() not in run.stdout


def test_the_default_place_is_under_the_home_folder(tmp_path):
    run = colearn("key", "new", "--json", cwd=tmp_path)
    path = tmp_path / ".config" / "colearn" / "key.json"
    assert json.loads(run.stdout) == {
        "address": checksum_address(load(path).address),
        "path": str(path),
        "encrypted": False,
        "checked": True,
    }
    assert colearn("key", "show", "--json", cwd=tmp_path).stdout == run.stdout


def test_xdg_config_home_is_honoured_when_it_is_absolute(tmp_path):
    run = colearn("key", "new", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "elsewhere"))
    assert run.returncode == 0, run.stderr
    assert load(tmp_path / "elsewhere" / "colearn" / "key.json")
    run = colearn("key", "new", cwd=tmp_path, XDG_CONFIG_HOME="relative")
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "relative").exists()
    assert load(tmp_path / ".config" / "colearn" / "key.json")


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_only_the_owner_can_read_the_file_and_its_folder(tmp_path, mask):
    before = os.umask(mask)
    try:
        colearn("key", "new", "keys/mine.json", cwd=tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys" / "mine.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_is_never_written_over(tmp_path):
    colearn("key", "new", "mine.json", cwd=tmp_path)
    before = (tmp_path / "mine.json").read_bytes()
    run = colearn("key", "new", "mine.json", cwd=tmp_path)
    assert run.returncode == 2
    assert "mine.json is there already" in run.stderr
    assert run.stdout == ""
    assert (tmp_path / "mine.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_a_passphrase_file_seals_the_key(tmp_path, passphrase_file):
    run = colearn(
        "key", "new", "k.json", "--passphrase-file", passphrase_file, "--json", cwd=tmp_path
    )
    document = json.loads(run.stdout)
    assert document["encrypted"] is True
    key = load(tmp_path / "k.json", PASSPHRASE)
    assert checksum_address(key.address) == document["address"]
    for text in (run.stdout, run.stderr, (tmp_path / "k.json").read_text()):
        assert key.reveal_secret().hex() not in text.lower()
        assert PASSPHRASE not in text


def test_the_passphrase_can_come_from_the_environment(tmp_path):
    run = colearn("key", "new", "k.json", cwd=tmp_path, COLEARN_PASSPHRASE=PASSPHRASE)
    assert "encrypted  yes" in run.stdout
    assert load(tmp_path / "k.json", PASSPHRASE)
    shown = colearn("key", "show", "k.json", "--json", cwd=tmp_path, COLEARN_PASSPHRASE=PASSPHRASE)
    assert json.loads(shown.stdout)["checked"] is True


def test_an_empty_passphrase_in_the_environment_is_a_mistake(tmp_path):
    run = colearn("key", "new", "k.json", cwd=tmp_path, COLEARN_PASSPHRASE="")
    assert run.returncode == 2
    assert "COLEARN_PASSPHRASE is empty" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_option_goes_before_the_environment(tmp_path, sealed, passphrase_file):
    run = colearn(
        "key",
        "show",
        sealed,
        "--passphrase-file",
        passphrase_file,
        cwd=tmp_path,
        COLEARN_PASSPHRASE="wrong",
    )
    assert run.returncode == 0, run.stderr


def test_show_without_a_passphrase_says_what_the_file_says(tmp_path, sealed):
    run = colearn("key", "show", sealed, cwd=tmp_path)
    assert ADDRESS in run.stdout
    assert "as the file says" in run.stdout
    document = json.loads(colearn("key", "show", sealed, "--json", cwd=tmp_path).stdout)
    assert document == {
        "address": ADDRESS,
        "path": str(sealed),
        "encrypted": True,
        "checked": False,
    }


def test_show_never_shows_the_secret(tmp_path, plain):
    for arguments in ([], ["--json"]):
        run = colearn("key", "show", plain, *arguments, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert ADDRESS in run.stdout
        assert "5e5e5e" not in run.stdout + run.stderr


def test_a_wrong_passphrase_opens_nothing(tmp_path, sealed):
    run = colearn("key", "show", sealed, cwd=tmp_path, COLEARN_PASSPHRASE="wrong-guess")
    assert run.returncode == 2
    assert "does not open" in run.stderr
    assert "wrong-guess" not in run.stderr
    assert ADDRESS not in run.stdout


def test_errors_show_neither_secret_nor_traceback(tmp_path, plain):
    broken = plain.read_text().replace("colearn-key-1", "colearn-key-9")
    cases = {
        "format": broken,
        "half": plain.read_text()[:-20],
        "address": plain.read_text().replace(ADDRESS, "0x" + "0" * 40),
        "more": plain.read_text() + "}",
    }
    for name, text in cases.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
        run = colearn("key", "show", name, "--json", cwd=tmp_path)
        assert run.returncode == 2, name
        assert json.loads(run.stdout)["error"] == "ConfigError"
        assert "5e5e5e" not in run.stdout + run.stderr
        assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["key", "show", "nowhere.json"], "There is no key file nowhere.json"),
        (["key", "show"], "colearn key new"),
        (["key", "show", "open.json"], "chmod 600 open.json"),
        (["key", "new", "k", "--passphrase-file", "nowhere"], "Cannot read the passphrase file"),
        (["key", "new", "k", "--passphrase-file", "empty"], "one line"),
        (["key", "new", "k", "--passphrase-file", "lines"], "one line"),
        (["key", "new", "k", "--passphrase-file", "large"], "one line"),
        (["key", "new", "k", "--passphrase-file", "lines", "--passphrase"], "not both"),
        (["key", "new", "k", "--passphrase"], "no terminal"),
    ],
)
def test_errors_say_what_to_do(tmp_path, arguments, message):
    (tmp_path / "open.json").write_text("{}")
    (tmp_path / "open.json").chmod(0o644)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text("one\ntwo\n")
    (tmp_path / "large").write_text("x" * 10_000)
    run = colearn(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "k").exists()


def test_the_prompt_asks_twice_and_shows_nothing(tmp_path):
    code, screen = at_a_terminal(
        "key", "new", "k.json", "--passphrase", cwd=tmp_path, answers=[PASSPHRASE, PASSPHRASE]
    )
    assert code == 0, screen
    assert PASSPHRASE not in screen
    key = load(tmp_path / "k.json", PASSPHRASE)
    assert checksum_address(key.address) in screen
    code, screen = at_a_terminal(
        "key", "show", "k.json", "--passphrase", cwd=tmp_path, answers=[PASSPHRASE]
    )
    assert code == 0, screen
    assert "as the file says" not in screen


def test_ctrl_c_at_the_prompt_writes_nothing(tmp_path):
    code, screen = at_a_terminal(
        "key", "new", "k.json", "--passphrase", cwd=tmp_path, answers=["\x03"]
    )
    assert code == 130, screen
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["new", "show"])
def test_help_has_an_example_and_names_every_way_to_a_passphrase(tmp_path, command):
    run = colearn("key", command, "--help", cwd=tmp_path)
    assert f"Example: colearn key {command}" in run.stdout
    assert "COLEARN_PASSPHRASE" in run.stdout
    assert "--passphrase-file" in run.stdout
    assert "~/.config/colearn/key.json" in run.stdout
    assert not re.search(r"--passphrase[ =](<text>|TEXT)", run.stdout)


def test_key_is_among_the_commands(tmp_path):
    assert re.search(r"\bkey\b.*address", colearn("--help", cwd=tmp_path).stdout)
