"""A model card: what a person must know before using a model (Mitchell et al., 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from colearn.errors import ConfigError
from colearn.experiment.config import ExperimentConfig
from colearn.experiment.records import RoundRecord
from colearn.experiment.statement import statement_of
from colearn.schema import Schema

__all__ = ["Told", "model_card"]

_NAMES_MAX = 40
"""Columns and classes that are listed by name; of more, how many there are."""

_CONTROL = dict.fromkeys([*range(32), 127], " ")
_CODE = {**_CONTROL, ord("`"): "'", ord("|"): "/"}
_MARKUP = {ord(mark): f"\\{mark}" for mark in "\\`*_{}[]<>#|!"}


class Told(Protocol):
    """What a card is made of; a run folder is one."""

    def records(self) -> list[RoundRecord]:
        """Return the records of all rounds."""

    def document(self, name: str) -> Any:
        """Return comparison.json or members.json; None where there is none."""


def model_card(
    folder: Told,
    config: ExperimentConfig,
    schema: Schema,
    *,
    round_number: int | None = None,
    cid: str,
    head: str,
) -> str:
    """Return the card of the model after a round, as Markdown.

    Everything in it is read from the run. Names that members chose are text, never markup.

    Args:
        folder: The run, or what a node knows.
        config: Its experiment.
        schema: Columns and classes (6.1).
        round_number: The round whose model it is, an accepted one; None takes the last.
        cid: The content identifier of the model's weights (6.3).
        head: The ledger's head, HEIGHT:HASH (7.8).

    Raises:
        ConfigError: The round did not accept a model.
    """
    records = folder.records()
    record = _accepted(records, round_number)
    members = folder.document("members.json") or {}
    parts = [
        _title(config, record, cid, head),
        _data(config, schema, folder.document("comparison.json")),
        _training(config),
        _rounds(records, record),
        _members(records, record, members),
        _privacy(config),
        _limits(members),
    ]
    return "\n\n".join(parts) + "\n"


def _accepted(records: Sequence[RoundRecord], round_number: int | None) -> RoundRecord:
    found = [
        each
        for each in records
        if each.outcome == "accepted" and round_number in (None, each.round_number)
    ]
    if not found:
        what = "No round" if round_number is None else f"Not round {round_number}"
        raise ConfigError(f"{what} accepted a model.", hint="Name an accepted round.")
    return found[-1]


def _title(config: ExperimentConfig, record: RoundRecord, cid: str, head: str) -> str:
    rows = [
        ("experiment", _plain(config.name)),
        ("round", record.round_number),
        ("weights", f"`{_code(cid)}`"),
        ("ledger head", f"`{_code(head)}`"),
        ("score", _score(record.score)),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([f"# Model card: {_plain(config.name)}", "", "| | |", "|---|---|", *lines])


def _data(config: ExperimentConfig, schema: Schema, comparison: Any) -> str:
    lines = [
        f"- Task: `{config.task.use}`, settings {_settings(config.task.settings)}.",
        f"- Input: {_listed(schema.features, 'column')}.",
    ]
    if schema.classes is None:
        lines.append("- Output: one number.")
    else:
        lines.append(f"- Output: {_listed([str(each) for each in schema.classes], 'class')}.")
    lines.append(f"- Preprocessing: {_settings(config.preprocess.model_dump(mode='json'))}.")
    if comparison is not None:
        rows = [f"{_plain(each['name'])} {each['rows']}" for each in comparison["learners"]]
        lines.append(f"- Private rows (training and vote): {', '.join(rows)}.")
        lines.append(f"- Test rows that no learner trained or voted on: {comparison['test_rows']}.")
    return _section("Data", *lines)


def _training(config: ExperimentConfig) -> str:
    vote = config.vote
    rule = (
        f"- A proposal becomes the model when more than {vote.threshold} of the members stand "
        f"behind it, at least one beside its proposer (P3.3); mode {vote.mode}."
    )
    return _section(
        "Training",
        f"- Learner: `{config.learner.use}`, settings {_settings(config.learner.settings)}.",
        f"- Seed of model 0 and of the division: {config.seed}.",
        rule,
    )


def _rounds(records: Sequence[RoundRecord], record: RoundRecord) -> str:
    until = [each for each in records if each.round_number <= record.round_number]
    count = Counter(str(each.outcome) for each in until)
    told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items()))
    last = (
        f"{_plain(record.proposer)} proposed it, and {record.approvals} of {record.members - 1} "
        f"others approved; {record.needed} were needed."
    )
    return _section("Rounds", f"Up to this model: {told}. {last}")


def _members(records: Sequence[RoundRecord], record: RoundRecord, members: Any) -> str:
    addresses = {name: address for address, name in members.get("members", {}).items()}
    accepted = Counter(
        each.proposer
        for each in records
        if each.outcome == "accepted" and each.round_number <= record.round_number
    )
    lines = [
        "| member | address | accepted proposals | vote set | test set |",
        "|---|---|---|---|---|",
    ]
    for name in sorted({*addresses, *record.vote_scores}):
        cells = (
            _plain(name),
            f"`{addresses.get(name, '')}`" if name in addresses else "",
            str(accepted[name]),
            _score(record.vote_scores.get(name)),
            _score(record.test_scores.get(name)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Scores are what each member measured itself; larger is better."]
    return _section("Members and their scores of this model", *lines)


def _privacy(config: ExperimentConfig) -> str:
    lines = ["- Rows stayed with their members. Proposed weights, votes and scores did not."]
    if config.privacy.asked:
        lines += [f"- {_plain(line)}" for line in statement_of(config)]
    else:
        lines.append(
            "- No differential privacy was used: the weights may reveal rows they were trained on."
        )
    return _section("Privacy", *lines)


def _limits(members: Any) -> str:
    lines = [
        "- Its members approved it on their data. Of other data and people nothing is known.",
        "- Scores hold for the rows they were measured on, and small sets are noisy.",
        "- An approval says that a model is not worse than the one before, not that it is good.",
    ]
    if "SIMULATED" in str(members.get("keys", "")):
        lines.append("- The members' keys come from a seed, so their signatures prove nothing.")
    lines.append("- `colearn audit` replays the ledger up to the head above.")
    return _section("Limits", *lines)


def _section(title: str, *lines: str) -> str:
    return "\n".join([f"## {title}", "", *lines])


def _listed(names: Sequence[str], what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    count = f"{len(names)} {what if len(names) == 1 else plural}"
    if len(names) > _NAMES_MAX:
        return f"{count}, {_plain(names[0])} to {_plain(names[-1])}"
    return f"{count}: {', '.join(_plain(each) for each in names)}"


def _settings(settings: dict[str, Any]) -> str:
    told: Iterable[str] = (f"`{_code(name)} = {_code(value)}`" for name, value in settings.items())
    return ", ".join(told) or "none"


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return str(text).translate(_CONTROL).translate(_MARKUP)


def _code(value: object) -> str:
    return str(value).translate(_CODE)
