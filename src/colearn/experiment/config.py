"""The experiment file: TOML, every key known, errors that name the key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from colearn.core import exact_threshold
from colearn.core.rules import DURATION_MAX_S
from colearn.errors import ConfigError
from colearn.experiment.privacy import PrivacyConfig
from colearn.experiment.toml import key_of, parse_toml, read_toml

__all__ = ["ExperimentConfig", "load_config", "parse_config"]

_FILE_BYTES_MAX = 2**20
"""The largest experiment file that is read, in bytes."""

_LEVELS_MAX = 64
"""Tables and lists within each other: what nests deeper can be read, and not be written again."""

_Share = Annotated[float, Field(gt=0, lt=1)]
_Object = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SplitConfig(_Section):
    """How rows are dealt to learners; the fields of `colearn.tasks.Split`."""

    by: Literal["iid", "quantity", "dirichlet", "pathological", "group"] = "iid"
    learners: Annotated[int, Field(ge=2, le=10_000)] = 5
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    classes_per_learner: Annotated[int, Field(ge=1)] = 2
    min_rows: Annotated[int, Field(ge=3)] = 20


class TaskConfig(_Section):
    """The data: a function that returns a `colearn.tasks.Task`, and how its rows are dealt."""

    use: _Object = "colearn.tasks:digits"
    settings: dict[str, Any] = Field(default_factory=dict, alias="with")
    split: SplitConfig = SplitConfig()
    test_share: _Share = 0.3


class LearnerConfig(_Section):
    """What every learner learns with: any importable class or function."""

    use: _Object = "colearn.learners:SklearnLearner"
    settings: dict[str, Any] = Field(default_factory=dict, alias="with")


class VoteConfig(_Section):
    """How the group decides (protocol P3.3 and section 4)."""

    mode: Literal["paired", "classic"] = "paired"
    threshold: str | float | int = "1/2"
    z: Annotated[float, Field(le=0, allow_inf_nan=False)] = -2.0
    balanced: bool = True
    share: _Share = 0.3

    @field_validator("threshold")
    @classmethod
    def _exact(cls, value: str | float) -> str:
        fraction: Fraction = exact_threshold(value)
        return str(fraction)


class PreprocessConfig(_Section):
    """Scaling (protocol 6.2): the task's public constants, shared moments, or none."""

    use: Literal["public", "shared", "none"] = "public"


class HostileConfig(_Section):
    """Learners that lie: they train on reversed labels and vote the opposite of what they see."""

    learners: Annotated[int, Field(ge=0)] = 0
    damping: Annotated[float, Field(gt=0, le=1)] = 1.0


class LedgerConfig(_Section):
    """Where the run's calls are ordered (protocol 7.8); a run in one process has a file."""

    url: Literal["embedded"] = "embedded"
    synchronous: Literal["NORMAL", "FULL"] = "NORMAL"
    """NORMAL outlives a killed process; FULL outlives a power failure too, and takes longer."""


_Seconds = Annotated[int, Field(ge=1, le=DURATION_MAX_S)]


class PhasesConfig(_Section):
    """How long the phases of a round may last where each learner runs by itself (7.2).

    A run in one process waits for everybody, and ignores them.
    """

    propose_s: _Seconds = 600
    vote_s: _Seconds = 300
    reveal_s: Annotated[int, Field(ge=0, le=DURATION_MAX_S)] = 0
    """0 for open votes; above it votes are blind until they are revealed (7.4)."""
    early_close: bool = True


class ExperimentConfig(_Section):
    """One experiment; see docs/guide.md for every key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,63}$")] = "experiment"
    rounds: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    patience: Annotated[int, Field(ge=1)] | None = None
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    task: TaskConfig = TaskConfig()
    learner: LearnerConfig = LearnerConfig()
    vote: VoteConfig = VoteConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    hostile: HostileConfig = HostileConfig()
    ledger: LedgerConfig = LedgerConfig()
    phases: PhasesConfig = PhasesConfig()

    @field_validator("privacy")
    @classmethod
    def _scored(cls, value: PrivacyConfig, info: ValidationInfo) -> PrivacyConfig:
        unscored = value.votes is not None and value.votes.test_scores == "off"
        if unscored and info.data.get("target") is not None:
            raise ValueError(
                "private votes publish no score that could reach target: leave target out, or "
                'write votes.test_scores = "noised"'
            )
        return value

    def terms(self) -> dict[str, Any]:
        """Return what the specification holds of the experiment (6.1) beside its rules."""
        # Where the calls are ordered is no part of what was agreed on; the phases are rules.
        apart = {"ledger", "phases", *(() if self.privacy.asked else ("privacy",))}
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=apart)

    def to_toml(self) -> str:
        """Return the experiment as a file that `load_config` reads back equal."""
        return tomli_w.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True))


def load_config(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment file.

    Args:
        path: The TOML file.
        overrides: Entries such as ``"vote.threshold=0.6"`` that replace what the file says.

    Raises:
        ConfigError: No such file, no TOML, an unknown key, a value that does not fit; names the
            key.
    """
    return parse_config(read_toml(path, _FILE_BYTES_MAX), overrides)


def parse_config(document: Mapping[str, Any], overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Check a document of the experiment file's form.

    Raises:
        ConfigError: An unknown key or a value that does not fit; names the key.
    """
    merged = _copied(document)
    for entry in overrides:
        _override(merged, entry)
    try:
        return ExperimentConfig.model_validate(_copied(merged))
    except ValidationError as error:
        raise ConfigError("\n".join(_explained(error))) from error


def _copied(value: Any, levels: int = _LEVELS_MAX) -> Any:
    if not levels:
        raise ConfigError(f"An experiment has at most {_LEVELS_MAX} tables or lists in each other.")
    if isinstance(value, Mapping):
        return {key: _copied(each, levels - 1) for key, each in value.items()}
    return [_copied(each, levels - 1) for each in value] if isinstance(value, list) else value


def _override(document: dict[str, Any], entry: str) -> None:
    key, equals, text = entry.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"Expected KEY=VALUE, got {entry!r}.", hint="Write vote.threshold=0.6.")
    *sections, last = key.strip().split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            raise ConfigError(f"{key}: {section!r} is a value and has no keys.")
    try:
        document[last] = parse_toml(f"value = {text}")["value"]
    except ConfigError:
        document[last] = text


def _explained(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors():
        key = key_of(fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"[{key}] is not a known key.{_suggestion(fault['loc'])}")
        else:
            got = fault["input"] if not isinstance(fault["input"], dict) else "a table"
            lines.append(f"[{key}] {fault['msg']}, got {str(got)[:80]!r}.")
    return lines


def _suggestion(location: Sequence[int | str]) -> str:
    model: type[BaseModel] = ExperimentConfig
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        # A section that may be left out is annotated as itself or None.
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            return ""
        model = found[0]
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known here: {', '.join(known)}."
