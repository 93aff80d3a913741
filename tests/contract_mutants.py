"""One-line faults in the contract, each of which the comparison must catch.

``python -m tests.contract_mutants [WORD ...]`` compiles the contract with each fault (whose name
has one of the words in it) and runs the property tests that compare it with the pure rules. Needs
the extras `dev` and `evm`; all of them take a few minutes.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = runpy.run_path(str(ROOT / "scripts" / "build_contract.py"))
TESTS = ("tests/property/test_bytecode.py", "tests/property/test_bytecode_bounds.py")

FAULTS = [
    ("floor for ceil", "unsafe_add(unsafe_mul(3, n), 3) >> 2", "unsafe_mul(3, n) >> 2"),
    ("a tie is accepted", "min(unsafe_add(share, 1), c)", "min(share, c)"),
    ("the proposer decides alone", "c), 2), 1)", "c), 1), 1)"),
    ("one of several candidates needs one approval more", "BITS_16 >= needed:", "BITS_16 > needed:"),
    ("newcomers stand before the last proposer", "        last = unsafe_sub(given, 1)\n        self.ring[experiment][last] = (\n            self.ring[experiment][last]", "        self.ring[experiment][unsafe_sub(given, 1)] = (\n            self.ring[experiment][unsafe_sub(given, 1)]"),
    ("leavers keep their turn", "(members >> found) & 1 != 0", "True"),
    ("empty rounds use up rounds", "return unsafe_add(turn, 1 << EMPTY)", "return unsafe_add(turn, 1 << EMPTY | 1 << COUNTED)"),
    ("empty rounds are never forgotten", "turn & ~EMPTY_AND_STREAK", "turn & ~(BITS_16 << STREAK)"),
    ("one empty round more", "BITS_12 >= n << 1", "BITS_12 > n << 1"),
    ("no patience", "BITS_16 >= patience", "BITS_16 > patience"),
    ("an acceptance keeps the streak", "if outcome == REJECTED:", "if outcome != NO_PROPOSAL:"),
    ("the streak overflows", "min(unsafe_add((turn >> STREAK) & BITS_16, 1), BITS_16)", "unsafe_add((turn >> STREAK) & BITS_16, 1)"),
    ("finish is forgotten", "        or turn & FLAG_FINISH != 0\n", ""),
    ("rounds are counted one too far", "BITS_32 >= rounds", "BITS_32 > rounds"),
    ("half may be dormant", "asleep << 1 >= (turn >> N)", "asleep << 1 > (turn >> N)"),
    ("an act forgives nothing", "    once &= ~who\n    self.missed1[experiment] = once\n", "    once &= ~who\n"),
    ("a commitment is an act", "self._settle(experiment, turn, todo)", "self._settle(experiment, self._awake(experiment, turn, bit), todo)"),
    ("a skip is no act", "self._end_phase(experiment, self._awake(experiment, turn, bit), 0)", "self._end_phase(experiment, turn, 0)"),
    ("the dormant miss deadlines", "late &= ~self._dormant(experiment, turn)", "pass"),
    ("who left still sleeps", "turn = turn & (2**244 - 1) | (self._count(twice) << ASLEEP)", "pass"),
    ("a dormant proposer is waited for", "if (dormant >> front) & 1 == 0:", "if True:"),
    ("one merger more", "(turn >> N) & BITS_12, 1), 3), 1)", "(turn >> N) & BITS_12, 1), 3), 2)"),
    ("k has no bound", "min(tolerance, unsafe_sub(n, 1) >> 1)", "min(tolerance, unsafe_sub(n, 1))"),
    ("what nobody contributed is included", "contributors = members & ~self.todo[experiment]", "contributors = members"),
    ("a candidate may be the parent", "assert candidate != parent,", "assert True,"),
    ("the key leaves included out", "abi_encode(parent, included, candidates)", "abi_encode(parent, count, candidates)"),
    ("in time is before the deadline", "assert block.timestamp <=", "assert block.timestamp <"),
    ("a deadline passes a second early", "assert block.timestamp > (", "assert block.timestamp >= ("),
    ("one acts as often as one likes", 'assert todo & bit != 0, "not awaited"', 'assert bit != 0, "not awaited"'),
    ("votes never close early", "turn & OPEN_VOTE_BITS == OPEN_VOTE", "False"),
    ("a vote closes too early", "self._count(todo)) < needed", "self._count(todo)) <= needed"),
    ("old tallies count", "    if (turn >> CAST) & BITS_12 != 0:\n        tallies = unsafe_add", "    if True:\n        tallies = unsafe_add"),
    ("a lane is off by one", "2**90 + 2**105", "2**90 + 2**104"),
    ("only the last abstainer counts", "abstainers |= self.abstainers[experiment]", "pass"),
    ("abstainers must reveal", "committed &= ~self.abstainers[experiment]", "pass"),
    ("a commitment binds nobody", "            round_number,\n            msg.sender,\n", "            round_number,\n            self,\n"),
    ("a relay may bring the proposer's ballot", "self.members[experiment] & ~(1 << ((turn >> FRONT) & BITS_8))", "self.members[experiment]"),
    ("a relay may forge", "assert signer == voter,", "assert True,"),
    ("a relayed ballot counts twice", "if todo & bit == 0:", "if False:"),
    ("relayed abstainers must fit the mask", "        if ballot.abstain:\n            turn = unsafe_add(turn, 1 << ABSTAINED)\n        else:\n            turn = self._with_ballot(", "        if True:\n            turn = self._with_ballot("),
    ("an invitation is never used up", "self.people[experiment][msg.sender] = following", "self.people[experiment][msg.sender] = person & ~BITS_16 | following"),
    ("257 seats", "assert seat < SEATS_MAX,", "assert seat <= SEATS_MAX,"),
    ("the roster keeps its epoch", "unsafe_add(desk >> EPOCH, 1)", "desk >> EPOCH"),
    ("half expel", "3 * self._count(supporters) > 2 * electors", "2 * self._count(supporters) > electors"),
    ("the target is an elector", "electors = unsafe_sub(n, 1)", "electors = n"),
    ("one may be left alone", "unsafe_add(self._count(leaving), 2)", "unsafe_add(self._count(leaving), 1)"),
    ("motions without end", "assert earlier == PASSED,", "assert True,"),
    ("who waits can be admitted", "target_bit == 0 and seat <= opened", "target_bit == 0"),
    ("any drift", "max(4 * drift, 1)", "max(3 * drift, 1)"),
    ("a reserved bit is taken", "127 * 2**217", "126 * 2**217"),
]  # fmt: skip


def faulty(source, fault):
    name, before, after = fault
    if source.count(before) != 1:
        raise SystemExit(f"{name}: {before!r} stands {source.count(before)} times in the contract")
    return BUILD["compiled"](source.replace(before, after))


def survives(folder):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *TESTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in (0, 1):
        raise SystemExit(f"the tests could not run\n{run.stdout[-2000:]}{run.stderr}")
    return run.returncode == 0


def main():
    source = BUILD["SOURCE"].read_text()
    words = sys.argv[1:]
    faults = [each for each in FAULTS if not words or any(word in each[0] for word in words)]
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src" / "colearn", Path(folder) / "colearn")
        artefact = Path(folder) / BUILD["ARTEFACT"].relative_to(ROOT / "src")
        if not survives(folder):
            raise SystemExit("the contract without a fault does not agree with the rules")
        for fault in faults:
            artefact.write_text(BUILD["text"](faulty(source, fault)))
            survived = survives(folder)
            print(f"{'SURVIVED' if survived else 'killed':9}{fault[0]}", flush=True)
            alive += [fault[0]] if survived else []
    print(f"{len(faults) - len(alive)} of {len(faults)} killed")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
