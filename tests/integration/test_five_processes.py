import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.member import MODEL, RULES, SPECIFICATION, key

from colearn.audit import audit, open_source
from colearn.core import Outcome, calls
from colearn.core.events import Closed
from colearn.experiment.group import EXPERIMENT
from colearn.ledger import EmbeddedLedger

ROOT = Path(__file__).parents[2]
MEMBERS = 5


def started(folder):
    """Make a ledger on which everybody has joined and the experiment runs."""
    keys = [key(place) for place in range(MEMBERS)]
    EmbeddedLedger.create(folder / "ledger.db", keys[0].address, drift_s=5)
    with EmbeddedLedger(folder / "ledger.db") as ledger:
        ledger.submit(keys[0], calls.Create(SPECIFICATION, MODEL.digest, RULES.to_word(), ""))
        ledger.submit(keys[0], calls.Invite(EXPERIMENT, tuple(each.address for each in keys)))
        for each in keys:
            ledger.submit(each, calls.Join(EXPERIMENT, SPECIFICATION, MODEL.digest, "00" * 32))
        roster = ledger.experiment(EXPERIMENT).roster.digest
        ledger.submit(keys[0], calls.Start(EXPERIMENT, roster))


def member(folder, place):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.member", str(folder), str(place)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_five_processes_on_one_file_survive_kill_9_and_end_on_one_head(tmp_path):
    seed = int(os.environ.get("COLEARN_TEST_SEED", random.randrange(2**32)))
    print("seed", seed)
    chance = random.Random(seed)
    started(tmp_path)
    running = {place: member(tmp_path, place) for place in range(MEMBERS)}
    kills = 0
    try:
        while any(each.poll() is None for each in running.values()):
            time.sleep(chance.uniform(0.1, 0.5))
            place = chance.randrange(MEMBERS)
            if kills < 20 and running[place].poll() is None:
                running[place].kill()
                running[place].communicate()
                running[place] = member(tmp_path, place)
                kills += 1
        said = {place: each.communicate(timeout=60) for place, each in running.items()}
    finally:
        for each in running.values():
            each.kill()
            each.wait()
    assert kills >= 5
    for place, (_, err) in said.items():
        assert running[place].returncode == 0, err.decode()
    assert len({out for out, _ in said.values()}) == 1
    closed = []
    views = [EmbeddedLedger(tmp_path / "ledger.db") for _ in range(2)]
    views[0].listen(lambda happening: closed.extend(happening.events))
    for view in views:
        view.sync()
        view.close()
    assert views[0].head == views[1].head
    rounds = [event for event in closed if isinstance(event, Closed)]
    accepted = [event for event in rounds if event.result is Outcome.ACCEPTED]
    assert len(rounds) >= RULES.rounds
    print(f"{kills} kills, {len(rounds)} rounds, {len(accepted)} accepted")
    assert len(accepted) >= 60
    assert views[0].certified(EXPERIMENT) > 0
    assert audit(open_source(str(tmp_path))).passed
