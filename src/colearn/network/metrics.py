"""What a node tells Prometheus: counts and levels, no score and no name of anybody else."""

from __future__ import annotations

from colearn.core import Phase
from colearn.core.events import Closed, Missed
from colearn.errors import MissingExtraError
from colearn.ledger import Happening
from colearn.network.follower import Snapshot
from colearn.worker import Observation

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
except ImportError as error:
    raise MissingExtraError("prometheus_client", extra="network") from error

__all__ = ["METRICS_TYPE", "Metrics"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LEVELS = {
    "round": "The number of the open round",
    "members": "Members of the experiment",
    "dormant_members": "Members that nobody waits for (7.2)",
    "ledger_height": "Rows or blocks that were read",
    "certified_height": "Rows or blocks that are final (7.9)",
    "busy": "Whether the worker is at work",
    "failing": "Whether the last attempt at something failed",
    "over": "Whether the experiment is over",
}


class Metrics:
    """The numbers of one node; the node's thread writes them, a server's thread reads them."""

    def __init__(self, experiment: int) -> None:
        """Count from zero, for an experiment of the ledger."""
        self._number = experiment
        self._registry = CollectorRegistry()
        self._levels = {name: self._gauge(name, text) for name, text in _LEVELS.items()}
        self._rounds = self._counter("rounds", "Rounds that have closed", "outcome")
        self._failures = self._counter("learner_failures", "Failures of the learner", "kind")
        self._missed = self._counter("missed_deadlines", "Deadlines that members missed")
        self._wakeups = self._gauge("wakeups", "How often the loop has looked for something to do")
        self._steps = self._gauge("steps", "How often something was due")

    def hear(self, happening: Happening) -> None:
        """Count what happened on the ledger."""
        for event in happening.events:
            if getattr(event, "experiment", None) != self._number:
                continue
            if isinstance(event, Closed):
                self._rounds.labels(event.result.value).inc()
            elif isinstance(event, Missed):
                self._missed.inc(event.seats.bit_count())

    def observe(self, observation: Observation) -> None:
        """Count what the learner failed at."""
        if observation.failure:
            self._failures.labels(observation.failure[:64]).inc()

    def note(self, snapshot: Snapshot) -> None:
        """Take over a snapshot."""
        experiment = snapshot.experiment
        levels = {
            "round": experiment.round.number,
            "members": experiment.roster.size,
            "dormant_members": experiment.roster.dormant.bit_count(),
            "ledger_height": snapshot.head.height,
            "certified_height": snapshot.certified,
            "busy": snapshot.busy,
            "failing": bool(snapshot.error),
            "over": experiment.phase is Phase.OVER,
        }
        for name, value in levels.items():
            self._levels[name].set(value)
        self._wakeups.set(snapshot.wakeups)
        self._steps.set(snapshot.steps)

    def text(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"colearn_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"colearn_{name}", text, labels, registry=self._registry)
