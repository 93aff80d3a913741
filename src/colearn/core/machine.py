"""The ledger's state machine: a call of a signer at a time makes the next state, or is refused.

Everything that changes an experiment goes through `Book.apply`, in every ledger, in replay and in
audit. The contract does the same (7.8), and tests compare the two call by call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from colearn.core import acts, ballots, calls, membership
from colearn.core.bindings import Domain, origin
from colearn.core.events import Created, Event
from colearn.core.experiment import Experiment
from colearn.core.refusal import Reason, RefusedError, require
from colearn.core.rules import FRACTION_PART_MAX, Rules
from colearn.errors import ConfigError

__all__ = ["Book", "shortest_phase_s"]

_Handler = Callable[[Experiment, Any, str, int, list[Event]], Experiment]

_HANDLERS: Mapping[type[calls.Call], _Handler] = {
    calls.Invite: membership.invite,
    calls.Join: membership.join,
    calls.Start: membership.start,
    calls.Contribute: acts.contribute,
    calls.Propose: acts.propose,
    calls.Skip: acts.skip,
    calls.Vote: ballots.vote,
    calls.Abstain: ballots.abstain,
    calls.Commit: ballots.commit,
    calls.Reveal: ballots.reveal,
    calls.VoteMany: ballots.vote_many,
    calls.Advance: acts.advance,
    calls.Wake: acts.wake,
    calls.Leave: membership.leave,
    calls.Motion: membership.motion,
    calls.Confirm: membership.confirm,
}

_NONE: Mapping[int, Experiment] = MappingProxyType({})


def shortest_phase_s(drift_s: int) -> int:
    """Return the seconds that a phase lasts at least: 4 x drift, and 1 (7.2)."""
    return max(4 * drift_s, 1)


@dataclass(frozen=True, slots=True)
class Book:
    """All experiments of one ledger.

    Attributes:
        domain: Where signatures are valid.
        drift_s: How far clocks may differ, in seconds (7.2).
        experiments: By number, from 1.
    """

    domain: Domain
    drift_s: int = 0
    experiments: Mapping[int, Experiment] = field(default_factory=lambda: _NONE)

    def apply(self, call: calls.Call, sender: str, now: int) -> tuple[Book, tuple[Event, ...]]:
        """Return the book after a call, and what it made known.

        Args:
            call: What is asked.
            sender: Who asks, a lower-case address.
            now: Seconds since 1970.

        Raises:
            RefusedError: The rules refuse the call; nothing has changed (S5).
        """
        events: list[Event] = []
        if isinstance(call, calls.Create):
            experiment = self._created(call, sender, events)
        else:
            # An experiment that nobody created refuses as an empty one does.
            before = self.experiments.get(call.experiment, _UNKNOWN)
            experiment = _HANDLERS[type(call)](before, call, sender, now, events)
        experiments = {**self.experiments, experiment.number: experiment}
        return replace(self, experiments=experiments), tuple(events)

    def _created(self, call: calls.Create, sender: str, events: list[Event]) -> Experiment:
        _check_rules(call.rules, shortest_phase_s(self.drift_s))
        number = len(self.experiments) + 1
        events.append(Created(number, sender, call.specification, call.model, call.rules, call.uri))
        return Experiment(
            number=number,
            domain=self.domain,
            creator=sender,
            origin=origin(call.specification, call.model),
            specification=call.specification,
            model=call.model,
            rules=Rules.from_word(call.rules),
        )


_UNKNOWN = Experiment()


def _check_rules(rules: int, shortest_s: int) -> None:
    """Refuse a word of rules that no experiment can live by, as the contract does."""
    numerator, denominator = rules & FRACTION_PART_MAX, rules >> 16 & FRACTION_PART_MAX
    require(denominator > 0 and numerator <= denominator, Reason.THRESHOLD)
    durations = [rules >> low & (2**32 - 1) for low in (32, 64, 96, 128)]
    for index, duration_s in enumerate(durations):
        may_be_none = index in (0, 3)
        none = may_be_none and duration_s == 0
        require(none or duration_s >= shortest_s, Reason.DEADLINE_SHORT)
    try:
        Rules.from_word(rules)
    except ConfigError as error:
        raise RefusedError(Reason.RESERVED) from error
