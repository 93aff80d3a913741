"""What was spent outlives kill -9, and what was answered is answered alike."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.private_runner import CONFIG, NAMES, QUESTIONS, ROUNDS, answers, voter
from tests.private_learners import MODEL, ledgers, partition, spends

from colearn.audit import audit, open_source
from colearn.privacy import VoteEntry
from colearn.store import Archive, DirectoryStore
from colearn.weights import freeze

ROOT = Path(__file__).parents[2]


def start(what, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.private_runner", what, str(folder)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def entries(folder):
    """Return every entry of each member's record, as it is on the disk."""
    return {ledger.path: ledger.entries() for ledger in ledgers(folder / "privacy")}


def consumed(folder):
    found = {}
    for ledger in ledgers(folder / "privacy"):
        parts = {each.partition for each in spends(ledger.path.parent, "train")}
        for part in parts:
            found[ledger.path] = ledger.consumed(part, CONFIG.target_delta)
    return found


def killed(folder, chance):
    """Kill the run after it has gone on a while; False if it has ended by itself."""
    path = folder / "observations.jsonl"
    before = path.stat().st_size if path.exists() else 0
    process = start("run", folder)
    while process.poll() is None and (path.stat().st_size if path.exists() else 0) == before:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.15))
    ended = process.poll() is not None
    process.kill()
    _, err = process.communicate(timeout=60)
    assert not ended or process.returncode == 0, err
    return not ended


@pytest.mark.slow
def test_what_was_spent_never_falls_and_no_round_is_lost(tmp_path):
    seed = int(os.environ.get("COLEARN_TEST_SEED", random.randrange(2**32)))
    print("seed", seed)
    chance, folder, kills = random.Random(seed), tmp_path / "run", 0
    written, before = {}, {}
    while kills < 3 and killed(folder, chance):
        kills += 1
        now, spent = entries(folder), consumed(folder)
        for path, lines in written.items():
            assert now[path][: len(lines)] == lines
        for path, epsilon in before.items():
            assert epsilon <= spent[path] <= CONFIG.target_epsilon
        written, before = now, spent
    assert kills >= 2
    process = start("run", folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert [each["round_number"] for each in records] == list(range(1, ROUNDS + 1))
    assert all(each["proposal"] for each in records)
    report = audit(open_source(str(folder)))
    assert report.passed, report
    assert_kept(folder, records)


def assert_kept(folder, records):
    """Hold what was voted and claimed against what was written down and paid for."""
    archive = Archive(DirectoryStore(folder / "blobs"))
    for name in NAMES:
        (ledger,) = ledgers(folder / "privacy" / name)
        ledger.verify()
        split = partition(folder / "privacy" / name, "vote").split
        lines = ledger.entries()
        kept = {each.question: each.vote for each in lines if isinstance(each, VoteEntry)}
        model, asked = first_model(folder), 0
        for record in records:
            if name in record["votes"]:
                question = f"{model} {record['proposal']} {split}"
                vote = kept[hashlib.sha256(question.encode()).hexdigest()]
                assert record["votes"][name] == ("approve" if vote else "reject")
                asked += 1
            model = record["model"]
        paid = len(spends(folder / "privacy" / name, "vote"))
        # A vote that was paid for and never drawn is lost, and so is its price.
        assert asked <= len(kept) <= paid
        own = [each["proposal"] for each in records if each["proposer"] == name]
        claims = [float(archive.get(each).metadata["dp.consumed_epsilon"]) for each in own]
        assert claims == sorted(claims)
        assert claims[-1] <= consumed(folder)[ledger.path] <= CONFIG.target_epsilon


def first_model(folder):
    """Return the digest of model 0: of weights that are zero, without a claim."""
    archive = Archive(DirectoryStore(folder / "blobs"))

    return archive.get(freeze(MODEL).digest).digest


def test_a_vote_that_was_cast_before_kill_9_is_the_same_afterwards(tmp_path):
    process = start("vote", tmp_path)
    said = [process.stdout.readline().strip() for _ in range(QUESTIONS // 2)]
    process.kill()
    more, err = process.communicate(timeout=60)
    said += more.split()
    assert set(said) <= {"True", "False"}, err
    again = list(answers(voter(tmp_path)))
    # Half of them are fair coins that were thrown: drawn again they would agree with chance 1e-6.
    assert [str(each) for each in again[: len(said)]] == said
    # One may have been paid for and not drawn, and then the last one is not left.
    assert again.count(None) <= 1
    assert len(spends(tmp_path)) == QUESTIONS
