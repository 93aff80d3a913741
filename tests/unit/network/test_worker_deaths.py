"""A worker's process that dies, or says what it should not, at every awkward moment."""

import math
import os
import signal
import sys
import textwrap

import pytest

from colearn.core import Ballot
from colearn.errors import ColearnError, LearnerError
from colearn.network import worker as worker_module
from colearn.network._jobs import read_done, read_job, write_done, write_job
from colearn.network.worker import ProcessWorker
from colearn.worker import Accept, Done, Judge, Observation, Propose

PROPOSE = Propose(3, "aa" * 32)
DONE = 'print(\'{"done": {"observations": [], "proposal": "dd", "ballots": []}}\', flush=True)'


@pytest.fixture
def made():
    workers = []

    def make(line, limit_s=30.0):
        """Return a worker whose process does `line` for each job."""
        program = textwrap.dedent("""
            import os, sys, time
            print('{"ready": "yes"}', flush=True)
            for job in sys.stdin:
                exec(sys.argv[1])
        """)
        command = [sys.executable, "-c", program, line]
        workers.append(ProcessWorker(command, name="ada", limit_s=limit_s))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def ended(worker, job):
    found = worker.work(job)
    while found is None:
        assert worker.wait(20)
        found = worker.work(job)
    return found


def test_a_worker_that_dies_while_it_is_idle_costs_no_job(made):
    worker = made(DONE)
    worker.start(30)
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    assert ended(worker, PROPOSE).proposal == "dd"
    assert worker.restarts == 1


def test_half_an_answer_is_the_death_of_the_worker_and_not_of_the_node(made):
    worker = made("""os.write(1, b'{"done": {"obs'); os.kill(os.getpid(), 9)""")
    done = ended(worker, PROPOSE)
    assert (done.proposal, done.observations[0].failure) == (None, "Died")
    assert "-9" in done.observations[0].reason


def test_a_worker_that_closes_its_pipe_and_lives_on_is_given_up(made, monkeypatch):
    monkeypatch.setattr(worker_module, "_STOP_S", 0.2)
    worker = made("os.close(1); time.sleep(60)")
    done = ended(worker, PROPOSE)
    assert "does not answer" in done.observations[0].reason
    assert worker.pid is None


def test_an_answer_without_an_end_is_not_read_to_its_end(made, monkeypatch):
    monkeypatch.setattr(worker_module, "_STOP_S", 0.2)
    monkeypatch.setattr(worker_module, "LINE_BYTES_MAX", 1000)
    worker = made("while True: os.write(1, b'x' * 1000)")
    assert ended(worker, PROPOSE).observations[0].failure == "Died"


def test_a_process_that_cannot_be_started_is_an_error_that_can_be_repeated(tmp_path):
    worker = ProcessWorker([str(tmp_path / "nothing")], name="ada", limit_s=9)
    for _ in range(2):
        with pytest.raises(LearnerError, match="cannot be started"):
            worker.work(PROPOSE)
        assert not worker.busy


@pytest.mark.parametrize("job", [PROPOSE, Accept(2, "bb" * 32), Judge(3, "aa" * 32, ("cc" * 32,))])
def test_jobs_come_through_the_pipe_as_they_went_in(job):
    assert read_job(write_job(job)) == job


def test_scores_that_are_no_numbers_come_through_the_pipe():
    import json

    seen = Observation(
        3, "ada", math.nan, -math.inf, "\ud800", "é\n", {"loss": math.nan, "x": None}
    )
    line = write_done(Done((seen,), None, (Ballot.SILENT, Ballot.ABSTAIN)))
    assert line.count(b"\n") == 1
    again = read_done(json.loads(line)["done"])
    assert again.ballots == (Ballot.SILENT, Ballot.ABSTAIN)
    assert repr(again.observations) == repr((seen,))


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"job": "dance"}', b'{"job": "accept"}', b"\xff"]
)
def test_what_is_no_job_is_refused(line):
    with pytest.raises(ColearnError, match="Expected a job"):
        read_job(line)
