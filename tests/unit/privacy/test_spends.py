import hashlib
import itertools
import json
import os
import stat
from pathlib import Path

import pytest

from colearn.errors import (
    BudgetExceededError,
    ConfigError,
    SpendsCorruptError,
    SpendsUnavailableError,
)
from colearn.privacy import Partition, PrivacyLedger, SpendEntry, VoteEntry, default_directory
from colearn.privacy.accountant import SampledGaussian, ZeroConcentrated, epsilon_of

TRAIN, VOTE = Partition("one", "train"), Partition("one", "vote")
OTHER = Partition("two", "train")
DELTA = 1e-6
RHO = ZeroConcentrated(0.01)


def epsilon(*rhos):
    return epsilon_of([ZeroConcentrated(sum(rhos))], DELTA) if rhos else 0.0


def spend(ledger, partition=VOTE, event=RHO, limit=100.0):
    return ledger.spend(partition, event, epsilon=limit, delta=DELTA, purpose="a test")


def test_just_the_target_is_allowed_and_no_more(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    limit = epsilon_of([ZeroConcentrated(0.03125)], DELTA)
    part = ZeroConcentrated(0.0078125)
    for _ in range(4):
        assert not ledger.would_exceed(VOTE, part, epsilon=limit, delta=DELTA)
        last = spend(ledger, event=part, limit=limit)
    assert last == limit == ledger.consumed(VOTE, DELTA)
    assert ledger.would_exceed(VOTE, part, epsilon=limit, delta=DELTA)
    size = ledger.path.stat().st_size
    with pytest.raises(BudgetExceededError, match="never comes back") as caught:
        spend(ledger, event=part, limit=limit)
    assert (caught.value.spent, caught.value.limit) == (limit, limit)
    assert caught.value.asked == epsilon(0.0390625)
    assert ledger.path.stat().st_size == size
    tiny = ZeroConcentrated(1e-12)
    with pytest.raises(BudgetExceededError):
        spend(ledger, event=tiny, limit=limit)


def test_proposals_of_one_kind_are_composed_together(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    step = SampledGaussian(2.0, 1.0, 3)
    spend(ledger, TRAIN, step)
    assert spend(ledger, TRAIN, step) == epsilon_of([SampledGaussian(2.0, 1.0, 6)], DELTA)
    other = SampledGaussian(4.0, 1.0, 1)
    both = epsilon_of([SampledGaussian(2.0, 1.0, 6), other], DELTA)
    assert spend(ledger, TRAIN, other) == both


def test_a_restart_keeps_what_was_spent(tmp_path):
    spend(PrivacyLedger.open(tmp_path, "d"))
    again = PrivacyLedger.open(tmp_path, "d")
    assert again.consumed(VOTE, DELTA) == epsilon(0.01)
    assert spend(again) == epsilon(0.02)
    again.verify()


def test_parts_of_one_split_do_not_add_up_and_other_splits_do(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    spend(ledger, VOTE)
    assert ledger.consumed(TRAIN, DELTA) == 0.0
    assert spend(ledger, TRAIN) == epsilon(0.01)
    # Rows of the other experiment's training may be in either part of this one.
    assert spend(ledger, OTHER) == epsilon(0.03)
    assert ledger.consumed(TRAIN, DELTA) == ledger.consumed(VOTE, DELTA) == epsilon(0.02)


def test_two_objects_see_each_other_at_once(tmp_path):
    one, two = PrivacyLedger.open(tmp_path, "d"), PrivacyLedger.open(tmp_path, "d")
    limit = epsilon(0.03)
    spend(one, limit=limit)
    spend(two, limit=limit)
    spend(one, limit=limit)
    with pytest.raises(BudgetExceededError):
        spend(two, limit=limit)
    assert len(one.entries()) == len(two.entries()) == 3


def test_datasets_have_records_of_their_own(tmp_path):
    spend(PrivacyLedger.open(tmp_path, "d"))
    assert PrivacyLedger.open(tmp_path, "e").consumed(VOTE, DELTA) == 0.0


def test_votes_are_kept(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    assert ledger.vote_of("a question") is None
    assert ledger.keep_vote("a question", False) is False
    assert ledger.keep_vote("another \ud800", True) is True
    again = PrivacyLedger.open(tmp_path, "d")
    assert again.vote_of("a question") is False
    assert again.vote_of("another \ud800") is True
    # The first answer stands.
    assert again.keep_vote("a question", True) is False
    assert "question" not in [json.loads(line).get("question") for line in lines(ledger)]
    assert ledger.consumed(VOTE, DELTA) == 0.0


def test_what_was_written_can_be_listed(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    event = SampledGaussian(1.5, 0.25, 10)
    ledger.spend(TRAIN, event, epsilon=1e6, delta=DELTA, purpose="x" * 500 + "\n")
    ledger.keep_vote("q", True)
    one, two = PrivacyLedger.open(tmp_path, "d").entries()
    assert isinstance(one, SpendEntry)
    assert isinstance(two, VoteEntry)
    assert (one.line, one.partition, one.spend, one.purpose) == (2, TRAIN, event, "x" * 200)
    assert one.time > 0
    assert (two.line, two.vote) == (3, True)


def test_each_line_says_what_was_before(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    spend(ledger)
    spend(ledger)
    found = lines(ledger)
    assert json.loads(found[0])["format"] == "colearn-spends-1"
    for before, line in itertools.pairwise(found):
        assert json.loads(line)["before"] == hashlib.sha256(before).hexdigest()


def lines(ledger):
    return ledger.path.read_bytes().splitlines()


@pytest.mark.skipif(os.name == "nt", reason="no such permissions")
def test_others_cannot_read_it(tmp_path):
    ledger = PrivacyLedger.open(tmp_path / "a" / "b", "d")
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in ledger.path.parent.iterdir()] == ["d.spends.jsonl"]


@pytest.mark.parametrize("name", ["", "a/b", "..\\a", "a b", "a" * 129, "a\n", None, 3])
def test_a_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(ConfigError, match="A dataset is named by"):
        PrivacyLedger.open(tmp_path, name)
    with pytest.raises(ConfigError, match="A partition is named by"):
        Partition("s", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "event",
    [SampledGaussian(0.0, 0.5, 1), SampledGaussian(1e-3, 1.0, 10**12)],
)
def test_no_noise_is_never_allowed(tmp_path, event):
    ledger = PrivacyLedger.open(tmp_path, "d")
    with pytest.raises(BudgetExceededError):
        spend(ledger, TRAIN, event, limit=1e5)
    with pytest.raises(BudgetExceededError):
        spend(ledger, limit=float("nan"))
    assert len(lines(ledger)) == 1


def test_values_out_of_range_are_never_written(tmp_path):
    ledger = PrivacyLedger.open(tmp_path, "d")
    with pytest.raises(ConfigError, match="cannot be spent"):
        spend(ledger, TRAIN, SampledGaussian(1e9, 1.0, 10**13))
    assert len(lines(ledger)) == 1


def test_the_folder_is_where_the_system_keeps_state(monkeypatch):
    monkeypatch.setenv("COLEARN_PRIVACY", "/a/b")
    assert default_directory() == Path("/a/b")
    monkeypatch.setenv("COLEARN_PRIVACY", "a/b")
    with pytest.raises(ConfigError, match="absolute"):
        default_directory()
    monkeypatch.delenv("COLEARN_PRIVACY")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert default_directory() == Path("/s/colearn/privacy")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_directory() == Path.home() / ".local" / "state" / "colearn" / "privacy"


def test_a_full_record_takes_no_more(tmp_path, monkeypatch):
    ledger = PrivacyLedger.open(tmp_path, "d")
    spend(ledger)
    monkeypatch.setattr("colearn.privacy._lines.FILE_BYTES_MAX", ledger.path.stat().st_size + 10)
    with pytest.raises(SpendsUnavailableError, match="may have"):
        spend(ledger)
    assert ledger.consumed(VOTE, DELTA) == epsilon(0.01)
    monkeypatch.setattr("colearn.privacy._lines.FILE_BYTES_MAX", 10)
    with pytest.raises(SpendsCorruptError, match="may have 10 bytes"):
        ledger.consumed(VOTE, DELTA)


@pytest.mark.skipif(os.name == "nt", reason="no locks of files")
def test_a_lock_is_not_waited_for_forever(tmp_path, monkeypatch):
    import fcntl

    ledger = PrivacyLedger.open(tmp_path, "d")
    monkeypatch.setattr("colearn.privacy._locking.WAIT_S", 0.05)
    with ledger.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SpendsUnavailableError, match="holds"):
            spend(ledger)
    assert spend(ledger) == epsilon(0.01)
