"""Five minutes for a sceptic: a real chain, five processes, one killed, one flipped byte named."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from colearn.audit import Report, audit, open_source
from colearn.cli.anvil import Anvil, running_anvil
from colearn.cli.demo import demo_config
from colearn.cli.member import Place
from colearn.core import Phase, Rules, calls, exact_threshold
from colearn.core.events import Closed
from colearn.errors import ColearnError
from colearn.experiment import Collective, ExperimentConfig, Plan, plan
from colearn.experiment.specification import specification_of
from colearn.identity import Key
from colearn.ledger import Happening
from colearn.ledger.evm import EvmLedger, deploy
from colearn.store import DirectoryStore
from colearn.weights import content_id, freeze

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
        self.keys = [Key.from_seed(config.seed, name) for name in self.names]
        self.closed: list[Closed] = []
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
    chain.fund([key.address for key in proof.keys])
    contract = deploy(chain.url, proof.keys[0], _DRIFT_S)
    url = f"{chain.url}/{contract}"
    proof.say(f"A chain node runs on this machine (anvil), and the contract is on it: {url}")
    ledger = stack.enter_context(EvmLedger(url))
    ledger.listen(proof.hear)
    place = _create(proof, ledger, url)
    members = [stack.enter_context(_member(place, number)) for number in range(len(proof.names))]
    proof.say(f"{len(proof.names)} learners, each a process of its own: {', '.join(proof.names)}")
    _start(proof, ledger)
    _until(proof, ledger, _KILL_AFTER)
    members[0].kill()
    members[0].wait()
    proof.say(f"[red]{proof.names[0]} is killed (kill -9)[/red]; the others go on")
    _until(proof, ledger, _RESTART_AFTER)
    back = stack.enter_context(_member(place, 0))
    members[0] = back
    proof.say(f"{proof.names[0]} is started again, and goes on where the ledger stands")
    _until(proof, ledger, None)
    _all_agree(proof, ledger, members)
    report = audit(open_source(url, proof.folder / "blobs"))
    _require(report.passed, "the audit of the chain to pass")
    proof.say(f"Audit of the chain: {len(report.checks)} checks, nothing found")
    return report


def _create(proof: _Proof, ledger: EvmLedger, url: str) -> Place:
    config = proof.config
    (proof.folder / "experiment.toml").write_text(config.to_toml())
    store = DirectoryStore(proof.folder / "blobs")
    rules = Rules(
        exact_threshold(config.vote.threshold),
        propose_s=_PHASE_S,
        vote_s=_PHASE_S,
        rounds=_ROUNDS,
        early_close=True,
    )
    learner = proof.prepared.member(0)
    model = freeze(learner.mli_get_current_weights().weights)
    schema = proof.prepared.task.schema
    specification = store.put(specification_of(rules, model.digest, schema, config.terms()))
    store.put(model.data)
    ledger.submit(proof.keys[0], calls.Create(specification, model.digest, rules.to_word(), ""))
    addresses = tuple(key.address for key in proof.keys)
    ledger.submit(proof.keys[0], calls.Invite(_EXPERIMENT, addresses))
    return Place(str(proof.folder), 0, url, specification, model.digest)


@contextmanager
def _member(place: Place, number: int) -> Iterator[subprocess.Popen[str]]:
    """Run a learner's process; it does not outlive the demonstration."""
    at = Place(place.folder, number, place.ledger, place.specification, place.model)
    process = subprocess.Popen(  # noqa: S603  (this program, with its own words)
        [sys.executable, "-m", "colearn.cli.member", at.to_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _start(proof: _Proof, ledger: EvmLedger) -> None:
    """Start once everybody has joined."""
    while len(ledger.experiment(_EXPERIMENT).roster.addresses) < len(proof.names):
        ledger.wait(1.0)
        proof.check_time()
    # Places in join order are as fast as processes are; the screen shows names by seat.
    seated = ledger.experiment(_EXPERIMENT).roster.addresses
    by_address = {key.address: name for key, name in zip(proof.keys, proof.names, strict=True)}
    proof.names = tuple(by_address[address] for address in seated)
    roster = ledger.experiment(_EXPERIMENT).roster.digest
    ledger.submit(proof.keys[0], calls.Start(_EXPERIMENT, roster))
    proof.say("All have joined; the experiment runs")


def _until(proof: _Proof, ledger: EvmLedger, rounds: int | None) -> None:
    """Watch until so many rounds have closed, or until the experiment is over."""
    while ledger.experiment(_EXPERIMENT).phase is not Phase.OVER:
        if rounds is not None and len(proof.closed) >= rounds:
            return
        ledger.wait(1.0)
        proof.check_time()


def _all_agree(proof: _Proof, ledger: EvmLedger, members: list[subprocess.Popen[str]]) -> None:
    left = max(_LIMIT_S - proof.seconds, 1.0)
    models = {member.communicate(timeout=left)[0].strip() for member in members}
    model = ledger.experiment(_EXPERIMENT).model
    _require(models == {model}, f"every learner to end with {model}")
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
