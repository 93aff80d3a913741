import os
import signal
import sys
import textwrap
import time

import pytest

from colearn.core import Ballot
from colearn.errors import LearnerError, StoreError
from colearn.network.worker import ProcessWorker
from colearn.worker import Accept, Done, Judge, Observation, Propose

PROPOSE, JUDGE = Propose(3, "aa" * 32), Judge(3, "aa" * 32, ("bb" * 32, "cc" * 32))
DONE = (
    '{"done": {"observations": [{"round_number": 3, "member": "ada"}],'
    ' "proposal": "dd", "ballots": ["APPROVE", "REJECT"]}}'
)


@pytest.fixture
def made():
    workers = []

    def make(lines, limit_s=30.0):
        """Return a worker whose process does, for each job it reads, the next of `lines`."""
        program = textwrap.dedent("""
            import json, os, sys, time
            print('{"ready": "yes"}', flush=True)
            for number, job in enumerate(sys.stdin):
                exec(sys.argv[1:][number])
        """)
        worker = ProcessWorker([sys.executable, "-c", program, *lines], name="ada", limit_s=limit_s)
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        worker.close()


def ended(worker, job):
    found = worker.work(job)
    while found is None:
        assert worker.wait(20)
        found = worker.work(job)
    return found


def says(text):
    return f"print({text!r}, flush=True)"


def test_a_job_is_done_once_and_its_result_is_kept(made):
    worker = made([says(DONE), "os._exit(1)"])
    assert not worker.busy
    assert worker.work(PROPOSE) is None
    assert worker.busy
    done = Done((Observation(3, "ada"),), "dd", (Ballot.APPROVE, Ballot.REJECT))
    assert ended(worker, PROPOSE) == done
    assert worker.work(PROPOSE) == done
    assert not worker.busy
    assert worker.restarts == 0


def test_another_job_waits_for_the_end_of_the_first_whose_result_is_thrown_away(made):
    worker = made(["time.sleep(0.2);" + says(DONE), says(DONE.replace("dd", "ee"))])
    assert worker.work(Accept(2, "aa" * 32)) is None
    assert worker.work(PROPOSE) is None
    assert ended(worker, PROPOSE).proposal == "ee"


def test_a_worker_that_dies_is_silent_and_started_anew(made):
    worker = made(["os._exit(7)"])
    done = ended(worker, JUDGE)
    assert done.ballots == (Ballot.SILENT, Ballot.SILENT)
    assert done.observations[0].failure == "Died"
    assert "7" in done.observations[0].reason
    assert worker.pid is None
    again = ended(worker, PROPOSE)
    assert again.proposal is None
    assert worker.restarts == 2


def test_a_worker_that_is_killed_half_way_is_silent(made):
    worker = made(["time.sleep(60)"])
    assert worker.work(PROPOSE) is None
    os.kill(worker.pid, signal.SIGKILL)
    done = ended(worker, PROPOSE)
    assert (done.proposal, done.observations[0].failure) == (None, "Died")


def test_a_worker_that_hangs_is_given_up_and_killed(made):
    worker = made(["time.sleep(60)"], limit_s=0.5)
    assert worker.work(JUDGE) is None
    hanging = worker.pid
    done = ended(worker, JUDGE)
    assert done.observations[0].failure == "TimedOut"
    assert done.ballots == (Ballot.SILENT, Ballot.SILENT)
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)


def test_waiting_ends_at_its_time_while_the_job_goes_on(made):
    worker = made(["time.sleep(1);" + says(DONE)])
    assert worker.work(PROPOSE) is None
    assert not worker.wait(0.01)
    assert worker.busy
    assert ended(worker, PROPOSE).proposal == "dd"


def test_weights_that_cannot_be_read_are_an_error_and_the_job_can_be_repeated(made):
    worker = made([says('{"error": "the disk is full"}'), says(DONE)])
    with pytest.raises(StoreError, match="the disk is full"):
        ended(worker, PROPOSE)
    assert ended(worker, PROPOSE).proposal == "dd"


def test_a_learner_that_cannot_be_made_says_why():
    program = """print('{"failed": "no such file: rows.csv"}')"""
    worker = ProcessWorker([sys.executable, "-c", program], name="ada", limit_s=9)
    with pytest.raises(LearnerError, match=r"rows\.csv"):
        worker.start(30)
    quiet = ProcessWorker([sys.executable, "-c", "pass"], name="ada", limit_s=9)
    with pytest.raises(LearnerError, match="process ended"):
        quiet.start(30)


def test_a_learner_that_takes_too_long_to_be_made_is_an_error():
    slow = ProcessWorker(
        [sys.executable, "-c", "import time; time.sleep(60)"], name="ada", limit_s=9
    )
    with pytest.raises(LearnerError, match="not ready"):
        slow.start(0.5)
    assert slow.pid is None


def test_closing_ends_the_process_also_while_it_works(made):
    worker = made(["time.sleep(60)"])
    assert worker.work(PROPOSE) is None
    pid, began = worker.pid, time.monotonic()
    worker.close()
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
