"""Attacks tell members apart where nothing hides them, and do not where it is hidden."""

import math

import pytest

from colearn.audit.attacks import crafted_vote_attack
from colearn.audit.guards import check_guards
from colearn.audit.mechanism import Settings
from colearn.audit.report import Verdict
from colearn.audit.shown import check_membership, check_votes, crafted, voter
from colearn.audit.spends import Target, check_spends
from colearn.errors import ConfigError, PrivacyError
from colearn.interface import VotePrivacyConfig
from colearn.privacy import Partition, Privacy, PrivacyLedger, SampledGaussian, ZeroConcentrated

TRIALS = 400


def test_exact_votes_reveal_a_record():
    found = crafted_vote_attack(voter(lambda: None), crafted(), trials=40)
    assert (found.accuracy, found.trials) == (1.0, 40)


def test_private_votes_do_not(tmp_path):
    check = check_votes(TRIALS)
    assert check.numbers["exact"] == 1.0
    # e0 allows .515; five standard errors above it come by chance less than once in 10**6.
    assert check.numbers["private"] < 0.515 + 5 * 0.5 / math.sqrt(TRIALS)
    assert check.verdict is Verdict.PASSED


def test_a_vote_with_too_large_an_e0_is_told(tmp_path):
    """The attack itself sees a mechanism that promises more than it keeps."""
    # It says yes for certain with the record, and once in four without: .875 are expected, and
    # .6 or less come by chance less than once in 10**6.
    loud = VotePrivacyConfig(epsilon=100.0, planned_votes=1, delta=1e-6)
    numbers = iter(range(1000))

    def privacy():
        return Privacy(votes=loud, directory=tmp_path, dataset=f"t{next(numbers)}")

    assert crafted_vote_attack(voter(privacy), crafted(), trials=100).accuracy > 0.6


def test_who_abstains_tells_nothing():
    class Abstaining:
        def mli_test_weights(self, weights):
            return type("Answer", (), {"vote": None})

    found = crafted_vote_attack(lambda _: Abstaining(), crafted(), trials=10)
    assert found.accuracy == 0.5
    with pytest.raises(ConfigError):
        crafted_vote_attack(lambda _: Abstaining(), crafted(), trials=0)


def test_membership_shows_without_privacy():
    check = check_membership()
    assert check.numbers["auc without privacy"] > 0.65
    assert check.numbers["auc"] < check.numbers["auc without privacy"] + 0.1
    assert check.verdict is Verdict.PASSED


def test_what_would_leak_is_refused():
    pytest.importorskip("opacus")
    check = check_guards()
    assert (check.verdict, check.findings) == (Verdict.PASSED, [])


TARGETS = {"train": Target(4.0, 1e-5), "vote": Target(2.0, 1e-6)}


@pytest.fixture
def record(tmp_path):
    ledger = PrivacyLedger.open(tmp_path / "ada", "rows")
    ledger.spend(
        Partition("s", "train"), SampledGaussian(2.0, 1.0, 1), epsilon=9, delta=1e-5, purpose=""
    )
    ledger.spend(Partition("s", "vote"), ZeroConcentrated(0.01), epsilon=9, delta=1e-6, purpose="")
    ledger.keep_vote("a question", True)
    return ledger


def test_a_record_within_its_targets_passes(record):
    check = check_spends([record.path], TARGETS)
    assert (check.verdict, check.findings) == (Verdict.PASSED, [])
    assert check.numbers["ada train epsilon"] == pytest.approx(1.993, abs=1e-3)


def test_a_record_beyond_its_target_is_a_finding(record):
    for _ in range(3):
        record.spend(
            Partition("s", "train"), SampledGaussian(2.0, 1.0, 1), epsilon=9, delta=1e-5, purpose=""
        )
    check = check_spends([record.path], TARGETS)
    assert check.verdict is Verdict.FAILED
    assert "train has consumed epsilon 4.37" in check.findings[0]
    assert "4 was agreed" in check.findings[0]


def test_a_damaged_record_is_a_finding_and_names_the_line(record):
    text = record.path.read_text()
    record.path.write_text(text.replace("0.01", "0.02"))
    check = check_spends([record.path], TARGETS)
    assert check.verdict is Verdict.FAILED
    assert check.findings[0].startswith("Line 3 of ")


def test_without_records_it_is_not_done():
    assert check_spends([], TARGETS).verdict is Verdict.NOT_DONE


def test_a_mechanism_that_the_engine_stops_is_a_finding(monkeypatch):
    from colearn.audit import privacy

    def broken(settings):
        raise PrivacyError("a norm is over the bound")

    monkeypatch.setattr(privacy.subjects, "linear", broken)
    settings = Settings()
    check = privacy._conformance("linear", lambda: privacy.subjects.linear(settings), settings)
    assert check.verdict is Verdict.FAILED
    assert "a norm is over the bound" in check.findings[0]
