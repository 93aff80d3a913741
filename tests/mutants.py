"""One-line faults, each of which a test must catch: ``make mutants``.

Every fault is put into a copy of the package, and the tests named with it must fail.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE, WEIGHTS, LEARNERS = "tests/unit/core", "tests/unit/weights", "tests/unit/learners"
ATTACKS, EXPERIMENT = "tests/scenario", "tests/unit/experiment"
TALLY, NAMED = "core/tally.py", "weights/named.py"
CODEC, TREES = "weights/codec.py", "weights/trees.py"
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
    ("a NaN score approves", "asking.py", "_APPROVE if score == score else None", "_APPROVE", ATTACKS),
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
    ("the mean for the median", "experiment/collective.py", "statistics.median(known)", "statistics.fmean(known)", EXPERIMENT),
    ("no patience for rejections", "experiment/collective.py", "0 if accepted else self._in_a_row + 1", "0", EXPERIMENT),
]  # fmt: skip


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
