import hashlib
import importlib.util
import os
import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest

import colearn.ledger.contract as package
from colearn.core.calls import CALLS, SignedBallot
from colearn.core.events import EVENTS
from colearn.core.refusal import Reason
from colearn.ledger.contract import artefact

FOLDER = Path(package.__file__).parent
SOURCE = (FOLDER / "Colearn.vy").read_text()
SCRIPT = Path(__file__).parents[3] / "scripts" / "build_contract.py"
CODE_BYTES_MAX = 24_576
"""The largest code that a chain takes (EIP-170)."""

CALL_TYPES = {
    "create": "bytes32,bytes32,uint256,string",
    "invite": "uint256,address[]",
    "join": "uint256,bytes32,bytes32,bytes32",
    "start": "uint256,bytes32",
    "contribute": "uint256,uint256,bytes32,bytes32",
    "propose": "uint256,uint256,bytes32,uint256,bytes32[],string",
    "skip": "uint256,uint256",
    "vote": "uint256,uint256,bytes32,uint256,uint256,bytes32",
    "abstain": "uint256,uint256,bytes32",
    "commit": "uint256,uint256,bytes32",
    "reveal": "uint256,uint256,uint256,uint256,bytes32,bytes32",
    "vote_many": "uint256,uint256,tuple[]",
    "advance": "uint256,uint256,uint256",
    "wake": "uint256",
    "leave": "uint256",
    "motion": "uint256,uint256,uint256,address",
    "confirm": "uint256,bytes32",
}
EVENT_TYPES = {
    "Created": ("uint256,address", "bytes32,bytes32,uint256,string"),
    "Member": ("uint256,address", "uint256"),
    "Joined": ("uint256,address", "uint256,bytes32"),
    "Started": ("uint256", "bytes32"),
    "Opened": ("uint256,uint256", "uint256,uint256,uint256"),
    "Contributed": ("uint256,uint256,address", "bytes32"),
    "Proposed": (
        "uint256,uint256,address",
        "bytes32,bytes32,uint256,bytes32[],string,uint256",
    ),
    "Skipped": ("uint256,uint256,address", ""),
    "Voted": ("uint256,uint256,address", "uint256,uint256,bool,bytes32"),
    "Committed": ("uint256,uint256,address", "bytes32"),
    "Revealed": ("uint256,uint256,address", "uint256,uint256,bytes32,bytes32"),
    "Missed": ("uint256,uint256", "uint256,uint256"),
    "Closed": ("uint256,uint256", "uint256,uint256,bytes32"),
    "MotionSupported": ("uint256,address,address", "uint256,uint256,bool"),
    "Awoke": ("uint256,address", ""),
    "Confirmed": ("uint256,address", "bytes32"),
}
GETTERS = {"turn", "desk", "rules", "model", "key", "members", "todo"}


def of_type(kind):
    return {entry["name"]: entry for entry in artefact().abi if entry["type"] == kind}


def build_script():
    if importlib.util.find_spec("vyper") is None and os.environ.get("COLEARN_REQUIRE_ALL") != "1":
        pytest.skip("no compiler here: pip install -c constraints.txt 'colearn[dev]'")
    return runpy.run_path(str(SCRIPT))


def test_the_committed_artefact_is_what_the_source_compiles_to():
    build = build_script()
    assert build["text"](build["compiled"](SOURCE)) == (FOLDER / "Colearn.json").read_text()


def test_another_comment_compiles_to_the_same_bytecode():
    build = build_script()
    commented = f"{SOURCE}\n# another comment\n"
    assert build["compiled"](commented)["bytecode"] == artefact().bytecode.hex()


def test_the_digest_is_that_of_the_committed_file():
    data = (FOLDER / "Colearn.json").read_bytes()
    assert artefact().digest == hashlib.sha256(data).hexdigest()


def test_the_code_fits_on_a_chain_with_its_immutable_word():
    compiled = artefact()
    assert compiled.bytecode.endswith(compiled.runtime)
    assert 0 < len(compiled.runtime) + 32 <= CODE_BYTES_MAX


def test_it_is_compiled_for_an_old_evm_by_the_compiler_that_the_source_names():
    assert artefact().evm_version == "london"
    assert artefact().compiler == "vyper 0.4.3"
    assert SOURCE.startswith("# pragma version 0.4.3\n# pragma evm-version london\n")


def test_the_interface_is_every_call_and_a_few_getters():
    functions = of_type("function")
    assert set(functions) == set(CALLS) | GETTERS
    for name, entry in functions.items():
        changes = "view" if name in GETTERS else "nonpayable"
        assert entry["stateMutability"] == changes
    for name, kinds in CALL_TYPES.items():
        inputs = functions[name]["inputs"]
        assert ",".join(each["type"] for each in inputs) == kinds, name
        assert [each["name"] for each in inputs] == [each.name for each in fields(CALLS[name])]
    (ballots,) = (each for each in functions["vote_many"]["inputs"] if each["type"] == "tuple[]")
    shown = [each["name"] for each in ballots["components"]]
    assert shown == [*[each.name for each in fields(SignedBallot)][:-1], "v", "r", "s"]


def test_the_events_are_those_of_the_pure_rules_field_by_field():
    events = of_type("event")
    assert set(events) == set(EVENTS) == set(EVENT_TYPES)
    for name, kinds in EVENT_TYPES.items():
        inputs = events[name]["inputs"]
        assert [each["name"] for each in inputs] == [each.name for each in fields(EVENTS[name])]
        indexed = [each["type"] for each in inputs if each["indexed"]]
        others = [each["type"] for each in inputs if not each["indexed"]]
        assert (",".join(indexed), ",".join(others)) == kinds, name


def test_the_contract_refuses_in_the_words_of_the_rules_and_in_no_others():
    said = set(re.findall(r'assert [^\n]*?, "([^"]+)"', SOURCE))
    assert said - {"drift too long"} == set(Reason)


def test_the_contract_takes_no_money_and_reads_neither_blocks_nor_their_randomness():
    assert all(entry.get("stateMutability") != "payable" for entry in artefact().abi)
    for word in (
        "block.number",
        "prevrandao",
        "block.difficulty",
        "selfdestruct",
        "raw_call",
        "send(",
    ):
        assert word not in SOURCE


def test_every_external_function_says_what_it_does_and_takes():
    functions = re.findall(
        r"@external\ndef (\w+)\((.*?)\).*?:\n    \"\"\"(.*?)\"\"\"", SOURCE, re.DOTALL
    )
    assert {name for name, _, _ in functions} == set(CALLS)
    for name, arguments, doc in functions:
        assert "@notice" in doc, name
        for argument in re.findall(r"(\w+): ", arguments):
            assert f"@param {argument} " in doc, (name, argument)
