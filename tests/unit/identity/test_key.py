import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import pytest
from eth_account import Account
from eth_keys import KeyAPI
from eth_keys.backends import NativeECCBackend
from hypothesis import given, settings
from hypothesis import strategies as st

from colearn.crypto import GROUP_ORDER, is_low_s, keccak256, recover
from colearn.errors import ConfigError, SignatureError
from colearn.identity import Key

NATIVE = KeyAPI(NativeECCBackend())
SECRETS = st.integers(1, GROUP_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
DIGESTS = st.binary(min_size=32, max_size=32)
SECRET = bytes.fromhex("5e" * 32)
DIGEST = keccak256(b"a digest")


@settings(deadline=None)
@given(SECRETS, DIGESTS)
def test_signs_as_another_library_does(secret, digest):
    key = Key.from_secret(secret)
    account = Account.from_key(secret)
    assert key.address == account.address.lower()
    assert key.sign(digest) == bytes(account.unsafe_sign_hash(digest).signature)


@settings(deadline=None, max_examples=20)
@given(SECRETS, DIGESTS)
def test_signs_as_a_library_in_pure_python_does(secret, digest):
    theirs = NATIVE.PrivateKey(secret).sign_msg_hash(digest).to_bytes()
    assert Key.from_secret(secret).sign(digest) == theirs[:64] + bytes((theirs[64] + 27,))


@settings(deadline=None)
@given(SECRETS, DIGESTS)
def test_a_signature_names_its_signer_and_has_a_low_s(secret, digest):
    key = Key.from_secret(secret)
    signature = key.sign(digest)
    assert len(signature) == 65
    assert signature[64] in (27, 28)
    assert is_low_s(signature)
    assert recover(digest, signature) == key.address


def test_new_keys_differ():
    keys = [Key.generate() for _ in range(20)]
    assert len({key.address for key in keys}) == 20
    assert not any(key.simulated for key in keys)


def test_the_smallest_and_the_largest_secret():
    # The address of the generator point is well known.
    assert (
        Key.from_secret(bytes(31) + b"\1").address == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    )
    assert Key.from_secret((GROUP_ORDER - 1).to_bytes(32, "big")).address.startswith("0x")


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        b"\x01" * 31,
        b"\x01" * 33,
        bytes(32),
        GROUP_ORDER.to_bytes(32, "big"),
        b"\xff" * 32,
        "5e" * 32,
        bytearray(SECRET),
        None,
        1,
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(secret):
    with pytest.raises(ConfigError, match="secret") as caught:
        Key.from_secret(secret)
    assert "5e5e" not in str(caught.value)
    assert "ffff" not in str(caught.value)


@pytest.mark.parametrize(
    "digest", [b"", DIGEST[:31], DIGEST + b"\0", DIGEST.hex(), None, bytearray(32)]
)
def test_only_a_digest_can_be_signed(digest):
    with pytest.raises(SignatureError, match="32 bytes"):
        Key.from_secret(SECRET).sign(digest)


def test_no_text_of_a_key_shows_its_secret():
    key = Key.from_secret(SECRET)
    texts = [
        repr(key),
        str(key),
        f"{key}",
        f"{key!r:>80}",
        repr([key]),
        repr({"k": key}),
    ]
    texts += [repr(getattr(key, name)) for name in dir(key) if name != "reveal_secret"]
    for text in texts:
        assert "5e5e5e" not in text
        assert r"^^^^" not in text  # what the bytes of this secret look like in a repr
        assert str(int.from_bytes(SECRET, "big")) not in text
    assert key.address in repr(key)
    with pytest.raises(TypeError):
        vars(key)
    with pytest.raises(TypeError):
        json.dumps(key)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_cannot_be_pickled(protocol):
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(Key.from_secret(SECRET), protocol)


def test_a_key_does_not_reach_another_process_or_a_copy():
    @dataclasses.dataclass
    class Settings:
        key: Key

    key = Key.from_secret(SECRET)
    for copying in (ForkingPickler.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickled or copied"):
            copying(key)
    with pytest.raises(TypeError, match="pickled or copied"):
        dataclasses.asdict(Settings(key))


def test_a_key_cannot_be_changed():
    key = Key.from_secret(SECRET)
    for name in ("address", "simulated", "secret"):
        with pytest.raises(AttributeError):
            setattr(key, name, "x")


def test_the_secret_comes_out_only_when_asked_for():
    assert Key.from_secret(SECRET).reveal_secret() == SECRET
    assert not hasattr(Key.from_secret(SECRET), "secret")


def test_a_seed_and_a_name_decide_a_simulated_key():
    key = Key.from_seed(7, "north")
    assert key.simulated
    assert "simulated" in repr(key)
    assert key.address == Key.from_seed(7, "north").address
    others = {
        Key.from_seed(seed, name).address for seed in range(5) for name in ("north", "south", "")
    }
    assert len(others) == 15
    assert recover(DIGEST, key.sign(DIGEST)) == key.address


def test_simulated_keys_stay_the_same_from_release_to_release():
    assert Key.from_seed(0, "ada").address == "0xddd0794b34fb414000049db9b87a0a7264989f55"


def test_a_name_cannot_pass_for_a_part_of_the_seed():
    assert Key.from_seed(1, "2\nx").address != Key.from_seed(12, "x").address
    assert Key.from_seed(1, "é").address != Key.from_seed(1, "e").address
    assert Key.from_seed(1, "\ud800").simulated


@pytest.mark.parametrize(
    ("seed", "name"),
    [
        (-1, "x"),
        (2**64, "x"),
        (True, "x"),
        (1.0, "x"),
        ("1", "x"),
        (None, "x"),
        (1, None),
        (1, b"x"),
        (1, "x" * 257),
    ],
)
def test_a_seed_or_name_of_another_kind_is_refused(seed, name):
    with pytest.raises(ConfigError, match="key must be"):
        Key.from_seed(seed, name)


def test_simulated_keys_are_the_same_in_every_process():
    code = "from colearn.identity import Key; print(Key.from_seed(3, 'x').address)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == Key.from_seed(3, "x").address
