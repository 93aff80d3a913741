"""The terms of an experiment in words, for who is about to sign them (6.1).

Everything here was written by somebody else: what a terminal could take for a command is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from colearn.core import Experiment, Rules, tolerance
from colearn.crypto import checksum_address
from colearn.experiment.statement import statement_of
from colearn.network.joining import Offer
from colearn.network.terms import Terms

__all__ = ["as_document", "duration", "in_words", "plain", "roster_lines", "tolerance_lines"]

_TEXT_MAX = 200
_NAMES_MAX = 8
"""Columns and classes that are listed by name; of more, the first and the last."""


def in_words(offer: Offer, address: str) -> list[tuple[str, str]]:
    """Return what is agreed on as pairs of a label and a text; a label may be empty.

    Args:
        offer: What the invitation leads to.
        address: Whose own place in the roster is marked.
    """
    terms, experiment, invitation = offer.terms, offer.experiment, offer.invitation
    config = terms.config
    lines = [
        ("experiment", f"{plain(config.name)}, number {experiment.number}"),
        ("ledger", plain(invitation.ledger)),
        ("blobs", plain(invitation.store)),
        ("agreed on", f"{invitation.specification} (digest of the specification)"),
    ]
    lines += _labelled("rules", [*_rule_lines(terms.rules), _voting(terms), _stop(terms)])
    members = len({*experiment.roster.addresses, *experiment.roster.invited})
    lines += _labelled("tolerance", tolerance_lines(terms.rules, members))
    lines += _labelled("members", roster_lines(experiment, address))
    lines += [
        ("task", f"{plain(config.task.use)} {_settings(config.task.settings)}"),
        *_labelled("schema", _schema_lines(terms)),
        ("scaling", _scaling(terms)),
        ("learner", f"{plain(config.learner.use)} {_settings(config.learner.settings)}"),
        ("model 0", offer.model.cid),
        *_labelled("privacy", statement_of(config)),
    ]
    return lines


def as_document(offer: Offer, address: str) -> dict[str, Any]:
    """Return the same for a program."""
    experiment, terms, invitation = offer.experiment, offer.terms, offer.invitation
    schema = terms.schema
    return {
        "experiment": experiment.number,
        "name": terms.config.name,
        "ledger": invitation.ledger,
        "store": invitation.store,
        "specification": invitation.specification,
        "model": invitation.model,
        "cid": offer.model.cid,
        "address": checksum_address(address),
        "joined": [checksum_address(each) for each in experiment.roster.addresses],
        "invited": [checksum_address(each) for each in sorted(experiment.roster.invited)],
        "threshold": str(terms.rules.threshold),
        "propose_s": terms.rules.propose_s,
        "vote_s": terms.rules.vote_s,
        "reveal_s": terms.rules.reveal_s,
        "rounds": terms.rules.rounds,
        "patience": terms.rules.patience,
        "task": terms.config.task.use,
        "learner": terms.config.learner.use,
        "preprocess": terms.config.preprocess.use,
        "features": 0 if schema is None else len(schema.features),
        "classes": None if schema is None or schema.classes is None else list(schema.classes),
        "privacy": terms.config.privacy.model_dump(mode="json", exclude_none=True) or None,
    }


def tolerance_lines(rules: Rules, members: int) -> list[str]:
    """Return how many silent and how many hostile members the rules survive (P3.4, section 9)."""
    if members < 2:
        return [f"{members} of at least 2 members so far"]
    survives = tolerance(rules, members)
    passing = max(survives.obstructing, 0)
    approvals = "approval" if survives.needed == 1 else "approvals"
    told = (
        f"With {members} members a proposal needs {survives.needed} {approvals} of "
        f"{members - 1} others. It still passes with {passing} of them silent or hostile; "
        f"{survives.colluding} hostile cannot pass one alone."
    )
    lines = [told]
    if survives.obstructing < 1:
        lines.append("warning: one silent member stops everything.")
    if rules.threshold < Fraction(1, 2):
        lines.append("warning: a minority decides at this threshold.")
    return lines


def roster_lines(experiment: Experiment, address: str) -> list[str]:
    """Return who has joined and who may, the own address marked."""
    roster = experiment.roster
    told = [(each, "joined") for each in roster.addresses]
    told += [(each, "invited") for each in roster.invited]
    return [
        f"{checksum_address(each)} {state}" + (" (you)" if each == address else "")
        for each, state in told
    ] or ["nobody yet"]


def plain(text: object) -> str:
    """Return text as a terminal may show it: on one line, and not too long."""
    whole = "".join(each if each.isprintable() else "?" for each in str(text))
    return whole if len(whole) <= _TEXT_MAX else f"{whole[:_TEXT_MAX]}..."


def duration(seconds: int) -> str:
    """Return a duration as people say it."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def _labelled(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(label if place == 0 else "", line) for place, line in enumerate(lines)]


def _rule_lines(rules: Rules) -> list[str]:
    whole = "all members stand" if rules.threshold == 1 else f"more than {rules.threshold} stand"
    early = "; a vote ends once its outcome is certain" if rules.early_close else ""
    lines = [
        f"A proposal becomes the model when {whole} behind it, its proposer included.",
        f"A proposer has {duration(rules.propose_s)}, voters have {duration(rules.vote_s)}{early}.",
    ]
    if rules.reveal_s:
        lines.append(f"Votes are blind, and opened within {duration(rules.reveal_s)} afterwards.")
    return lines


def _voting(terms: Terms) -> str:
    vote = terms.config.vote
    if vote.mode == "classic":
        return "A voter approves what scores better on its own rows."
    if terms.config.privacy.votes is not None:
        return "A voter approves by chance, the likelier the better it is on its own rows."
    classes = ", every class counting alike" if vote.balanced else ""
    return f"A voter approves what is not worse on its own rows (z = {vote.z:g}){classes}."


def _stop(terms: Terms) -> str:
    rules, target = terms.rules, terms.config.target
    ends = []
    if rules.rounds:
        ends.append(f"{rules.rounds} rounds with a proposal")
    if rules.patience:
        ends.append(f"{rules.patience} proposals in a row that are not accepted")
    if target is not None:
        ends.append(f"a score of {target:g}")
    return f"It ends after {', or '.join(ends)}." if ends else "It ends when members vote for it."


def _schema_lines(terms: Terms) -> list[str]:
    schema = terms.schema
    if schema is None:
        return ["none declared"]
    lines = [f"{len(schema.features)} columns: {_listed(schema.features)}"]
    if schema.classes is None:
        lines.append("output: one number")
    else:
        lines.append(f"{len(schema.classes)} classes: {_listed(schema.classes)}")
    return lines


def _scaling(terms: Terms) -> str:
    if terms.config.preprocess.use == "shared":
        return "shared moments of all members"
    if terms.scaling is None or terms.config.preprocess.use == "none":
        return "none"
    return "public constants, which are part of the specification"


def _listed(names: Sequence[object]) -> str:
    if len(names) > _NAMES_MAX:
        return f"{plain(names[0])} to {plain(names[-1])}"
    return ", ".join(plain(each) for each in names)


def _settings(settings: Mapping[str, Any]) -> str:
    return plain(", ".join(f"{name} = {value!r}" for name, value in settings.items()))
