import inspect
import re

import pytest

from colearn import errors
from colearn.cli.exits import AUDIT_FINDINGS, exit_code
from colearn.errors import (
    ColearnError,
    ColearnWarning,
    ConfigError,
    LearnerError,
    LedgerError,
    LedgerRejectedError,
    LedgerTamperedError,
    LocalProtocolError,
    MissingExtraError,
    ProtocolError,
    RemoteProtocolError,
    SignatureError,
    StoreError,
    WeightsError,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]


def test_all_names_everything_that_is_there():
    assert sorted(errors.__all__) == sorted(cls.__name__ for cls in CLASSES)


def test_the_docstring_draws_the_tree():
    drawn = re.findall(r"^ {4}([│├└─ ]*)(\w+)(?: +\[(\w+)\])?", errors.__doc__, re.MULTILINE)
    assert sorted(name for _, name, _ in drawn) == sorted(errors.__all__)
    parents = []
    for branch, name, builtin in drawn:
        depth = len(branch) // 4
        parents[depth:] = [name]
        cls = getattr(errors, name)
        if depth:
            assert parents[depth - 1] in {base.__name__ for base in cls.__bases__}
        if builtin:
            assert builtin in {base.__name__ for base in cls.__bases__}


def test_every_error_but_the_warning_is_a_colearn_error():
    for cls in CLASSES:
        assert issubclass(cls, UserWarning if cls is ColearnWarning else ColearnError)
        assert cls.__doc__


def test_the_hint_follows_the_text():
    assert str(ColearnError("It broke.")) == "It broke."
    assert ColearnError("It broke.").hint == ""
    error = ColearnError("It broke.", hint="Mend it.")
    assert str(error) == "It broke. Mend it."
    assert error.hint == "Mend it."


def test_a_config_error_is_a_value_error():
    with pytest.raises(ValueError, match="nonsense"):
        raise ConfigError("nonsense")


def test_a_missing_extra_says_what_to_run():
    error = MissingExtraError("sklearn", extra="demo")
    assert error.extra == "demo"
    assert "'sklearn'" in str(error)
    assert 'pip install "colearn[demo]"' in str(error)


def test_a_learner_error_names_its_learner():
    error = LearnerError("fit failed.", learner="north", hint="Look there.")
    assert error.learner == "north"
    assert str(error) == "Learner 'north': fit failed. Look there."


def test_a_remote_protocol_error_says_who_when_and_which_rule():
    error = RemoteProtocolError("late", peer="0xab", rule="P3.4", round_number=7)
    assert (error.peer, error.rule, error.round_number) == ("0xab", "P3.4", 7)
    assert RemoteProtocolError("late", peer="0xab", rule="P3.4").round_number is None
    assert isinstance(error, ProtocolError)
    assert issubclass(LocalProtocolError, ProtocolError)
    assert not issubclass(WeightsError, ValueError)


def test_a_refused_call_says_why():
    error = LedgerRejectedError("vote was refused.", reason="not your turn", hint="Wait.")
    assert error.reason == "not your turn"
    assert str(error) == "vote was refused. Wait."
    assert isinstance(error, LedgerError)


def test_a_tampered_ledger_names_the_row_and_the_rule():
    error = LedgerTamperedError("Row 7 is not signed.", entry=7, rule="7.9")
    assert (error.entry, error.rule) == (7, "7.9")
    assert LedgerTamperedError("Rows are missing.", entry=None, rule="7.9").entry is None


def test_every_branch_has_its_own_exit_code():
    assert exit_code(LedgerTamperedError("x", entry=1, rule="7.9")) == 7
    for name in ("BlobNotFoundError", "BlobTooLargeError", "DigestMismatchError", "StoreError"):
        assert issubclass(getattr(errors, name), StoreError)
        assert exit_code(getattr(errors, name)("x")) == 8
    assert exit_code(SignatureError("x")) == 1
    assert AUDIT_FINDINGS not in {exit_code(cls("x")) for cls in (LedgerError, StoreError)}
