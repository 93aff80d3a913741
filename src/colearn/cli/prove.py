"""Five minutes for a sceptic: a real chain, five processes, one killed, one flipped byte named."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from rich.console import Console
from rich.text import Text

from colearn.audit import Report, audit, open_source
from colearn.cli.anvil import Anvil, running_anvil
from colearn.cli.demo import demo_config
from colearn.cli.group import Members, create_group, join_group, running
from colearn.core import Phase
from colearn.core.events import Closed, Confirmed
from colearn.errors import ColearnError
from colearn.experiment import Collective, ExperimentConfig, Plan, parse_config, plan
from colearn.ledger import Happening
from colearn.ledger.evm import EvmLedger, deploy
from colearn.network.invitation import DIRECTORY
from colearn.store import DirectoryStore
from colearn.weights import content_id

__all__ = ["prove"]

_ROUNDS, _KILL_AFTER, _RESTART_AFTER = 12, 4, 7
_PHASE_S, _DRIFT_S = 8, 1
_LIMIT_S = 280.0
_EXPERIMENT = 1


class _Proof:
    """The state of one demonstration."""

    def __init__(self, console: Console, config: ExperimentConfig, folder: Path) -> None:
        self.console, self.config, self.folder = console, config, folder
        self.prepared: Plan = plan(config)
        self.names = self.prepared.names
        self.closed: list[Closed] = []
        self.confirmed: set[tuple[str, str]] = set()
        self._step = 0
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        self._step += 1
        self.console.print(f"[bold]{self._step:2}[/bold]  {what}", soft_wrap=True, highlight=False)

    def line(self, text: str, style: str = "dim") -> None:
        self.console.print(Text(f"      {text}", style), soft_wrap=True)

    def hear(self, happening: Happening) -> None:
        for event in happening.events:
            if isinstance(event, Closed):
                self.closed.append(event)
                self.line(
                    f"round {event.round_number:2}  {self.names[event.proposer]:8} {event.result}"
                )
            elif isinstance(event, Confirmed):
                self.confirmed.add((event.member, event.model))

    def check_time(self) -> None:
        if time.monotonic() - self._began > _LIMIT_S:
            raise ColearnError("The proof took too long.", hint="Is the machine very busy?")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def prove(*, as_json: bool) -> None:
    """Run the demonstration and print what happens; any step that fails is an error.

    Raises:
        ColearnError: Something is not as it must be, or no chain can be had here.
    """
    console = Console(quiet=as_json)
    with tempfile.TemporaryDirectory(prefix="colearn-proof-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        proof = _Proof(console, demo_config("digits", 7), folder)
        chain = stack.enter_context(running_anvil())
        report = _on_chain(proof, chain, stack)
        named = _flipped_blob(proof, report)
        row = _flipped_row(proof)
        proof.say(f"Proved in {proof.seconds:.0f} s, by programs that trust nobody.")
        if as_json:
            document = {
                "rounds": len(proof.closed),
                "accepted": sum(event.outcome == 1 for event in proof.closed),
                "audit": report.to_dict(),
                "flipped_blob": named,
                "flipped_row": row,
                "seconds": round(proof.seconds, 1),
            }
            sys.stdout.write(json.dumps(document, sort_keys=True) + "\n")


def _on_chain(proof: _Proof, chain: Anvil, stack: ExitStack) -> Report:
    """Train on a real chain, kill one learner half-way, bring it back, and audit."""
    members = Members.new(proof.folder, proof.names)
    chain.fund([key.address for key in members.keys])
    contract = deploy(chain.url, members.keys[0], _DRIFT_S)
    url = f"{chain.url}/{contract}"
    proof.say(f"A chain node runs on this machine (anvil), and the contract is on it: {url}")
    ledger = stack.enter_context(EvmLedger(url))
    ledger.listen(proof.hear)
    nodes = list(_joined(proof, members, ledger, url).values())
    processes = [stack.enter_context(_node(path)) for path in nodes]
    proof.say(f"{len(nodes)} learners, each a process of its own: {', '.join(proof.names)}")
    _until(proof, ledger, _KILL_AFTER)
    processes[0].kill()
    processes[0].wait()
    proof.say(f"[red]{proof.names[0]} is killed (kill -9)[/red]; the others go on")
    _until(proof, ledger, _RESTART_AFTER)
    processes[0] = stack.enter_context(_node(nodes[0]))
    proof.say(f"{proof.names[0]} is started again, and goes on where the ledger stands")
    _until(proof, ledger, None)
    _all_agree(proof, ledger)
    report = audit(open_source(url, proof.folder / "blobs"))
    _require(report.passed, "the audit of the chain to pass")
    proof.say(f"Audit of the chain: {len(report.checks)} checks, nothing found")
    return report


def _joined(proof: _Proof, members: Members, ledger: EvmLedger, url: str) -> dict[str, Path]:
    """Create the experiment, and let everybody join with its share."""
    phases = {"propose_s": _PHASE_S, "vote_s": _PHASE_S}
    document = {**proof.config.model_dump(by_alias=True), "rounds": _ROUNDS, "phases": phases}
    store = f"{DIRECTORY}{proof.folder / 'blobs'}"
    held = DirectoryStore(proof.folder / "held")
    invitation = create_group(parse_config(document), members, ledger, held, url=url, store=store)
    return join_group(members, invitation, ledger, held)


def _node(path: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a learner's node; the first one opens round 1 when all have joined."""
    return running(["start", str(path)], subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _until(proof: _Proof, ledger: EvmLedger, rounds: int | None) -> None:
    """Watch until so many rounds have closed, or until everybody has confirmed the last model."""
    while ledger.experiment(_EXPERIMENT).phase is not Phase.OVER or (
        rounds is None and ledger.experiment(_EXPERIMENT).round.todo
    ):
        if rounds is not None and len(proof.closed) >= rounds:
            return
        ledger.wait(1.0)
        proof.check_time()


def _all_agree(proof: _Proof, ledger: EvmLedger) -> None:
    """Require that each member has signed that it holds the last model (7.7)."""
    model = ledger.experiment(_EXPERIMENT).model
    everybody = {(address, model) for address in ledger.experiment(_EXPERIMENT).roster.addresses}
    _require(proof.confirmed == everybody, f"every learner to end with {model}")
    proof.say(f"All learners end with one model: {content_id(bytes.fromhex(model))}")


def _flipped_blob(proof: _Proof, report: Report) -> str:
    """Flip one bit of an accepted model's bytes, and have it named."""
    accepted = next(event for event in proof.closed if event.outcome == 1)
    path = proof.folder / "blobs" / accepted.model
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = audit(open_source(report.source, proof.folder / "blobs"))
    findings = [finding for check in found.checks for finding in check.findings]
    _require(len(findings) == 1, "one finding")
    proof.say("One byte of an accepted model is changed on the disk. The audit:")
    proof.line(str(findings[0]), "red")
    return str(findings[0])


def _flipped_row(proof: _Proof) -> str:
    """Run the same on the embedded ledger, flip one bit of one row, and have it named."""
    folder = proof.folder / "embedded"
    prepared = proof.prepared
    run = Collective(prepared.group(), directory=folder, rounds=5, seed=proof.config.seed)
    for _ in run.rounds():
        pass
    run.close()
    _require(audit(open_source(str(folder))).passed, "the audit of the file to pass")
    entry = run.head_.height // 2
    with sqlite3.connect(folder / "ledger.db") as db:
        row = db.execute("select entry from rows where height = ?", (entry,)).fetchone()
        changed = bytes(row[0][:-9]) + bytes([row[0][-9] ^ 1]) + bytes(row[0][-8:])
        db.execute("update rows set entry = ? where height = ?", (changed, entry))
    db.close()
    findings = [
        finding for check in audit(open_source(str(folder))).checks for finding in check.findings
    ]
    _require(findings[0].entry == entry, f"entry {entry} to be named")
    proof.say(f"One byte of row {entry} of a ledger file is changed. The audit:")
    proof.line(str(findings[0]), "red")
    return str(findings[0])


def _require(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:
        raise ColearnError(f"The proof failed: expected {what}.")
