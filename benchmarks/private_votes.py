"""What votes give away, and what they are worth: ``python -m benchmarks.private_votes``.

An attacker crafts proposals that change the loss of one record alone, and guesses from the votes
whether a learner has it. Every vote is drawn by the shipped mechanism from the operating system's
randomness, so the numbers differ a little from run to run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.page import put, table
from benchmarks.paired import write
from colearn.audit.attacks import crafted_vote_attack
from colearn.audit.shown import crafted, voter
from colearn.interface import VotePrivacyConfig
from colearn.privacy import Partition, Privacy, PrivacyLedger, PrivateVoting, vote_terms

CONFIG = VotePrivacyConfig(epsilon=2.0, planned_votes=200)
TRIALS = 4000
RUNS = 2000
APPROVALS = 4000
PICTURE = Path(__file__).parents[1] / "docs" / "vote_attack.png"
PART = Partition("rows", "vote")


@contextmanager
def records() -> Iterator[Path]:
    """Give a folder for records of spends, in memory: thousands of them are synchronized."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def one_proposal() -> list[dict[str, Any]]:
    """One crafted proposal, by learners that vote exactly and by learners that vote privately."""
    exact = crafted_vote_attack(voter(lambda: None), crafted(), trials=400)
    with records() as folder:
        turn = iter(range(TRIALS))

        def privacy() -> Privacy:
            return Privacy(votes=CONFIG, directory=folder, dataset=str(next(turn)))

        private = crafted_vote_attack(voter(privacy), crafted(), trials=TRIALS)
    # Fewer than 1,000 rows, so a change of the loss by 0.5 is all that counts.
    e0 = float(vote_terms(CONFIG, 200).e0)
    # It approves with 1 / (1 + 3 e^-e0) instead of 1 / 4.
    theory = 0.5 + (1 / (1 + 3 * math.exp(-e0)) - 0.25) / 2
    return [
        row("exact vote, one proposal", exact.accuracy, 1.0, exact.trials, least=1.0),
        row("private vote, one proposal", private.accuracy, theory, private.trials, most=0.55),
    ]


def many_proposals() -> dict[str, Any]:
    """The record asked for in all planned votes, by one who knows all other rows.

    So the attacker lets their improvements add up to the margin, where a vote says most.
    """
    terms = vote_terms(CONFIG, 1000)
    others = np.full(1000, float(terms.margin) / 1000)
    coins = np.random.default_rng(0).random(RUNS) < 0.5
    right = 0
    threshold = CONFIG.planned_votes * (0.25 + 1 / (1 + math.exp(-float(terms.e0))) / 2)
    with records() as folder:
        for turn, included in enumerate(coins):
            differences = np.append(others, terms.clip) if included else others
            ledger = PrivacyLedger.open(folder, "rows")
            voting = PrivateVoting(
                CONFIG, ledger, PART, units_count=len(differences), purpose="benchmark"
            )
            votes = [
                voting.vote(str(place), lambda: differences)  # noqa: B023  (called at once)
                for place in range(CONFIG.planned_votes)
            ]
            assert None not in votes
            right += (sum(votes) > threshold) == included
            ledger.path.unlink()
            if turn % 200 == 199:
                print(f"{turn + 1} of {RUNS}: {right / (turn + 1):.3f}", flush=True)
    away = (1 / (1 + math.exp(-float(terms.e0))) - 0.5) * math.sqrt(CONFIG.planned_votes)
    theory = NormalDist().cdf(away)
    return row("private votes, the record in all 200", right / RUNS, theory, RUNS, most=0.62)


def row(what: str, accuracy: float, theory: float, trials: int, **target: float) -> dict[str, Any]:
    assert target.get("least", 0.0) <= accuracy <= target.get("most", 1.0), (what, accuracy)
    error = math.sqrt(max(theory * (1 - theory), 0.0) / trials)
    return {
        "what": what,
        "accuracy": accuracy,
        "theory": theory,
        "error": error,
        "trials": trials,
        "target": target,
    }


def approvals() -> list[dict[str, Any]]:
    """How often a voter approves what helps its rows by so much on average."""
    found = []
    for units in (1000, 10_000):
        terms = vote_terms(CONFIG, units)
        e0 = float(terms.e0)
        for pull in (0.0, 2.94, 4.04):
            improvement = pull / (e0 * units)
            differences = np.full(units, improvement * terms.clip)
            approved = sum(drawn(differences, APPROVALS))
            theory = 1 / (1 + 3 * math.exp(-pull))
            error = math.sqrt(theory * (1 - theory) / APPROVALS)
            share = approved / APPROVALS
            assert abs(share - theory) < 4 * error, (units, pull, share)
            found.append(
                {
                    "units": units,
                    "e0": e0,
                    "improvement": improvement,
                    "approved": share,
                    "theory": theory,
                    "error": error,
                    "votes": APPROVALS,
                }
            )
    return found


def drawn(differences: np.ndarray, count: int) -> Iterator[bool]:
    """Yield votes, with a new record of spends whenever one is used up."""
    with records() as folder:
        for begin in range(0, count, CONFIG.planned_votes):
            ledger = PrivacyLedger.open(folder, "rows")
            voting = PrivateVoting(
                CONFIG, ledger, PART, units_count=len(differences), purpose="benchmark"
            )
            for place in range(min(CONFIG.planned_votes, count - begin)):
                vote = voting.vote(str(place), lambda: differences)
                assert vote is not None
                yield vote
            ledger.path.unlink()


def draw(attacks: list[dict[str, Any]], votes: list[dict[str, Any]]) -> None:
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    places = range(len(attacks))
    left.bar(
        places,
        [each["accuracy"] for each in attacks],
        yerr=[2 * each["error"] for each in attacks],
        color=["#d1495b", "#2a9d55", "#4c78a8"],
        capsize=4,
    )
    for place, each in zip(places, attacks, strict=True):
        left.text(place, each["accuracy"] + 0.045, f"{each['accuracy']:.3f}", ha="center")
    left.axhline(0.5, color="#777777", linestyle="--", label="a guess")
    left.set_xticks(places, [each["what"].replace(", ", ",\n") for each in attacks])
    left.set(ylim=(0, 1.12), ylabel="right guesses whether the record is there")
    left.set_title("who asks for one record by crafted proposals")
    left.legend(loc="upper right")
    for units, colour in ((1000, "#4c78a8"), (10_000, "#e3b505")):
        some = [each for each in votes if each["units"] == units]
        gains = np.linspace(-0.03, 0.12, 400)
        chances = 1 / (1 + 3 * np.exp(-some[0]["e0"] * units * gains))
        right.plot(gains, chances, color=colour, label=f"{units:,} vote rows")
        right.errorbar(
            [each["improvement"] for each in some],
            [each["approved"] for each in some],
            yerr=[2 * each["error"] for each in some],
            fmt="o",
            color=colour,
            capsize=4,
        )
    right.set(
        xlabel="mean improvement of the loss, in units of the clip",
        ylabel="chance that a voter approves",
        ylim=(0, 1.02),
        title="what a private vote still sees",
    )
    right.legend(loc="lower right")
    right.grid(alpha=0.25)
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


def main() -> None:
    votes = approvals()
    attacks = [*one_proposal(), many_proposals()]
    write("private_votes", [*attacks, *votes])
    draw(attacks, votes)
    told = [
        (each["what"], f"{each['accuracy']:.3f}", f"{each['theory']:.3f}", f"{each['trials']:,}")
        for each in attacks
    ]
    seen = [
        (
            f"{each['units']:,}",
            f"{each['e0']:.4f}",
            f"{each['improvement']:.4f}",
            f"{each['approved']:.3f}",
            f"{each['theory']:.3f}",
        )
        for each in votes
    ]
    put(
        "private votes",
        table(("attack", "right guesses", "theory", "trials"), told)
        + "\n\n"
        + table(("vote rows", "e0", "mean improvement, in clips", "approved", "theory"), seen),
    )


if __name__ == "__main__":
    main()
