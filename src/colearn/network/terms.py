"""What the members of an experiment agreed on, read from its specification (6.1, 6.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from colearn.asking import all_grow
from colearn.core import Experiment, Rules, exact_threshold
from colearn.core.machine import shortest_phase_s
from colearn.errors import ConfigError
from colearn.experiment.config import ExperimentConfig, parse_config
from colearn.experiment.plan import proposal_privacy_of
from colearn.experiment.specification import read_specification, specification_of
from colearn.interface import DiffPrivConfig, MachineLearningInterface
from colearn.preprocess import Scaling
from colearn.privacy.claim import TERM
from colearn.schema import Schema

__all__ = ["Terms", "check_phases", "read_terms", "rules_of", "specify"]

_SCALING = "scaling"
"""Where the terms of a network hold the public constants of its preprocessing (6.2)."""

_DIGEST = re.compile("[0-9a-f]{64}")
_RULES = frozenset(field.name for field in fields(Rules))


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """A specification that was read and checked.

    Attributes:
        config: Task, learner, vote and stop condition, as the creator wrote them.
        rules: The rules of the ledger.
        model: Digest of model 0.
        grows: Whether proposals may add to the arrays (P3.5).
        schema: Columns and classes; None where the learners declare none.
        scaling: The public constants that everybody scales by; None where it is another way.
    """

    config: ExperimentConfig
    rules: Rules
    model: str
    grows: bool
    schema: Schema | None
    scaling: Scaling | None

    @property
    def proposal_privacy(self) -> DiffPrivConfig | None:
        """What every proposal must keep to (P3.5); None for no such term."""
        return proposal_privacy_of(self.config)

    def check_ledger(self, experiment: Experiment) -> None:
        """Refuse an experiment whose rules on the ledger are not those of the specification.

        Raises:
            ConfigError: Names the rule.
        """
        for name in sorted(_RULES):
            agreed, there = getattr(self.rules, name), getattr(experiment.rules, name)
            if agreed != there:
                raise ConfigError(
                    f"The specification says {name} = {agreed}, and the ledger {there}.",
                    hint="Do not join: ask the creator for an invitation that fits.",
                )


def rules_of(config: ExperimentConfig) -> Rules:
    """Return the rules that `create` fixes for an experiment in a network (7.2)."""
    phases = config.phases
    return Rules(
        threshold=exact_threshold(config.vote.threshold),
        propose_s=phases.propose_s,
        vote_s=phases.vote_s,
        reveal_s=phases.reveal_s,
        rounds=config.rounds,
        patience=config.patience or 0,
        early_close=phases.early_close,
    )


def check_phases(config: ExperimentConfig, drift_s: int) -> None:
    """Refuse phases that are shorter than the clocks of a ledger allow (7.2).

    Raises:
        ConfigError: Names the key.
    """
    least = shortest_phase_s(drift_s)
    for name in ("propose_s", "vote_s", "reveal_s"):
        value = getattr(config.phases, name)
        if value < least and not (name == "reveal_s" and value == 0):
            raise ConfigError(
                f"[phases.{name}] must be at least {least} s on this ledger, whose clocks may "
                f"differ by {drift_s} s, got {value}."
            )


def specify(
    config: ExperimentConfig,
    model: str,
    learner: MachineLearningInterface,
    scaling: Scaling | None,
) -> bytes:
    """Return the specification of an experiment in a network.

    Args:
        config: The experiment.
        model: Digest of model 0.
        learner: One of its learners, as before any round.
        scaling: The public constants of its preprocessing; None where there are none.

    Raises:
        ConfigError: The terms hold something that JSON cannot.
    """
    terms = config.terms()
    agreed = proposal_privacy_of(config)
    if agreed is not None:
        terms[TERM] = agreed.model_dump(mode="json")
    if scaling is not None:
        terms[_SCALING] = _written(scaling)
    schema = getattr(learner, "schema", None)
    return specification_of(rules_of(config), model, schema, terms, grows=all_grow([learner]))


def read_terms(data: bytes) -> Terms:
    """Read a specification; it is somebody else's.

    Raises:
        ConfigError: It is none, or not one of a network that this version understands.
    """
    document = read_specification(data)
    terms, model, grows = (document.get(name) for name in ("terms", "model", "grows"))
    if not isinstance(terms, dict) or not isinstance(model, str) or type(grows) is not bool:
        raise _unknown("'terms', 'model' and 'grows' must be a table, a digest and true or false")
    if not _DIGEST.fullmatch(model):
        raise _unknown("'model' must be a digest")
    schema = _schema(document.get("schema"))
    apart, private = terms.get(_SCALING), terms.get(TERM)
    own = {_SCALING, TERM}
    config = _config({name: value for name, value in terms.items() if name not in own})
    agreed = proposal_privacy_of(config)
    if private != (None if agreed is None else agreed.model_dump(mode="json")):
        raise _unknown(f"{TERM!r} must say what its privacy says")
    return Terms(
        config=config,
        rules=_rules(document.get("rules")),
        model=model,
        grows=grows,
        schema=schema,
        scaling=None if apart is None else _scaling(apart, schema),
    )


def _config(terms: dict[str, Any]) -> ExperimentConfig:
    try:
        return parse_config(terms)
    except ConfigError as error:
        raise _unknown(f"its terms do not fit: {error}") from error


def _rules(document: object) -> Rules:
    if not isinstance(document, dict) or set(document) != _RULES:
        raise _unknown(f"'rules' must be a table of {', '.join(sorted(_RULES))}")
    try:
        return Rules(**{**document, "threshold": exact_threshold(document["threshold"])})
    except ConfigError as error:
        raise _unknown(f"its rules do not fit: {error}") from error


def _schema(document: object) -> Schema | None:
    if document is None:
        return None
    if not isinstance(document, dict) or set(document) != {"features", "classes", "constant"}:
        raise _unknown("'schema' must be a table of features, classes and constant")
    features, classes, constant = (document[key] for key in ("features", "classes", "constant"))
    named = isinstance(features, list) and all(isinstance(name, str) for name in features)
    listed = classes is None or (
        isinstance(classes, list) and all(type(label) in (int, str) for label in classes)
    )
    if not named or not features or not listed or type(constant) not in (int, float):
        raise _unknown("'schema' must list names of columns, and classes that are int or text")
    try:
        schema = Schema.of(features, classes, constant)
    except ConfigError as error:
        raise _unknown(f"its schema does not fit: {error}") from error
    if schema.classes != (None if classes is None else tuple(classes)):
        raise _unknown("'schema' must list the classes in their order")
    return schema


def _written(scaling: Scaling) -> dict[str, Any]:
    """Return the constants, one number for many that are equal: pictures have many thousands."""
    return {
        name: values[0] if len(set(values)) == 1 else values
        for name, values in scaling.to_dict().items()
    }


def _scaling(document: object, schema: Schema | None) -> Scaling:
    if not isinstance(document, Mapping) or schema is None:
        raise _unknown("'scaling' must be a table, and needs a schema")
    width = len(schema.features)
    spread = {
        name: np.full(width, value).tolist() if type(value) in (int, float) else value
        for name, value in document.items()
    }
    try:
        scaling = Scaling.from_dict(spread)
    except ConfigError as error:
        raise _unknown(f"its scaling does not fit: {error}") from error
    if scaling.offset.size != width:
        raise _unknown(f"its scaling is for {scaling.offset.size} columns of {width}")
    return scaling


def _unknown(why: str) -> ConfigError:
    return ConfigError(
        f"This specification is not understood: {why}.",
        hint="Its creator may have a newer version: pip install --upgrade colearn",
    )
