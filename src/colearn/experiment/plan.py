"""From an experiment's configuration to its rows and learners."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colearn.errors import ColearnError, ConfigError
from colearn.experiment.config import ExperimentConfig
from colearn.experiment.hostile import VoteInverter
from colearn.experiment.noised_moments import noised_moments
from colearn.interface import DiffPrivConfig, MachineLearningInterface
from colearn.preprocess import Scaling, local_moments, shared_scaling
from colearn.privacy import Privacy, fingerprint
from colearn.tasks import Division, Split, Task, divide

__all__ = ["Plan", "imported", "plan", "proposal_privacy_of", "task_of"]

_FIRST_NAMES = ("ada", "ben", "cleo", "dan", "eve", "fay", "gus", "hana", "ivo", "june")
_LIAR_NAME = "mallory"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """An experiment that is ready to run.

    Attributes:
        config: What the user asked for.
        task: The data.
        division: Which rows are whose.
        X: The scaled features, float64 (rows, features).
        names: The learners, in join order.
        liars: Those of them that lie.
        own_seed: Decides what a single learner draws, where it is not the experiment's seed.
        spends: The folder of the members' records of spends; None for the machine's own.
    """

    config: ExperimentConfig
    task: Task
    division: Division
    X: npt.NDArray[np.float64]
    names: tuple[str, ...]
    liars: frozenset[str]
    own_seed: int | None = None
    spends: Path | None = None

    def group(self) -> list[MachineLearningInterface]:
        """Return the learners of the collective; those that lie included."""
        return [self.member(place) for place in range(len(self.names))]

    def honest(
        self, train: npt.NDArray[Any], vote: npt.NDArray[Any], name: str, **settings: Any
    ) -> MachineLearningInterface:
        """Return an honest learner with the given rows, for comparisons; it votes openly."""
        return self._learner(train, self.task.y[train], vote, name, settings)

    def privacy_of(self, name: str, rows: npt.NDArray[Any]) -> Privacy | None:
        """Return what a member's proposals and votes may reveal; None for no such limit."""
        config, votes = self.config, self.config.privacy.votes
        if config.privacy.proposals is None and votes is None:
            return None
        return Privacy(
            proposals=proposal_privacy_of(config),
            votes=None if votes is None else votes.config(config.rounds),
            directory=None if self.spends is None else self.spends / name,
            dataset=self._dataset(rows),
        )

    def privacy_at(self, place: int) -> Privacy | None:
        """Return the same for the member that has this place in join order."""
        site = self.division.sites[place]
        return self.privacy_of(self.names[place], np.concatenate([site.train, site.vote]))

    def comparable(self, name: str, rows: npt.NDArray[Any], proposals: int) -> dict[str, Any]:
        """Return the settings of a learner that trains with the group's budget, by itself.

        Args:
            name: Of its record of spends.
            rows: It trains on.
            proposals: How many its budget is meant for.
        """
        agreed = proposal_privacy_of(self.config)
        if agreed is None:
            return {}
        agreed = agreed.model_copy(update={"planned_proposals": proposals})
        directory = None if self.spends is None else self.spends / name
        settings: dict[str, Any] = {"privacy": Privacy(proposals=agreed, directory=directory)}
        if self.task.groups is not None and agreed.unit.kind == "user":
            vote = self.division.sites[0].vote
            settings["users"] = (self.task.groups[rows], self.task.groups[vote])
        return settings

    def member(self, place: int) -> MachineLearningInterface:
        """Return the learner that has this place in join order; a liar if it lies."""
        site, name = self.division.sites[place], self.names[place]
        labels = self.task.y[site.train]
        settings = self._private_settings(place)
        if name not in self.liars:
            return self._learner(site.train, labels, site.vote, name, settings)
        damping = {"damping": self.config.hostile.damping}
        return VoteInverter(
            self._learner(site.train, self._reversed(labels), site.vote, name, settings | damping)
        )

    def _dataset(self, rows: npt.NDArray[Any]) -> str:
        """Return what names a member's data: its rows as they are, before they are scaled.

        Who has all rows of the task is named by all of them: another seed divides them otherwise,
        and they are the same data.
        """
        whose: Any = rows if self.own_seed is None else slice(None)
        return fingerprint((self.task.X[whose], self.task.y[whose]))

    def _private_settings(self, place: int) -> dict[str, Any]:
        privacy, site, groups = self.privacy_at(place), self.division.sites[place], self.task.groups
        if privacy is None:
            return {}
        if groups is None or "user" not in self.config.privacy.units:
            return {"privacy": privacy}
        return {"privacy": privacy, "users": (groups[site.train], groups[site.vote])}

    def _reversed(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the labels a liar trains on: the last class for the first, and so on."""
        classes = np.asarray(self.task.schema.classes)
        return classes[::-1][np.searchsorted(classes, labels)]

    def _learner(
        self,
        train: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        vote: npt.NDArray[Any],
        name: str,
        settings: dict[str, Any],
    ) -> MachineLearningInterface:
        config, task, test = self.config, self.task, self.division.test
        seed = config.seed if self.own_seed is None else self.own_seed
        make = imported(config.learner.use, "learner.use")
        make = getattr(make, "from_settings", make)
        given = {
            "train": (self.X[train], labels),
            "vote": (self.X[vote], task.y[vote]),
            "test": (self.X[test], task.y[test]),
            "schema": task.schema,
            "name": name,
            "seed": _learner_seed(seed, name, self.names),
            "model_seed": config.seed,
            "mode": config.vote.mode,
            "z": config.vote.z,
            "balanced": config.vote.balanced,
        }
        learner: MachineLearningInterface = _called(
            make, given, {**config.learner.settings, **settings}, "learner.with"
        )
        return learner


def plan(config: ExperimentConfig, spends: Path | None = None) -> Plan:
    """Load the task, deal its rows and scale them.

    Args:
        config: The experiment.
        spends: The folder of the members' records of spends and of what they released; None for
            the machine's own.

    Raises:
        ConfigError: Something in the file does not fit; names the key.
        PrivacyError: Shared moments are private, and cannot be released.
    """
    task = task_of(config)
    division = divide(
        task,
        Split(**config.task.split.model_dump()),
        config.seed,
        test_share=config.task.test_share,
        vote_share=config.vote.share,
        whole_groups="user" in config.privacy.units,
    )
    names, liars = _names(config, task)
    scaling = _scaling(config, task, division, names, spends)
    return Plan(config, task, division, scaling.apply(task.X), names, liars, spends=spends)


def proposal_privacy_of(config: ExperimentConfig) -> DiffPrivConfig | None:
    """Return what every proposal of an experiment must keep to; None for no such term."""
    asked = config.privacy.proposals
    return None if asked is None else asked.config(config.rounds, config.task.split.learners)


def task_of(config: ExperimentConfig) -> Task:
    """Load the task of an experiment.

    Raises:
        ConfigError: `task.use` or `task.with` does not fit; names the key.
    """
    make = imported(config.task.use, "task.use")
    task = _called(make, {}, config.task.settings, "task.with")
    if not isinstance(task, Task):
        raise ConfigError(
            f"[task.use] {config.task.use} must return a colearn.tasks.Task, got "
            f"{type(task).__name__}."
        )
    return task


def imported(use: str, key: str) -> Callable[..., Any]:
    """Return the object that ``module:name`` names.

    Raises:
        ConfigError: There is no such module or object; names the key.
    """
    module, _, name = use.partition(":")
    try:
        found = getattr(import_module(module), name)
    except ColearnError:
        raise
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"[{key}] cannot find {use!r}: {error}.") from error
    if not callable(found):
        raise ConfigError(f"[{key}] {use!r} cannot be called.")
    return found  # type: ignore[no-any-return]


def _called(make: Any, given: dict[str, Any], settings: dict[str, Any], key: str) -> Any:
    try:
        return make(**given, **settings)
    except TypeError as error:
        accepted = ", ".join(inspect.signature(make).parameters)
        raise ConfigError(f"[{key}] {error}.", hint=f"It takes: {accepted}.") from error


def _names(config: ExperimentConfig, task: Task) -> tuple[tuple[str, ...], frozenset[str]]:
    count, lying = config.task.split.learners, config.hostile.learners
    if lying and task.schema.classes is None:
        raise ConfigError("[hostile.learners] needs a classifier: a liar reverses class labels.")
    if lying > count:
        raise ConfigError(f"[hostile.learners] {lying} of {count} learners cannot lie.")
    plain = [
        _FIRST_NAMES[place] if place < len(_FIRST_NAMES) else f"learner-{place + 1}"
        for place in range(count - lying)
    ]
    liars = [_LIAR_NAME if lie == 0 else f"{_LIAR_NAME}-{lie + 1}" for lie in range(lying)]
    return (*plain, *liars), frozenset(liars)


def _learner_seed(seed: int, name: str, names: tuple[str, ...]) -> int:
    """Return a learner's seed, a function of the experiment and of its place in it."""
    place = names.index(name) if name in names else len(names)
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])


def _scaling(
    config: ExperimentConfig,
    task: Task,
    division: Division,
    names: Sequence[str],
    spends: Path | None,
) -> Scaling:
    if config.preprocess.use == "shared":
        rows = [np.concatenate([site.train, site.vote]) for site in division.sites]
        sites = [task.X[own] for own in rows]
        if config.privacy.asked:
            datasets = [fingerprint((task.X[own], task.y[own])) for own in rows]
            return shared_scaling(noised_moments(config, sites, datasets, names, spends))
        return shared_scaling([local_moments(X) for X in sites])
    if config.preprocess.use == "none" or task.scaling is None:
        return Scaling.identity(task.X.shape[1])
    return task.scaling
