"""What the ledger's contract costs in gas, at london: ``python -m benchmarks.gas``.

All figures are whole transactions, as receipts say: 21,000, calldata, execution, refunds. Rounds
are later ones, which write where the round before has written, and voters act one after the other;
nobody is spared by an early close. The receipts are those of a real node (anvil: see INSTALL), and
the pure rules make every call as well and must agree.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tests.receipts import INSTALL, Node, Receipts, anvil
from tests.worlds import address, signed

from benchmarks.paired import write
from colearn.core import Rules
from colearn.core import calls as c
from colearn.core.bindings import commitment
from colearn.ledger.contract import artefact

CODE_BYTES_MAX = 24_576
URI = "ipfs://" + "u" * 53
NOTE = hashlib.sha256(b"note").hexdigest()
TARGETS = {
    ("vote", 5): 45_000,
    ("closing vote", 5): 65_000,
    ("round", 5): 260_000,
    ("round", 20): 920_000,
    ("relayed ballot", 20): 18_000,
}


class Group:
    """Members of one experiment, and what their calls cost."""

    def __init__(self, node: Node, size: int, **rules: Any) -> None:
        self.people = [address(person) for person in range(size)]
        self.node, self.receipts = node, Receipts(node)
        node.now += 1000  # more than the node's own clock has run meanwhile
        word = Rules(**{"propose_s": 600, "vote_s": 600} | rules).to_word()
        self.creating = self.do(0, c.Create(NOTE, NOTE, word, URI))
        for begin in range(0, size, 64):
            self.inviting = self.do(0, c.Invite(1, tuple(self.people[begin : begin + 64])))
        for person in range(size):
            self.joining = self.do(person, c.Join(1, NOTE, NOTE, NOTE))
        self.starting = self.do(0, c.Start(1, self.state.roster.digest))

    @property
    def state(self) -> Any:
        return self.receipts.experiment(1)

    @property
    def at(self) -> tuple[int, int]:
        return 1, self.state.round.number

    def do(self, person: int, call: Any) -> int:
        before = len(self.receipts.gas)
        self.node.now += 1
        self.receipts.apply(call, self.people[person], self.node.now)
        assert len(self.receipts.gas) == before + 1, self.receipts.tail[-1]
        return self.receipts.gas[-1]

    @property
    def voters(self) -> list[int]:
        return [person for person in range(len(self.people)) if person != self.state.front]

    def contribute(self) -> list[int]:
        return [
            self.do(person, c.Contribute(*self.at, self.state.model, NOTE))
            for person in range(len(self.people))
        ]

    def propose(self, candidates: int = 1, included: int = 0) -> int:
        digests = [hashlib.sha256(f"{self.at} {i}".encode()) for i in range(candidates)]
        names = tuple(digest.hexdigest() for digest in digests)
        call = c.Propose(*self.at, self.state.model, included, names, URI)
        return self.do(self.state.front, call)

    def vote(self) -> list[int]:
        masks = (1 << len(self.state.round.candidates)) - 1
        call = c.Vote(*self.at, self.state.round.key, masks, 0, NOTE)
        return [self.do(person, call) for person in self.voters]

    def relay(self) -> int:
        plain = [c.SignedBallot(person, 1, 0, NOTE, False, None) for person in self.voters]
        at = (*self.at, self.state.round.key)
        ballots = [signed(each, each.seat, self.receipts.book.domain, *at) for each in plain]
        return self.do(0, c.VoteMany(*self.at, tuple(ballots)))

    def seal(self) -> tuple[list[int], list[int]]:
        ballot = c.Reveal(*self.at, 1, 0, NOTE, NOTE)
        voters, committing = self.voters, []
        for person in voters:
            sealed = commitment(
                self.receipts.book.domain, self.people[person], self.state.round.key, ballot
            )
            committing.append(self.do(person, c.Commit(*self.at, sealed)))
        return committing, [self.do(person, ballot) for person in voters]

    def advance(self) -> int:
        self.node.now = self.state.round.deadline
        return self.do(0, c.Advance(*self.at, int(self.state.phase)))


def row(what: str, members: int, gas: float, **more: Any) -> dict[str, Any]:
    target = TARGETS.get((what, members))
    found = {"what": what, "members": members, "gas": round(gas)} | more
    if target is not None:
        assert gas <= target, found
        found["target"] = target
    return found


def setting_up(node: Node) -> list[dict[str, Any]]:
    group = Group(node, 5)
    size = len(artefact().runtime) + 32
    assert size <= CODE_BYTES_MAX
    return [
        row(
            "deployment",
            0,
            group.receipts.deployment_gas,
            code_bytes=size,
            target_bytes=CODE_BYTES_MAX,
        ),
        row("create", 5, group.creating),
        row("invitation", 5, group.inviting / 5),
        row("join", 5, group.joining),
        row("start", 5, group.starting),
    ]


def open_rounds(node: Node, size: int, candidates: int = 1) -> list[dict[str, Any]]:
    group = Group(node, size)
    for _ in range(3):
        propose, votes = group.propose(candidates), group.vote()
    of = {} if candidates == 1 else {"candidates": candidates}
    rows = [row("round", size, propose + sum(votes), **of)]
    if size == 5:
        rows += [
            row("propose", size, propose, **of),
            row("vote", size, max(votes[:-1]), **of),
            row("closing vote", size, votes[-1], **of),
        ]
    return rows


def relayed_rounds(node: Node, size: int) -> list[dict[str, Any]]:
    group = Group(node, size)
    for _ in range(3):
        propose, relayed = group.propose(), group.relay()
    return [
        row("relayed round", size, propose + relayed),
        row("relayed ballot", size, relayed / (size - 1)),
    ]


def council_rounds(node: Node, size: int, candidates: int) -> list[dict[str, Any]]:
    group = Group(node, size, contribute_s=600, merge_tolerance=65535)
    everybody = (1 << size) - 1
    for _ in range(3):
        parts = [*group.contribute(), group.propose(candidates, everybody), *group.vote()]
    return [row("council round", size, sum(parts), candidates=candidates)]


def blind_rounds(node: Node, size: int) -> list[dict[str, Any]]:
    group = Group(node, size, reveal_s=600)
    for _ in range(3):
        propose = group.propose()
        committing, revealing = group.seal()
    return [row("blind round", size, propose + sum(committing) + sum(revealing))]


def troubles(node: Node) -> list[dict[str, Any]]:
    """Five members of whom one is away, then asleep; then what a member does beside rounds."""
    group = Group(node, 5)
    rows = []
    for what in ("while one is late", "while one is dormant"):
        for _ in range(2):
            if group.state.front == 4:
                group.do(4, c.Skip(*group.at))
            group.propose()
            call = c.Vote(*group.at, group.state.round.key, 1, 0, NOTE)
            votes = [group.do(person, call) for person in group.voters if person != 4]
            if group.state.round.phase == 3:
                advancing = group.advance()
        rows.append(row(f"vote {what}", 5, max(votes[:-1])))
    rows.append(row("advance", 5, advancing))
    skipping = [group.do(group.state.front, c.Skip(*group.at)) for _ in range(2)]
    rows.append(row("skip", 5, max(skipping)))
    rows.append(row("wake", 5, group.do(4, c.Wake(1))))
    motion = c.Motion(1, 0, 3, "0x" + "00" * 20)
    supporting = [group.do(person, motion) for person in range(4)]
    rows.append(row("motion, opened", 5, supporting[0]))
    rows.append(row("motion, supported", 5, supporting[1]))
    rows.append(row("leave", 5, group.do(1, c.Leave(1))))
    group.do(group.state.front, c.Skip(*group.at))
    confirming = group.do(0, c.Confirm(1, group.state.model))
    return [*rows, row("confirm", 5, confirming)]


def measured(node: Node) -> list[dict[str, Any]]:
    rows = setting_up(node)
    for size in (5, 20, 100):
        rows += open_rounds(node, size)
        rows += relayed_rounds(node, size)
    for size in (5, 20):
        rows += open_rounds(node, size, 8)
        for candidates in (1, 8):
            rows += council_rounds(node, size, candidates)
        rows += blind_rounds(node, size)
    return rows + troubles(node)


def main() -> None:
    program = anvil()
    if program is None:
        raise SystemExit(f"The node is not here. Run: {INSTALL}")
    with Node(program) as node:
        write("gas", measured(node))


if __name__ == "__main__":
    main()
