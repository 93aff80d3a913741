import json
import os
import resource
import stat
import subprocess
import sys

import eth_keyfile
import pytest
from eth_account import Account

from colearn.errors import ColearnError, ConfigError
from colearn.identity import Key, KeyFile, describe, load, save

SECRET = bytes.fromhex("5e" * 32)
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def key():
    return Key.from_secret(SECRET)


@pytest.fixture(scope="session")
def sealed_text(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "key.json"
    save(Key.from_secret(SECRET), path, PASSPHRASE)
    return path.read_text()


@pytest.fixture
def sealed(sealed_text, tmp_path):
    return written(tmp_path, sealed_text)


@pytest.fixture
def plain(key, tmp_path):
    path = tmp_path / "plain.json"
    save(key, path, None)
    return path


def written(folder, document, mode=0o600):
    path = folder / "written.json"
    data = document if isinstance(document, bytes | str) else json.dumps(document)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return path


def changed(text, **fields):
    document = json.loads(text)
    document["sealed"] |= fields
    return document


def refusal(path, passphrase=PASSPHRASE):
    """The text of the error; nothing of it, nor of what caused it, may show a secret."""
    with pytest.raises(ConfigError) as caught:
        load(path, passphrase)
    error = caught.value
    while error is not None:
        shown = f"{error!r} {vars(error)}"
        assert "5e5e5e" not in shown
        assert PASSPHRASE not in shown
        error = error.__cause__ or error.__context__
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_sealed_key_comes_back(sealed, key):
    assert load(sealed, PASSPHRASE).address == key.address
    assert load(str(sealed), PASSPHRASE).reveal_secret() == SECRET
    assert not load(sealed, PASSPHRASE).simulated


def test_a_plain_key_comes_back_with_any_passphrase(plain, key):
    assert load(plain).address == key.address
    assert load(plain, "not looked at").address == key.address


def test_a_sealed_file_shows_no_secret(sealed_text):
    assert "5e5e" not in sealed_text
    assert PASSPHRASE not in sealed_text


def test_sealing_twice_gives_other_bytes(key, tmp_path, sealed_text):
    save(key, tmp_path / "b", PASSPHRASE)
    first, second = (
        json.loads(sealed_text)["sealed"],
        json.loads((tmp_path / "b").read_text())["sealed"],
    )
    for field in ("salt", "nonce", "ciphertext", "tag"):
        assert first[field] != second[field]


def test_what_a_file_states_can_be_read_without_a_passphrase(sealed, plain, key):
    assert describe(sealed) == KeyFile(key.address, encrypted=True)
    assert describe(plain) == KeyFile(key.address, encrypted=False)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_file_and_folders_are_for_the_owner_alone_whatever_the_umask(key, tmp_path, mask):
    before = os.umask(mask)
    try:
        save(key, tmp_path / "a" / "b" / "key.json", None)
    finally:
        os.umask(before)
    path = tmp_path / "a" / "b" / "key.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_that_was_there_keeps_its_mode(key, tmp_path):
    (tmp_path / "shared").mkdir(mode=0o755)
    save(key, tmp_path / "shared" / "key.json", None)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755


def test_a_file_is_never_written_over(key, plain, tmp_path):
    before = plain.read_bytes()
    with pytest.raises(ConfigError, match="never written over"):
        save(Key.generate(), plain, None)
    assert plain.read_bytes() == before
    (tmp_path / "dangling").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="never written over"):
        save(key, tmp_path / "dangling", None)
    assert not (tmp_path / "target").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "plain.json"]


def test_of_two_that_write_at_the_same_time_one_is_refused(tmp_path):
    code = """
import sys
from colearn.errors import ConfigError
from colearn.identity import Key, save
try:
    key = Key.generate()
    sys.stdin.read(1)
    save(key, sys.argv[1], None)
    print(key.address)
except ConfigError:
    print("refused")
"""
    path = tmp_path / "key.json"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for writer in writers:
        writer.stdin.write("x")
        writer.stdin.flush()
    answers = sorted(writer.communicate(timeout=60)[0].strip() for writer in writers)
    assert answers[1:] == ["refused"] * 3
    assert answers[0] == load(path).address
    assert [item.name for item in tmp_path.iterdir()] == ["key.json"]


def test_a_file_that_appears_in_the_last_moment_is_not_written_over(tmp_path):
    code = """
import os, sys
from colearn.errors import ConfigError
from colearn.identity import Key, save

def interfere(frame, event, function):
    # The key is written beside its place, and somebody else takes the place now.
    if event == "c_call" and function is os.fsync:
        sys.setprofile(None)
        with open(sys.argv[1], "x") as file:
            file.write("first")

sys.setprofile(interfere)
try:
    save(Key.generate(), sys.argv[1], None)
except ConfigError as error:
    print(error)
"""
    path = tmp_path / "key.json"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "never written over" in run.stdout, run.stderr
    assert path.read_text() == "first"
    assert [item.name for item in tmp_path.iterdir()] == ["key.json"]


def test_a_write_that_fails_leaves_nothing(key, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(
            ColearnError, match="Cannot write the key file .*key.json: File too large"
        ):
            save(key, tmp_path / "key.json", None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file/key.json", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_written_is_named(key, tmp_path, path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ColearnError, match="Cannot write the key file"):
        save(key, tmp_path / path, None)


def test_a_simulated_key_is_not_saved(tmp_path):
    with pytest.raises(ConfigError, match="simulated"):
        save(Key.from_seed(1, "x"), tmp_path / "key.json", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("passphrase", ["", "x" * 1025, b"bytes", 5])
def test_a_passphrase_that_is_none_is_refused(key, tmp_path, sealed, passphrase):
    with pytest.raises(ConfigError, match="passphrase must be"):
        save(key, tmp_path / "key.json", passphrase)
    assert not (tmp_path / "key.json").exists()
    with pytest.raises(ConfigError, match="passphrase must be"):
        load(sealed, passphrase)


def test_a_passphrase_may_be_typed_on_another_system(key, tmp_path):
    save(key, tmp_path / "key.json", "caf\u00e9 \udcff")
    assert load(tmp_path / "key.json", "cafe\u0301 \udcff").address == key.address


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_file_that_others_may_touch_is_refused(plain, bits):
    plain.chmod(bits)
    text = refusal(plain)
    assert f"mode {bits:03o}" in text
    assert "chmod 600" in text
    with pytest.raises(ConfigError, match="chmod"):
        describe(plain)


def test_a_file_that_is_read_only_is_fine(plain, key):
    plain.chmod(0o400)
    assert load(plain).address == key.address


def test_a_link_to_a_file_is_as_good_as_the_file(plain, key, tmp_path):
    (tmp_path / "link").symlink_to(plain)
    assert load(tmp_path / "link").address == key.address
    plain.chmod(0o644)
    assert "mode 644" in refusal(tmp_path / "link")


def test_a_missing_passphrase_is_said(sealed):
    assert "needs a passphrase" in refusal(sealed, None)


def test_a_wrong_passphrase_and_a_changed_file_have_one_text(sealed_text, sealed, tmp_path):
    wrong = refusal(sealed, "wrong")
    assert "does not open" in wrong
    for field in ("ciphertext", "tag", "nonce", "salt"):
        value = json.loads(sealed_text)["sealed"][field]
        flipped = f"{int(value[0], 16) ^ 1:x}{value[1:]}"
        assert refusal(written(tmp_path, changed(sealed_text, **{field: flipped}))) == wrong


def test_an_address_exchanged_in_a_sealed_file_is_noticed(sealed_text, tmp_path):
    document = json.loads(sealed_text) | {"address": Key.generate().address}
    assert "does not open" in refusal(written(tmp_path, document))


def test_an_address_exchanged_in_a_plain_file_is_noticed(plain, tmp_path):
    document = json.loads(plain.read_text()) | {"address": Key.generate().address}
    assert "not the one of its secret" in refusal(written(tmp_path, document))


MALFORMED = {
    "empty": b"",
    "no JSON": b"{'a': 1}",
    "half": b'{"format": "colearn-key-1", "secret": "5e5e5e5e5e5e5e5e',
    "no UTF-8": b"\xff\xfe\xff" * 50,
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "NaN": b"NaN",
    "deep": b"[" * 60_000,
    "a huge number": b'{"format": ' + b"9" * 60_000 + b"}",
    "another format": b'{"format": "colearn-key-2"}',
    "no format": b"{}",
    "only a format": b'{"format": "colearn-key-1"}',
    "no secret": b'{"format": "colearn-key-1", "address": "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"}',
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(tmp_path, data):
    path = written(tmp_path, data)
    assert "is no key file" in refusal(path)
    with pytest.raises(ConfigError, match="is no key file"):
        describe(path)


@pytest.mark.parametrize(
    "fields",
    [
        {"secret": "5e" * 31},
        {"secret": "5e" * 33},
        {"secret": "5e " * 32},
        {"secret": "5e" * 31 + "xx"},
        {"secret": "5e" * 31 + "e"},
        {"secret": 7},
        {"secret": None},
        {"secret": ["5e"] * 32},
        {"address": "0x00"},
        {"address": 7},
        {"address": None},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_malformed_plain_file_is_refused(tmp_path, plain, fields):
    document = json.loads(plain.read_text()) | fields
    assert "is no key file" in refusal(written(tmp_path, document))


@pytest.mark.parametrize("number", [0, -1])
def test_a_secret_out_of_range_is_refused(tmp_path, plain, number):
    secret = bytes(32) if number == 0 else b"\xff" * 32
    document = json.loads(plain.read_text()) | {"secret": secret.hex()}
    with pytest.raises(ConfigError, match="secret of a key must be from 1"):
        load(written(tmp_path, document))


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2**30},
        {"n": 2**19},
        {"n": 2**13},
        {"n": 2**17 + 1},
        {"n": 0},
        {"n": -(2**17)},
        {"n": True},
        {"n": 131072.0},
        {"n": "131072"},
        {"r": 2**20},
        {"r": 1},
        {"p": 2**20},
        {"p": 0},
        {"salt": ""},
        {"salt": "00" * 5000},
        {"nonce": "00" * 11},
        {"ciphertext": "00" * 33},
        {"tag": "00" * 4},
        {"tag": None},
        {"kdf": "md5"},
        {"cipher": "none"},
    ],
    ids=str,
)
def test_hostile_parameters_are_refused_before_any_work(tmp_path, sealed_text, fields):
    assert "is no key file" in refusal(written(tmp_path, changed(sealed_text, **fields)))


def test_a_sealed_part_that_is_no_object_is_refused(tmp_path, sealed_text):
    for value in (None, [], "x", 5):
        document = json.loads(sealed_text) | {"sealed": value}
        assert "is no key file" in refusal(written(tmp_path, document))


def test_a_file_that_is_too_large_is_refused(tmp_path, plain):
    padded = plain.read_text() + " " * 2**16
    assert "more than 65536 bytes" in refusal(written(tmp_path, padded))
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    (tmp_path / "sparse").chmod(0o600)
    assert "more than 65536 bytes" in refusal(tmp_path / "sparse")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "regular file" in refusal(tmp_path / "pipe")
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "directory" in refusal(tmp_path / "folder")
    assert "no key file" in refusal(tmp_path / "nothing")
    assert "directory" in refusal(tmp_path / "pipe" / "below")
    with pytest.raises(ConfigError, match="Cannot read"):
        load(tmp_path / "a\0b")


# Ethereum keystores. The first two are the test vectors of the Web3 Secret Storage definition.
VECTOR_SECRET = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
VECTOR_PBKDF2 = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
VECTOR_SCRYPT = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "p": 8,
            "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}


@pytest.fixture(scope="session")
def ethereum():
    """A keystore made by another library, cheap to open."""
    return eth_keyfile.create_keyfile_json(
        SECRET, PASSPHRASE.encode(), kdf="scrypt", iterations=2**12
    )


@pytest.mark.parametrize("vector", [VECTOR_PBKDF2, VECTOR_SCRYPT], ids=["pbkdf2", "scrypt"])
def test_the_vectors_of_the_ethereum_keystore(tmp_path, vector):
    path = written(tmp_path, vector)
    assert load(path, "testpassword").reveal_secret().hex() == VECTOR_SECRET
    assert describe(path) == KeyFile(None, encrypted=True)


def test_a_keystore_of_another_library(tmp_path, ethereum, key):
    path = written(tmp_path, ethereum)
    assert load(path, PASSPHRASE).address == key.address
    assert describe(path) == KeyFile(key.address, encrypted=True)


def test_a_keystore_may_spell_its_names_in_any_case_and_prefix_its_numbers(tmp_path, ethereum, key):
    crypto = dict(ethereum["crypto"], mac="0x" + ethereum["crypto"]["mac"])
    document = {"Crypto": crypto, "Version": 3, "address": key.address}
    assert load(written(tmp_path, document), PASSPHRASE).address == key.address


def test_the_address_of_a_keystore_must_be_the_one_of_its_secret(tmp_path, ethereum):
    document = ethereum | {"address": Account.from_key(b"\x01" * 32).address[2:]}
    assert "not the one of its secret" in refusal(written(tmp_path, document))


def test_a_wrong_passphrase_of_a_keystore(tmp_path, ethereum, sealed_text):
    text = refusal(written(tmp_path, ethereum), "wrong")
    assert text == refusal(written(tmp_path, sealed_text), "wrong")
    assert "needs a passphrase" in refusal(written(tmp_path, ethereum), None)


def with_params(document, **fields):
    crypto = document["crypto"]
    return document | {"crypto": crypto | {"kdfparams": crypto["kdfparams"] | fields}}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2**30},
        {"n": 2**23, "r": 32},
        {"n": 2**22},
        {"n": 2**18, "r": 8, "p": 8},
        {"r": 2**30},
        {"p": 2**30},
        {"n": 3},
        {"n": 1},
        {"n": -4},
        {"n": True},
        {"n": "4096"},
        {"n": None},
        {"dklen": 2**40},
        {"dklen": 16},
        {"salt": "00" * 257},
        {"salt": "zz"},
        {"salt": None},
    ],
    ids=str,
)
def test_a_keystore_that_asks_for_too_much_is_refused_before_any_work(tmp_path, ethereum, fields):
    assert "is no key file" in refusal(written(tmp_path, with_params(ethereum, **fields)))


@pytest.mark.parametrize(
    "fields", [{"c": 10**9}, {"c": 0}, {"prf": "hmac-md5"}, {"prf": None}], ids=str
)
def test_an_iteration_count_out_of_bounds_is_refused(tmp_path, fields):
    assert "is no key file" in refusal(written(tmp_path, with_params(VECTOR_PBKDF2, **fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {"cipher": "aes-256-cbc"},
        {"cipherparams": None},
        {"cipherparams": {"iv": "00" * 17}},
        {"cipherparams": {}},
        {"ciphertext": "00" * 31},
        {"mac": "00"},
        {"mac": 7},
        {"kdf": "none"},
        {"kdf": ["scrypt"]},
        {"kdfparams": []},
    ],
    ids=str,
)
def test_a_malformed_keystore_is_refused(tmp_path, ethereum, fields):
    document = ethereum | {"crypto": ethereum["crypto"] | fields}
    assert "is no key file" in refusal(written(tmp_path, document))


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 4},
        {"version": "3"},
        {"crypto": None},
        {"address": 7},
        {"address": "0xzz"},
        {"address": {}},
    ],
    ids=str,
)
def test_a_malformed_head_of_a_keystore_is_refused(tmp_path, ethereum, fields):
    assert "is no key file" in refusal(written(tmp_path, ethereum | fields))


def test_a_keystore_without_its_library_names_the_extra(tmp_path, ethereum):
    path = written(tmp_path, ethereum)
    code = """
import sys
sys.modules["eth_keyfile"] = None  # as if it were not installed
from colearn.errors import MissingExtraError
from colearn.identity import load
try:
    load(sys.argv[1], "x")
except MissingExtraError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 'pip install "colearn[evm]"' in run.stdout, run.stderr


def test_the_library_of_ethereum_is_not_loaded_for_our_own_files(plain):
    code = "import sys; from colearn.identity import load; load(sys.argv[1]); print('eth_keyfile' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code, str(plain)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == "False"


def test_opening_an_ethereum_keystore_leaves_the_recursion_limit_alone(tmp_path):
    # In a process of its own: this one has the library already.
    path = tmp_path / "key.json"
    document = eth_keyfile.create_keyfile_json(b"\x01" * 32, b"word", kdf="pbkdf2", iterations=2)
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    code = (
        "import sys; before = sys.getrecursionlimit()\n"
        "from pathlib import Path\n"
        "from colearn.identity import load\n"
        "load(Path(sys.argv[1]), 'word')\n"
        "assert 'eth_keyfile' in sys.modules\n"
        "assert sys.getrecursionlimit() == before, sys.getrecursionlimit()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=100)
