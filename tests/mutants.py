"""One-line faults, each of which a test must catch: ``make mutants``.

Every fault is put into a copy of the package, and the tests named with it must fail.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import core_faults

ROOT = Path(__file__).parents[1]
CORE, WEIGHTS, LEARNERS = "tests/unit/core", "tests/unit/weights", "tests/unit/learners"
NODE, RESUME, AUDIT = (
    "tests/unit/test_node.py",
    "tests/integration/test_resume.py",
    "tests/scenario/test_audit_tampering.py",
)
ATTACKS, EXPERIMENT = "tests/scenario", "tests/unit/experiment"
TALLY, NAMED = "core/tally.py", "weights/named.py"
CODEC, TREES = "weights/codec.py", "weights/trees.py"
WORKER, TRAINING = "worker.py", "privacy/training.py"
PRIVATE, CLAIMS = "tests/unit/privacy/", "tests/scenario/test_private_proposals.py"
SCORING, TEMPLATE = "learners/_scoring.py", "learners/_template.py"

FAULTS = [
    ("a tie is accepted", TALLY, "threshold.denominator + 1, counted", "threshold.denominator, counted", CORE),
    ("no floor of three quarters", TALLY, "-(-3 * members // 4)", "0", CORE),
    ("floor for ceil", TALLY, "-(-3 * members // 4)", "3 * members // 4", CORE),
    ("the proposer decides alone", TALLY, "max(behind - 1, 1)", "behind - 1", CORE),
    ("> for >=", TALLY, "self.approvals >= self.needed", "self.approvals > self.needed", CORE),
    ("a float means its binary value", "core/rules.py", "Fraction(float.__repr__(value) if isinstance(value, float) else value)", "Fraction(value)", CORE),
    ("the proposer keeps its turn", "core/schedule.py", "(*self.order[1:], *self.order[:1], *joined)", "(*self.order, *joined)", CORE),
    ("newcomers stand before the last proposer", "core/schedule.py", "*self.order[:1], *joined", "*joined, *self.order[:1]", CORE),
    ("a NaN score approves", "asking.py", "_APPROVE if score == score or not scored else None", "_APPROVE", ATTACKS),
    ("a truthy vote approves", "asking.py", "if vote is True:", "if vote:", ATTACKS),
    ("an abstention is silence", "asking.py", "return Ballot.ABSTAIN if vote is None else None", "return None", ATTACKS),
    ("the proposer votes for itself", "driver.py", "    ballots[report.proposer] = None\n", "", ATTACKS),
    ("one learner may declare growth", "asking.py", "return all(getattr(learner", "return any(getattr(learner", ATTACKS),
    ("panics end the round", "driver.py", '        except BaseException as error:  # noqa: BLE001  (as in conduct_round)\n            _note_failure(report, place, "did not vote"', '        except Exception as error:  # noqa: BLE001  (as in conduct_round)\n            _note_failure(report, place, "did not vote"', ATTACKS),
    ("NaN and infinity pass", NAMED, "np.isfinite(run[begin : begin + _CHECK_ITEMS]).all()", "True", WEIGHTS),
    ("any header spelling passes", CODEC, "if layout.header(metadata) != data[:start]:", "if False:", WEIGHTS),
    ("a dtype may change", "weights/checks.py", "if dtype != expected_dtype:", "if False:", ATTACKS),
    ("a shape may shrink", "weights/checks.py", "shape[0] >= before[0]", "True", ATTACKS),
    ("a child may stand before its parent", TREES, "(child <= place) | ", "", WEIGHTS),
    ("a child may be out of range", TREES, "(child >= size_of)", "(child < 0)", WEIGHTS),
    ("a feature one too far", TREES, "self.feature >= feature_count)", "self.feature > feature_count)", WEIGHTS),
    ("ddof 0", SCORING, "ddof=1", "ddof=0", LEARNERS),
    ("balance forgotten", SCORING, "difference = difference * balance", "difference = difference", LEARNERS),
    ("classic accepts a tie", SCORING, "return proposed > current", "return proposed >= current", LEARNERS),
    ("damping forgotten", TEMPLATE, "before + self._damping * step", "before + step", LEARNERS),
    ("the wrong cache", TEMPLATE, "judged is not None and judged[0] is accepted", "judged is not None", LEARNERS),
    ("trees may be taken away", "learners/forest.py", "np.array_equal(proposed[name][: len(before)], before)", "True", LEARNERS),
    ("the mean for the median", "experiment/recorder.py", "statistics.median(known)", "statistics.fmean(known)", EXPERIMENT),
    ("a failed vote is a rejection", "experiment/recorder.py", "Ballot.SILENT if event.note == FAILED", "Ballot.REJECT if event.note == FAILED", EXPERIMENT),
    ("records are not held against the ledger", "experiment/collective.py", "not self._recorder.confirms(record)", "(self._recorder.confirms(record) and False)", RESUME),
    ("a run of other settings goes on", "experiment/collective.py", "if not same or seated", "if seated", RESUME),
    ("a killed run draws other proposals", "learners/_template.py", "self._proposals_count if self._round_number is None else self._round_number", "self._proposals_count", LEARNERS),
    ("the node proposes what voters must reject", WORKER, "            self._require_sound(weights, model)\n        except WeightsError", "            pass\n        except WeightsError", NODE),
    ("a node rejects nothing it cannot verify", WORKER, "            return Ballot.REJECT\n", "            return Ballot.APPROVE\n", NODE),
    ("a relay brings what nobody signed", "relay.py", "if _signer(experiment, ballot) != voter:", "if False:", "tests/unit/test_relay.py"),
    ("a node waits for its relay for ever", "node.py", "return 2 * left > experiment.rules.vote_s", "return True", "tests/unit/test_relay.py"),
    ("heads beside the rows are not compared", "audit/replay.py", "if head != stored.head:", "if False:", AUDIT),
    ("the given head is not looked at", "audit/run.py", "elif replica.heads[head.height] != head.digest:", "elif False:", AUDIT),
    ("accepted blobs are not read", "audit/blobs.py", "    reader.accepted(story.models)\n", "", AUDIT),
    ("the bound of a gradient is not asserted", TRAINING, "if not bool(np.all((norms >= 0) & (norms <= bound))):", "if False:", PRIVATE + "test_training.py"),
    ("the noise is forgotten", TRAINING, "noised(value, deviation, self._source)", "value", PRIVATE + "test_training.py"),
    ("a spend is not held against the budget", "privacy/spends.py", "if not after <= epsilon:", "if False:", PRIVATE + "test_spends.py"),
    ("a vote costs nothing", "privacy/vote.py", "            self._pay()\n", "", PRIVATE + "test_vote.py"),
    ("the margin of a vote is forgotten", "privacy/vote.py", "(total - self.margin)", "total", PRIVATE + "test_vote.py"),
    ("the own proposal is asked of private rows", WORKER, "if not self._votes_privately:", "if True:", "tests/unit/experiment/test_private_experiments.py"),
    ("a claim may fall", "audit/claims.py", "if consumed < before:", "if False:", CLAIMS),
    ("nobody looks at claims", WORKER, "            check_claim(claim, self._privacy)\n", "            pass\n", CLAIMS),
    ("the driver takes what is overspent", "driver.py", "        require_within(summary.dp_budget)\n", "        pass\n", CLAIMS),
    ("a refused proposal trains", TEMPLATE, "if summary.error_code is not None:", "if False:", LEARNERS + "/test_private_training.py"),
]  # fmt: skip
FAULTS += core_faults.FAULTS


def survives(folder, fault):
    name, file, before, after, tests = fault
    path = folder / "colearn" / file
    text = path.read_text()
    if text.count(before) != 1:
        raise SystemExit(f"{name}: {before!r} stands {text.count(before)} times in {file}")
    path.write_text(text.replace(before, after))
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text)
    if run.returncode not in (0, 1):
        raise SystemExit(f"{name}: the tests could not run\n{run.stdout[-2000:]}{run.stderr}")
    return run.returncode == 0


def main():
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src" / "colearn", Path(folder) / "colearn")
        for fault in FAULTS:
            survived = survives(Path(folder), fault)
            print(f"{'SURVIVED' if survived else 'killed':9}{fault[0]}", flush=True)
            alive += [fault[0]] if survived else []
    print(f"{len(FAULTS) - len(alive)} of {len(FAULTS)} killed")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
