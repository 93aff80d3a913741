import os
import random
from dataclasses import replace

import pytest

from colearn.errors import ConfigError
from colearn.network.invitation import LINK_BYTES_MAX, Invitation, is_web_url, read_invitation

SEED = int(os.environ.get("COLEARN_SEED", "7"))
CONTRACT = "0x" + "ab" * 20
PLAIN = Invitation("http://127.0.0.1:8463", "1" * 64, 1, "2" * 64, "3" * 64, "hosted")
ALL_KINDS = [
    PLAIN,
    replace(PLAIN, ledger="https://ledger.example/group", experiment=12345, store="peers"),
    replace(PLAIN, ledger=f"evm+http://127.0.0.1:8545/{CONTRACT}@17", genesis=None, store="peers"),
    replace(PLAIN, store="s3://weights/digits/first"),
    replace(PLAIN, ledger="embedded:/home/ä b/ledger.db", store="directory:/home/ä b/blobs"),
    replace(PLAIN, store="peers", peers=("https://ada.example", "http://[::1]:9000/colearn")),
]


@pytest.mark.parametrize("invitation", ALL_KINDS)
def test_a_link_reads_back_equal_and_survives_spaces_around_it(invitation):
    link = invitation.to_link()
    assert link.startswith("colearn://join?ledger=")
    assert link.isascii()
    assert " " not in link
    assert read_invitation(f"  {link}\n") == invitation


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ledger": "ftp://x"}, "ledger"),
        ({"ledger": "http://me:secret@host"}, "ledger"),
        ({"ledger": "http://host?key=secret"}, "ledger"),
        ({"ledger": "http://"}, "ledger"),
        ({"ledger": "http://host:0"}, "ledger"),
        ({"ledger": "http://host:99999"}, "ledger"),
        ({"ledger": "embedded:here.db"}, "ledger"),
        ({"ledger": f"evm+http://me:secret@h/{CONTRACT}", "genesis": None}, "ledger"),
        ({"ledger": f"evm+http://h/{CONTRACT}"}, "genesis"),
        ({"genesis": None}, "genesis"),
        ({"genesis": "A" * 64}, "genesis"),
        ({"specification": "2" * 63}, "specification"),
        ({"model": ""}, "model"),
        ({"experiment": 0}, "experiment"),
        ({"experiment": True}, "experiment"),
        ({"store": "tape"}, "store"),
        ({"store": "s3://a"}, "store"),
        ({"store": "directory:blobs"}, "store"),
        ({"ledger": "embedded:/x", "store": "hosted"}, "store"),
        ({"peers": ("http://me:secret@host",)}, "peer"),
        ({"peers": ("http://a", "http://a")}, "peer"),
        ({"peers": tuple(f"http://h{i}" for i in range(17))}, "peer"),
        ({"peers": tuple(f"http://{'h' * 900}{i}" for i in range(5))}, "peer"),
    ],
)
def test_what_does_not_fit_is_named_by_its_field_and_no_secret_is_repeated(changes, field):
    with pytest.raises(ConfigError, match=f"'{field}'") as error:
        replace(PLAIN, **changes)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("https://x", "begins with colearn://join?"),
        ("colearn://join?", "no field"),
        (PLAIN.to_link() + "&colour=red", "no field 'colour'"),
        (PLAIN.to_link() + "&model=" + "4" * 64, "'model' is there twice"),
        (PLAIN.to_link().replace("&store=hosted", ""), "'store' is missing"),
        (PLAIN.to_link().replace("experiment=1", "experiment=01"), "'experiment'"),
        (PLAIN.to_link().replace("experiment=1", "experiment=%31"), "not written as"),
        (PLAIN.to_link().replace("hosted", "%FF"), "'store' is empty or no text"),
        (PLAIN.to_link().replace("hosted", "hosted%0A"), "'store' is empty or no text"),
        (PLAIN.to_link().replace("store=hosted", "store"), "'store' is empty or no text"),
        ("colearn://join?" + "a" * LINK_BYTES_MAX, "at most"),
    ],
)
def test_a_link_that_is_none_is_refused_in_words(link, said):
    with pytest.raises(ConfigError, match="^") as error:
        read_invitation(link)
    assert said in str(error.value)


def test_a_changed_character_gives_another_invitation_or_an_error():
    rng = random.Random(SEED)
    print("seed", SEED)
    for _ in range(2000):
        link = list(rng.choice(ALL_KINDS).to_link())
        place = rng.randrange(len(link))
        before, link[place] = link[place], chr(rng.randrange(1, 0x250))
        text = "".join(link)
        if link[place] == before:
            continue
        try:
            invitation = read_invitation(text)
        except ConfigError:
            continue
        assert invitation.to_link() == text.strip()


def test_addresses_of_servers_have_neither_user_nor_query():
    assert is_web_url("https://host:1/path")
    for wrong in ("", "host", "http:/host", "http://a b", "http://a#b", "http://ä", "http://h\\x"):
        assert not is_web_url(wrong)
