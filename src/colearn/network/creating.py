"""Creating an experiment on a shared ledger: its specification, model 0 and who may join (6.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from colearn.core import Experiment, Phase, calls
from colearn.core.encoding import INVITATIONS_MAX
from colearn.core.events import Created
from colearn.core.experiment import NOBODY
from colearn.errors import ConfigError, LedgerError, LedgerUnavailableError
from colearn.experiment.agreement import weights_of
from colearn.experiment.config import ExperimentConfig
from colearn.experiment.plan import Plan, plan, task_of
from colearn.experiment.specification import SPECIFICATION_BYTES_MAX
from colearn.identity import Key
from colearn.ledger import Ledger
from colearn.network.connect import drift_of
from colearn.network.invitation import Invitation
from colearn.network.terms import check_phases, rules_of, specify
from colearn.preprocess import Scaling
from colearn.store import BlobStore
from colearn.tasks import Split, Task, divide
from colearn.weights import NamedArrays

__all__ = ["Founding", "create", "found", "invite", "leave_blobs"]


@dataclass(frozen=True, slots=True, eq=False)
class Founding:
    """An experiment that can be created.

    Attributes:
        config: What the creator wrote.
        specification: Its canonical bytes.
        model: Model 0.
    """

    config: ExperimentConfig
    specification: bytes
    model: NamedArrays

    @property
    def digest(self) -> str:
        """The specification's digest."""
        return hashlib.sha256(self.specification).hexdigest()

    def invitation(
        self, ledger: str, genesis: str | None, store: str, peers: Sequence[str]
    ) -> Invitation:
        """Return the invitation, with 1 for the number that only the ledger will give.

        Raises:
            ConfigError: An address is none, or the store does not fit the ledger.
        """
        digests = (self.digest, self.model.digest)
        return Invitation(ledger, genesis, 1, *digests, store, tuple(peers))


def found(config: ExperimentConfig) -> Founding:
    """Make the specification and model 0 of an experiment, from the creator's own rows.

    Model 0 is zeros, an empty forest, or what the factory makes of the seed: the rows decide
    their schema and nothing else.

    Raises:
        ConfigError: Something in the file does not fit; names the key.
    """
    if config.preprocess.use == "shared" and config.privacy.asked:
        raise ConfigError(
            '[preprocess.use] "shared" with privacy needs moments that each member has noised, '
            "which do not cross the network yet.",
            hint='Write preprocess.use = "public" or "none".',
        )
    prepared = plan(config) if config.preprocess.use == "shared" else _whole(config)
    site = prepared.division.sites[0]
    learner = prepared.honest(site.train, site.vote, prepared.names[0])
    model = weights_of(learner, prepared.names[0])
    data = specify(config, model.digest, learner, _public_scaling(config, prepared.task))
    if len(data) > SPECIFICATION_BYTES_MAX:
        raise ConfigError(
            f"The specification has {len(data)} bytes, and may have {SPECIFICATION_BYTES_MAX}.",
            hint="Shorten the names of the columns.",
        )
    return Founding(config, data, model)


def create(
    founding: Founding,
    draft: Invitation,
    ledger: Ledger,
    key: Key,
    *,
    invited: Sequence[str] = (),
    seat: bool = True,
    number: int | None = None,
) -> Invitation:
    """Put an experiment on a ledger and let addresses join; go on where that was broken off.

    Args:
        founding: The experiment.
        draft: Its invitation, without the number.
        ledger: Read up to its end.
        key: The creator's.
        invited: Addresses that may join.
        seat: Whether the creator may join as well.
        number: An experiment that this key created before; None creates one.

    Returns:
        The invitation with the number.

    Raises:
        ConfigError: A phase is too short for the clocks (names the key), or `number` is another
            experiment.
        LedgerError: The ledger refuses, or cannot be reached.
    """
    check_phases(founding.config, drift_of(ledger))
    if number is None:
        number = _created(founding, ledger, key)
    else:
        _require_own(founding, ledger.experiment(number), key)
    invite(ledger, key, number, [*([key.address] if seat else []), *invited])
    return replace(draft, experiment=number)


def leave_blobs(founding: Founding, store: BlobStore) -> None:
    """Store the specification and model 0 where the others can fetch them.

    It comes after the invitations: a store may ask the ledger who somebody is.

    Raises:
        StoreError: They cannot be stored.
    """
    store.put(founding.specification)
    store.put(founding.model.data)


def invite(ledger: Ledger, key: Key, number: int, who: Sequence[str]) -> list[str]:
    """Let addresses join before the start, and return those that could not before.

    Raises:
        ConfigError: Another key created the experiment, or it has started.
        LedgerError: The ledger refuses, or cannot be reached.
    """
    experiment = ledger.experiment(number)
    if experiment.creator != key.address:
        raise ConfigError(
            f"Only {experiment.creator}, who created experiment {number}, can invite.",
            hint="Name that key with --key.",
        )
    roster = experiment.roster
    new = [
        address
        for address in dict.fromkeys(who)
        if address not in roster.invited and address not in roster.seat_of
    ]
    if NOBODY in new:
        raise ConfigError("The zero address is nobody, and cannot be invited.")
    if new and experiment.phase is not Phase.SETUP:
        raise ConfigError(
            f"Experiment {number} has started: from now on its members admit others (7.7)."
        )
    for at in range(0, len(new), INVITATIONS_MAX):
        ledger.submit(key, calls.Invite(number, tuple(new[at : at + INVITATIONS_MAX])))
    return new


def _public_scaling(config: ExperimentConfig, task: Task) -> Scaling | None:
    """Return the constants that everybody scales by; None where they change nothing (6.2)."""
    scaling = task.scaling
    if config.preprocess.use != "public" or scaling is None:
        return None
    changes = scaling.offset.any() or (scaling.divisor != 1).any()
    return scaling if changes else None


def _whole(config: ExperimentConfig) -> Plan:
    """Return a plan of one learner that has all rows."""
    task = task_of(config)
    alone = Split(by="iid", learners=1, min_rows=1)
    shares = {"test_share": config.task.test_share, "vote_share": config.vote.share}
    division = divide(task, alone, config.seed, **shares, whole_groups=False)
    scaling = _public_scaling(config, task)
    X = task.X if scaling is None else scaling.apply(task.X)
    return Plan(config, task, division, X, ("creator",), frozenset())


def _created(founding: Founding, ledger: Ledger, key: Key) -> int:
    rules = rules_of(founding.config).to_word()
    call = calls.Create(founding.digest, founding.model.digest, rules, "")
    try:
        events = ledger.submit(key, call)
    except LedgerUnavailableError as error:
        raise LedgerUnavailableError(
            f"{error} The experiment may have been created all the same.",
            hint="Look with `colearn audit`, and go on with `colearn create --experiment NUMBER`.",
        ) from error
    for event in events:
        if isinstance(event, Created):
            return event.experiment
    raise LedgerError("The ledger took the call and says nothing of a new experiment.")


def _require_own(founding: Founding, experiment: Experiment, key: Key) -> None:
    if experiment.creator != key.address:
        raise ConfigError(
            f"Experiment {experiment.number} was created by {experiment.creator}, and this key "
            f"is {key.address}."
        )
    if experiment.specification != founding.digest:
        raise ConfigError(
            f"Experiment {experiment.number} has the specification {experiment.specification}, "
            f"and this file gives {founding.digest}.",
            hint="Name the file that it was created with, unchanged.",
        )
