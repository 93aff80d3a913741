import pytest
from eth_account import Account
from eth_keys import KeyAPI
from eth_keys.backends import NativeECCBackend
from eth_keys.exceptions import BadSignature, ValidationError
from eth_utils import keccak as their_keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from colearn.crypto import (
    GROUP_ORDER,
    address_of,
    checksum_address,
    is_low_s,
    keccak256,
    parse_address,
    recover,
)
from colearn.errors import ConfigError, SignatureError

# Pure Python, so that it shares no line with what is tested.
NATIVE = KeyAPI(NativeECCBackend())
# The examples of EIP-55: all upper, all lower, mixed.
CHECKSUMMED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]
SECRETS = st.integers(1, GROUP_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
DIGESTS = st.binary(min_size=32, max_size=32)
DIGEST = keccak256(b"a digest")


def signed(secret=b"\x01" * 32, digest=DIGEST):
    signature = Account.unsafe_sign_hash(digest, secret)
    return bytes(signature.signature)


def twin(signature):
    """The same signature with the other s: what anybody can make of it."""
    s = GROUP_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((27 + 28 - signature[64],))


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"testing", "5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02"),
        (
            b"The quick brown fox jumps over the lazy dog",
            "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15",
        ),
        (
            b"transfer(address,uint256)",
            "a9059cbb2ab09eb219583f4a59a5d0623ade346d962bcd4e46b11da047c9049b",
        ),
    ],
)
def test_known_keccak_digests(data, digest):
    assert keccak256(data).hex() == digest


@given(st.binary(max_size=400))
def test_keccak_agrees_with_another_library(data):
    assert keccak256(data) == their_keccak(data)


@settings(deadline=None)
@given(SECRETS, DIGESTS)
def test_recovers_the_signer_of_what_another_library_signed(secret, digest):
    signature = signed(secret, digest)
    address = Account.from_key(secret).address
    assert recover(digest, signature) == address.lower()
    assert is_low_s(signature)


@settings(deadline=None)
@given(SECRETS, DIGESTS)
def test_recovers_from_the_twin_with_a_high_s_too(secret, digest):
    other = twin(signed(secret, digest))
    assert recover(digest, other) == Account.from_key(secret).address.lower()
    assert not is_low_s(other)


@settings(deadline=None, max_examples=20)
@given(SECRETS, DIGESTS)
def test_recovers_what_a_library_in_pure_python_signed(secret, digest):
    key = NATIVE.PrivateKey(secret)
    signature = key.sign_msg_hash(digest).to_bytes()
    ours = signature[:64] + bytes((signature[64] + 27,))
    assert recover(digest, ours) == key.public_key.to_address()


@settings(deadline=None, max_examples=40)
@given(DIGESTS, st.binary(min_size=64, max_size=64), st.sampled_from((27, 28)))
def test_agrees_with_another_library_about_any_bytes(digest, halves, v):
    try:
        theirs = NATIVE.Signature(halves + bytes((v - 27,)))
        address = theirs.recover_public_key_from_msg_hash(digest).to_address()
    except (BadSignature, ValidationError):
        with pytest.raises(SignatureError):
            recover(digest, halves + bytes((v,)))
    else:
        assert recover(digest, halves + bytes((v,))) == address


def test_another_digest_gives_another_signer():
    assert recover(keccak256(b"other"), signed()) != recover(DIGEST, signed())


@pytest.mark.parametrize("v", sorted({*range(256)} - {27, 28}))
def test_any_other_last_byte_is_refused(v):
    with pytest.raises(SignatureError, match=f"27 or 28, got {v}"):
        recover(DIGEST, signed()[:64] + bytes((v,)))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 66, 130])
def test_any_other_length_is_refused(size):
    with pytest.raises(SignatureError, match=f"65 bytes, got {size} bytes"):
        recover(DIGEST, (signed() * 2)[:size])
    assert not is_low_s(bytes(size))


@pytest.mark.parametrize("digest", [b"", DIGEST[:31], DIGEST + b"\0"])
def test_a_digest_of_another_length_is_refused(digest):
    with pytest.raises(SignatureError, match="32 bytes"):
        recover(digest, signed())


@pytest.mark.parametrize("value", [None, "0x" + "00" * 65, bytearray(65), 65])
def test_what_is_not_bytes_is_refused(value):
    with pytest.raises(SignatureError):
        recover(DIGEST, value)
    with pytest.raises(SignatureError):
        recover(value, signed())


ZERO = bytes(32)
ORDER = GROUP_ORDER.to_bytes(32, "big")
ONES = b"\xff" * 32


@pytest.mark.parametrize(
    ("r", "s"),
    [
        (ZERO, None),
        (None, ZERO),
        (ZERO, ZERO),
        (ORDER, None),
        (None, ORDER),
        (ONES, None),
        (None, ONES),
    ],
)
def test_numbers_out_of_range_are_refused(r, s):
    signature = signed()
    forged = (r or signature[:32]) + (s or signature[32:64]) + signature[64:]
    with pytest.raises(SignatureError, match="No key"):
        recover(DIGEST, forged)


def test_an_x_that_is_on_no_point_of_the_curve_is_refused():
    with pytest.raises(SignatureError, match="No key"):
        recover(DIGEST, (5).to_bytes(32, "big") + signed()[32:])


def test_the_border_of_low_s():
    half = GROUP_ORDER // 2
    for s, low in ((1, True), (half, True), (half + 1, False), (GROUP_ORDER - 1, False)):
        assert is_low_s(bytes(32) + s.to_bytes(32, "big") + b"\x1b") is low


@settings(deadline=None, max_examples=20)
@given(SECRETS)
def test_the_address_of_a_public_key(secret):
    public = NATIVE.PrivateKey(secret).public_key
    assert address_of(b"\x04" + public.to_bytes()) == public.to_address()


@pytest.mark.parametrize("key", [b"", b"\x04" * 64, b"\x02" + bytes(64), b"\x03" + bytes(32)])
def test_a_public_key_in_another_form_is_refused(key):
    with pytest.raises(SignatureError, match="public key"):
        address_of(key)


@pytest.mark.parametrize("address", CHECKSUMMED)
def test_the_checksums_of_eip_55(address):
    assert checksum_address(address.lower()) == address
    assert checksum_address(address) == address
    assert parse_address(address) == address.lower()
    assert parse_address(address.lower()) == address.lower()
    assert parse_address("0x" + address[2:].upper()) == address.lower()


@pytest.mark.parametrize("address", CHECKSUMMED[4:])
def test_one_letter_in_the_wrong_case_is_refused(address):
    for place, letter in enumerate(address):
        if place > 1 and letter.isalpha():
            wrong = address[:place] + letter.swapcase() + address[place + 1 :]
            with pytest.raises(ConfigError, match="checksum"):
                parse_address(wrong)
            with pytest.raises(ConfigError, match="checksum"):
                checksum_address(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "52908400098527886e0f7030069857d2e4169ee7",
        "0X52908400098527886e0f7030069857d2e4169ee7",
        "0x52908400098527886e0f7030069857d2e4169ee",
        "0x52908400098527886e0f7030069857d2e4169ee7\n",
        " 0x52908400098527886e0f7030069857d2e4169ee7",
        "0x52908400098527886e0f7030069857d2e4169eeg",
        "0x" + "٣" * 40,
        "0x" + "K" * 40,
        None,
        b"0x52908400098527886e0f7030069857d2e4169ee7",
        0x52908400098527886E0F7030069857D2E4169EE7,
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match="40 hexadecimal digits"):
        parse_address(text)
    with pytest.raises(ConfigError):
        checksum_address(text)


def test_a_secret_pasted_for_an_address_is_not_repeated():
    secret = "0x" + "5e" * 32
    with pytest.raises(ConfigError, match="got 66 characters") as caught:
        parse_address(secret)
    assert "5e5e" not in str(caught.value)
