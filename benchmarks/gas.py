"""What the ledger's contract costs in gas, at london: ``python -m benchmarks.gas``.

All figures are whole transactions, as receipts say: 21,000, calldata, execution, refunds. Rounds
are later ones, which write where the round before has written, and voters act one after the other;
nobody is spared by an early close. The receipts are those of a real node (anvil), and
the pure rules make every call as well and must agree.
"""

from __future__ import annotations

from typing import Any

from tests.receipts import NOTE, Group, Node

from benchmarks.page import put, table
from benchmarks.paired import write
from colearn.cli.anvil import anvil_binary
from colearn.core import calls as c
from colearn.ledger.contract import artefact

CODE_BYTES_MAX = 24_576
TARGETS = {
    ("vote", 5): 45_000,
    ("closing vote", 5): 65_000,
    ("round", 5): 260_000,
    ("round", 20): 920_000,
    ("relayed ballot", 20): 18_000,
}


def row(what: str, members: int, gas: float, **more: Any) -> dict[str, Any]:
    target = TARGETS.get((what, members)) if more.get("candidates", 1) == 1 else None
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
    with Node(str(anvil_binary())) as node:
        rows = measured(node)
    write("gas", rows)
    put(
        "gas",
        table(("what", "members", "candidates", "gas", "target"), [told(each) for each in rows]),
    )


def told(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Return a row as people read it."""
    target = f"at most {row['target']:,}" if "target" in row else ""
    members = str(row["members"] or "")
    return (row["what"], members, str(row.get("candidates", "")), f"{row['gas']:,}", target)


if __name__ == "__main__":
    main()
