"""A group of learners in one process that train one model."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from colearn.asking import all_grow
from colearn.core import Outcome, Phase, Rules, Threshold, Tolerance, exact_threshold, tolerance
from colearn.errors import ColearnError, ConfigError
from colearn.experiment.agreement import check_schemas, common_model, names_of
from colearn.experiment.clock import RunClock
from colearn.experiment.export import TOLERANCE, Export, export_model, facts_of
from colearn.experiment.folder import RunFolder
from colearn.experiment.group import EXPERIMENT, RUN_PHASE_S, Group
from colearn.experiment.html import run_as_html
from colearn.experiment.journal import Journal
from colearn.experiment.recorder import Recorder
from colearn.experiment.records import RoundRecord, Sink
from colearn.experiment.specification import specification_of
from colearn.identity import Key
from colearn.interface import DiffPrivConfig, MachineLearningInterface
from colearn.ledger import EmbeddedLedger, Head
from colearn.node import Node, Origin
from colearn.privacy.claim import TERM
from colearn.store import Archive, BlobStore, DirectoryStore, MemoryStore
from colearn.weights import NamedArrays
from colearn.worker import LocalWorker

__all__ = ["Collective"]


class Collective:
    """Learners that take turns to propose, vote on each proposal, and end up with one model.

    Every learner is a node on an embedded ledger, as it would be in a process of its own. The
    keys come from the seed: they show how the ledger works, and keep nobody out.

    Attributes:
        names: The learners' names, in join order.
        rules: The rules of the ledger (P3.3, 7.2).
        records_: The record of every round so far.
        stopped_: Why the last call of `rounds` ended: "rounds", "patience", "target" or
            "no proposals".
        folder: The run folder, or None.
    """

    def __init__(
        self,
        learners: Sequence[MachineLearningInterface],
        *,
        threshold: Threshold = "1/2",
        directory: str | Path | None = None,
        rounds: int | None = None,
        patience: int | None = None,
        target: float | None = None,
        seed: int = 0,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        terms: Mapping[str, Any] | None = None,
        sinks: Sequence[Sink] = (),
        resume: bool = False,
        privacy: DiffPrivConfig | None = None,
    ) -> None:
        """Bring the group together; nobody trains yet.

        Args:
            learners: At least two, whose weights are a dict of numpy arrays, equal on all (6.1).
            threshold: t of P3.3; a float means its shortest decimal.
            directory: Where to write the run; None writes nothing that stays.
            rounds: Rounds with a proposal after which the experiment is over; None for no end.
            patience: Proposals in a row not accepted after which it is over.
            target: The global model's score at which the group ends it by a motion.
            seed: Decides the keys.
            synchronous: FULL lets the ledger outlive a power failure, at some 0.3 ms a call.
            terms: What else the specification holds; values JSON can hold.
            sinks: Where else records go.
            resume: Go on with the run in `directory`, with learners made as for its start.
            privacy: What every proposal must keep to, or be refused (P3.5); None for no such term.

        Raises:
            ConfigError: Too few learners, a name or an object twice, schemas or models that
                differ (names the column, class or array), a setting out of range, a directory
                that holds a run already, or, with `resume`, one that holds another run.
            ColearnError: The run cannot be written, or another process is running it.
        """
        self._learners = list(learners)
        self.names = names_of(self._learners)
        self._target, self._privacy = target, privacy
        self._name = str((terms or {}).get("name", ""))
        self.rules = Rules(
            exact_threshold(threshold),
            propose_s=RUN_PHASE_S,
            vote_s=RUN_PHASE_S,
            rounds=_checked(rounds, "rounds"),
            patience=_checked(patience, "patience"),
        )
        check_schemas(self._learners, self.names)
        model = common_model(self._learners, self.names)
        self.folder = None if directory is None else RunFolder.claim(Path(directory), resume=resume)
        self._sinks = [*([self.folder] if self.folder else []), *sinks]
        self._synchronous = synchronous
        self.records_: list[RoundRecord] = []
        self.stopped_: str = ""
        self._resources = ExitStack()
        if self.folder is not None:
            self._resources.callback(self.folder.release)
        try:
            self._begin(model, seed, dict(terms or {}))
        except BaseException:
            self.close()
            raise

    def _begin(self, model: NamedArrays, seed: int, terms: dict[str, Any]) -> None:
        """Open ledger and store, let the nodes take their places, and catch up with the past."""
        keys = [Key.from_seed(seed, name) for name in self.names]
        clock, schema = RunClock(), getattr(self._learners[0], "schema", None)
        self._ledger, store = self._open(keys, clock)
        self._archive = Archive(store)
        grows = all_grow(self._learners)
        terms = {**terms, "target": self._target}
        if self._privacy is not None:
            terms[TERM] = self._privacy.model_dump(mode="json")
        specification = specification_of(self.rules, model.digest, schema, terms, grows=grows)
        origin = Origin(store.put(specification), self._archive.put(model), grows)
        journal = Journal(None if self.folder is None else self.folder.write_observation)
        members = {key.address: name for key, name in zip(keys, self.names, strict=True)}
        self._recorder = Recorder(members, self.rules, journal)
        self._ledger.listen(self._recorder.hear)
        self._ledger.sync()
        clock.start(self._ledger.replica.stamp)
        self._group = Group(
            [
                Node(
                    LocalWorker(
                        learner,
                        self._archive,
                        origin.model,
                        grows=grows,
                        name=name,
                        privacy=self._privacy,
                    ),
                    key,
                    self._ledger,
                    origin,
                    name=name,
                    observer=journal,
                )
                for learner, key, name in zip(self._learners, keys, self.names, strict=True)
            ],
            self._ledger,
        )
        if self._ledger.replica.height:
            self._require_own(origin, list(members))
        self._group.establish(origin, self.rules)
        if self.folder is not None:
            self.folder.write_members(members, seed)
            self._catch_up(journal)

    @property
    def tolerance(self) -> Tolerance:
        """How many silent and how many hostile members the rules survive (section 9)."""
        return tolerance(self.rules, len(self.names))

    @property
    def weights_(self) -> NamedArrays:
        """The global model's weights, which cannot be changed."""
        return self._archive.get(self._group.experiment.model)

    @property
    def model_(self) -> Any:
        """The global model as the learners' framework knows it, such as a fitted estimator."""
        return self._learners[0].model_  # type: ignore[attr-defined]

    @property
    def score_(self) -> float | None:
        """The global model's score; None before the first acceptance."""
        return self._recorder.score

    @property
    def head_(self) -> Head:
        """How long the ledger is, and the hash of its last row: what an audit can be held to."""
        return self._ledger.head

    @property
    def over_(self) -> bool:
        """Whether the experiment has ended on the ledger."""
        return self._group.experiment.phase is Phase.OVER

    def rounds(self, count: int | None = None) -> Iterator[RoundRecord]:
        """Run up to `count` further rounds, and yield the record of each when it has ended.

        The rounds run as the iterator is read. It ends early when the experiment is over.

        Args:
            count: How many; None runs until the experiment is over.

        Raises:
            ConfigError: `count` is below 1, or None in an experiment that has no end.
            ColearnError: The run folder cannot be written.
        """
        if count is not None and count < 1:
            raise ConfigError(f"The number of rounds must be at least 1, got {count!r}.")
        if count is None and not (self.rules.rounds or self.rules.patience):
            raise ConfigError(
                "This experiment has no end, so the number of rounds must be said.",
                hint="Write run.rounds(20), or Collective(..., rounds=20).",
            )
        done = 0
        while count is None or done < count:
            if not self._group.run_round():
                break
            yield self._recorded()
            done += 1
            if self._reached_target():
                self._group.stand_for_finish()
        self._group_ended()

    def export_onnx(
        self,
        path: str | Path,
        check: Any,
        *,
        tolerance: float = TOLERANCE,
        force: bool = False,
    ) -> Export:
        """Write the global model as ONNX, once it says in onnxruntime what the learners say.

        Args:
            path: The file.
            check: Rows of X to compare both on, as the learners read them, (rows, ...).
            tolerance: The largest difference allowed.
            force: Whether to replace a file that is there.

        Raises:
            ColearnError: As `export_model`.
        """
        learner, accepted = self._learners[0], [r for r in self.records_ if r.outcome == "accepted"]
        facts = facts_of(
            learner,
            name=self._name,
            experiment=f"{self._ledger.replica.genesis.digest}/{EXPERIMENT}",
            round_number=accepted[-1].round_number if accepted else 0,
            head=str(self.head_),
        )
        return export_model(
            learner, Path(path), check, metadata=facts, tolerance=tolerance, force=force
        )

    def close(self) -> None:
        """Close the ledger and let another process have the run; what was written stays."""
        self._resources.close()

    def _repr_html_(self) -> str:
        return run_as_html(self.names, self.records_)

    def _open(self, keys: Sequence[Key], clock: RunClock) -> tuple[EmbeddedLedger, BlobStore]:
        store: BlobStore
        if self.folder is None:
            place = Path(tempfile.mkdtemp(prefix="colearn-"))
            store = MemoryStore()
        else:
            place, store = self.folder.path, DirectoryStore(self.folder.path / "blobs", fsync=False)
        path = place / "ledger.db"
        if not path.exists():
            EmbeddedLedger.create(path, keys[0].address)
        ledger = EmbeddedLedger(path, clock=clock, synchronous=self._synchronous)
        self._resources.callback(ledger.close)
        if self.folder is None:
            weakref.finalize(self, _forget, ledger, place)
        return ledger, store

    def _require_own(self, origin: Origin, members: list[str]) -> None:
        """Refuse to go on with a run of other members, rules, specification or model 0."""
        experiment = self._group.experiment
        seated = list(experiment.roster.addresses)
        same = experiment.specification == origin.specification and experiment.rules == self.rules
        if not same or seated != members[: len(seated)]:
            raise ConfigError(
                "The run in the folder was made with other settings, learners or data.",
                hint="Resume with what it was started with.",
            )

    def _catch_up(self, journal: Journal) -> None:
        """Take over the records of a run that goes on, and write those it had no time for."""
        assert self.folder is not None
        journal.load(self.folder.observations())
        written = self.folder.records()
        for record in written:
            if not self._recorder.pending or not self._recorder.confirms(record):
                raise ColearnError(
                    f"Round {record.round_number} of rounds.jsonl is not what the ledger says.",
                    hint="Audit the run; move rounds.jsonl away to have it written anew.",
                )
        self.records_ = list(written)
        if self._group.experiment.round.number > 1 or self.over_:
            self.folder.write_resumption(len(written) + 1, self._local_state())
        for node in self._group.nodes:
            node.catch_up()
        while self._recorder.pending:
            self._recorded()
        if self._reached_target():
            self._group.stand_for_finish()

    def _recorded(self) -> RoundRecord:
        record = self._recorder.next()
        self.records_.append(record)
        if record.outcome is Outcome.ACCEPTED and self.folder is not None:
            self.folder.write_model(self._archive.get(record.model))
        for sink in self._sinks:
            sink.on_round(record)
        return record

    def _reached_target(self) -> bool:
        score = self._recorder.score
        return self._target is not None and score is not None and score >= self._target

    def _group_ended(self) -> None:
        """Say why no further round runs, and let everybody confirm if the experiment is over."""
        experiment = self._group.experiment
        if not self.over_:
            self.stopped_ = "rounds"
            return
        self._group.end()
        if experiment.finish:
            self.stopped_ = "target"
        elif 0 < self.rules.rounds <= experiment.counted:
            self.stopped_ = "rounds"
        elif 0 < self.rules.patience <= experiment.streak:
            self.stopped_ = "patience"
        else:
            self.stopped_ = "no proposals"

    def _local_state(self) -> dict[str, str]:
        """Return what becomes of each learner's state beside its weights when a run goes on."""
        return {
            name: str(getattr(learner, "local_state", "restarted"))
            for name, learner in zip(self.names, self._learners, strict=True)
        }


def _checked(value: int | None, name: str) -> int:
    if value is None:
        return 0
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return value


def _forget(ledger: EmbeddedLedger, place: Path) -> None:
    ledger.close()
    shutil.rmtree(place, ignore_errors=True)
