import pytest

from colearn.errors import ConfigError
from colearn.ledger.evm_url import is_evm_url, parse_node_url, parse_url

CONTRACT = "0x52908400098527886e0f7030069857d2e4169ee7"
CHECKSUMMED = "0x52908400098527886E0F7030069857D2E4169EE7"


@pytest.mark.parametrize(
    ("text", "node", "start"),
    [
        (f"evm+http://127.0.0.1:8545/{CONTRACT}", "http://127.0.0.1:8545", None),
        (f"evm+https://host/{CHECKSUMMED}@17", "https://host", 17),
        (f"evm+https://host/v3/SECRET/{CONTRACT}@0", "https://host/v3/SECRET", 0),
        (f"evm+https://u:p@host/{CONTRACT}?key=SECRET", "https://u:p@host?key=SECRET", None),
        (f"evm+http://[::1]:8545/{CONTRACT}", "http://[::1]:8545", None),
    ],
)
def test_an_address_is_a_node_a_contract_and_perhaps_a_block(text, node, start):
    place = parse_url(text)
    assert (place.node, place.contract, place.start) == (node, CONTRACT, start)
    assert is_evm_url(text)


def test_what_is_shown_of_a_place_holds_no_secret():
    place = parse_url(f"evm+https://user:SECRET@host:9/v3/SECRET/{CONTRACT}@17?key=SECRET")
    assert str(place) == f"evm+https://host:9/.../{CHECKSUMMED}@17"
    assert str(parse_url(f"evm+http://[::1]:8545/{CONTRACT}")) == (
        f"evm+http://[::1]:8545/{CHECKSUMMED}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evm+",
        "evm+http://",
        "evm+http://SECRET:8545",
        f"http://SECRET/{CONTRACT}",
        f"evm+ftp://SECRET/{CONTRACT}",
        f"evm+http://SECRET:99999/{CONTRACT}",
        f"evm+http://SECRET:0/{CONTRACT}",
        f"evm+http://SECRET/{CONTRACT[:-1]}",
        f"evm+http://SECRET/{CONTRACT}0",
        f"evm+http://SECRET/{CONTRACT}@",
        f"evm+http://SECRET/{CONTRACT}@-1",
        f"evm+http://SECRET/{CONTRACT}@0x11",
        f"evm+http://SECRET/{CONTRACT}@{'1' * 16}",
        f"evm+http://SECRET/{CONTRACT}/",
        f"evm+http://SECRET/{CONTRACT}#block",
        f"evm+http://SECRET/\n{CONTRACT}",
        f"evm+http://[SECRET/{CONTRACT}",
        f"evm+http://{'SECRET' * 400}/{CONTRACT}",
    ],
)
def test_anything_else_is_an_error_that_says_what_to_write_and_repeats_nothing(text):
    with pytest.raises(ConfigError) as caught:
        parse_url(text)
    assert "0x" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_changed_letter_of_a_contract_is_found_by_its_checksum():
    changed = CHECKSUMMED.replace("E", "e", 1)
    with pytest.raises(ConfigError, match="checksum"):
        parse_url(f"evm+http://host/{changed}")


def test_where_nothing_is_deployed_yet_no_contract_is_named():
    assert parse_node_url("evm+http://127.0.0.1:8545") == "http://127.0.0.1:8545"
    assert parse_node_url("evm+https://host/v3/key") == "https://host/v3/key"
    with pytest.raises(ConfigError, match="already"):
        parse_node_url(f"evm+http://host/{CONTRACT}")
    with pytest.raises(ConfigError, match="evm\\+http"):
        parse_node_url("http://host")
