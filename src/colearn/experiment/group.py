"""The nodes of one process at one ledger, stepped in turn: nothing depends on threads or time."""

from __future__ import annotations

from collections.abc import Sequence

from colearn.core import Experiment, Phase, Rules, calls
from colearn.core.encoding import INVITATIONS_MAX
from colearn.errors import ColearnError
from colearn.ledger import Ledger
from colearn.node import Node, Origin

__all__ = ["EXPERIMENT", "RUN_PHASE_S", "Group"]

EXPERIMENT = 1
"""The number of a run's experiment: its ledger has one."""

RUN_PHASE_S = 30 * 24 * 3600
"""How long a phase of a run may last; nobody is late in one process, whatever training takes."""


class Group:
    """Nodes that share a view of a ledger.

    Attributes:
        nodes: In join order.
    """

    def __init__(self, nodes: Sequence[Node], ledger: Ledger) -> None:
        """Take the nodes together; nothing happens yet."""
        self.nodes = list(nodes)
        self._ledger = ledger

    @property
    def experiment(self) -> Experiment:
        """The state of the experiment."""
        return self._ledger.experiment(EXPERIMENT)

    def establish(self, origin: Origin, rules: Rules) -> None:
        """Create the experiment, let everybody join, and start; go on where that was broken off.

        Raises:
            LedgerError: The ledger cannot be written, or holds something else.
        """
        creator = self.nodes[0].key
        if not self._exists():
            create = calls.Create(origin.specification, origin.model, rules.to_word(), "")
            self._ledger.submit(creator, create)
        if self.experiment.phase is not Phase.SETUP:
            return
        for some in self._uninvited():
            self._ledger.submit(creator, calls.Invite(EXPERIMENT, some))
        for node in self.nodes:
            node.step()
        roster = self.experiment.roster.digest
        self._ledger.submit(creator, calls.Start(EXPERIMENT, roster))

    def run_round(self) -> bool:
        """Step the nodes until a round has closed and everybody has its model.

        Returns:
            False when the experiment is over and no round was open.

        Raises:
            ColearnError: The ledger or the store failed, or nobody has anything to do.
        """
        number = self.experiment.round.number
        if self.experiment.phase is Phase.OVER:
            return False
        while not self._closed(number):
            if not self._pass(number):
                raise ColearnError(f"Round {number} stands still: no node has anything to do.")
        for node in self.nodes:
            node.catch_up()
        return True

    def end(self) -> None:
        """Let everybody confirm the final model (7.7)."""
        for node in self.nodes:
            while node.step():
                pass

    def stand_for_finish(self) -> None:
        """Let every node back the motion that ends the experiment (6.1)."""
        for node in self.nodes:
            node.finish = True

    def _pass(self, number: int) -> bool:
        """Step every node once, until the round has closed; say whether anything was done."""
        done = False
        for node in self.nodes:
            done |= node.step()
            # Who comes later must not begin the next round before this one is recorded.
            if self._closed(number):
                return True
        return done

    def _closed(self, number: int) -> bool:
        current = self.experiment.round
        return current.number != number or current.phase is Phase.OVER

    def _exists(self) -> bool:
        try:
            return self.experiment.number == EXPERIMENT
        except ColearnError:
            return False

    def _uninvited(self) -> list[tuple[str, ...]]:
        roster = self.experiment.roster
        missing = [
            node.address
            for node in self.nodes
            if node.address not in roster.invited and node.address not in roster.seat_of
        ]
        return [
            tuple(missing[at : at + INVITATIONS_MAX])
            for at in range(0, len(missing), INVITATIONS_MAX)
        ]
