"""Every learning result in docs/results.md: alone, pooled and together, over seeds.

``python -m benchmarks.results`` runs all of it in about three minutes and rewrites the tables.
"""

from __future__ import annotations

import statistics
import warnings
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks.page import put
from benchmarks.paired import write
from colearn.cli.demo import demo_config
from colearn.experiment import Collective, compare, parse_config, plan
from colearn.learners import SklearnLearner
from colearn.preprocess import local_moments, shared_scaling
from colearn.tasks import Site, Split, Task, breast_cancer, divide

SGD = {
    "estimator": "sklearn.linear_model:SGDClassifier",
    "loss": "log_loss",
    "learning_rate": "constant",
}
DIGITS = {"use": "colearn.tasks:digits", "split": {"by": "iid", "learners": 5}}
SKEWED = {"use": "colearn.tasks:digits", "split": {"by": "dirichlet", "learners": 5}}
FOREST = {"use": "colearn.learners:RandomForestLearner"}


def linear(eta0: float) -> dict[str, Any]:
    return {"use": "colearn.learners:SklearnLearner", "with": {**SGD, "eta0": eta0}}


def iid(task: str) -> dict[str, Any]:
    return {"use": f"colearn.tasks:{task}", "split": {"by": "iid", "learners": 5}}


CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "digits, iid, 40 rounds": (40, {"task": DIGITS, "learner": linear(0.3)}),
    "digits, Dirichlet 0.5, 40 rounds": (40, {"task": SKEWED, "learner": linear(0.3)}),
    "iris, forest, iid, 20 rounds": (20, {"task": iid("iris"), "learner": FOREST}),
    "breast cancer, SGD, shared, iid, 20 rounds": (
        20,
        {
            "task": iid("breast_cancer"),
            "learner": linear(0.1),
            "preprocess": {"use": "shared"},
        },
    ),
    "diabetes, forest, iid, 20 rounds": (20, {"task": iid("diabetes"), "learner": FOREST}),
}


def one(document: dict[str, Any], case: str, seed: int) -> dict[str, Any]:
    prepared = plan(parse_config({**document, "seed": seed}))
    run = Collective(prepared.group())
    records = list(run.rounds(prepared.config.rounds))
    result = compare(prepared, run)
    accepted = [record.proposer for record in records if record.outcome == "accepted"]
    return {
        "case": case,
        "seed": seed,
        "together": round(result.together, 4),
        "best_alone": round(result.best_alone, 4),
        "mean_alone": round(result.mean_alone, 4),
        "best_early": round(max(each.early for each in result.learners), 4),
        "pooled": round(result.pooled, 4),
        "worst_gain": round(result.worst.gain, 4),
        "accepted": len(accepted),
        "rounds": len(records),
        "poison_accepted": sum(name in prepared.liars for name in accepted),
        "poison_tried": sum(record.proposer in prepared.liars for record in records),
        "test_rows": result.test_rows,
    }


def demos(damping: float) -> list[dict[str, Any]]:
    case = f"digits with a liar, its damping {damping:g}"
    rows = []
    for seed in range(10):
        document = demo_config("digits", seed).model_dump(by_alias=True, exclude_none=True)
        document["hostile"] = {"learners": 1, "damping": damping}
        rows.append(one(document, case, seed))
    return rows


def sorted_sites(seed: int) -> dict[str, Any]:
    """Breast cancer cut into five sites by mean radius: shared scaling against each its own."""
    plain = breast_cancer()
    order = np.argsort(plain.X[:, list(plain.schema.features).index("mean radius")], kind="stable")
    groups = np.empty(len(order), np.int64)
    for site, rows in enumerate(np.array_split(order, 5)):
        groups[rows] = site
    task = Task("breast_cancer", plain.X, plain.y, plain.schema, groups)
    division = divide(task, Split(by="group", learners=5), seed)
    rows_of = [np.concatenate([site.train, site.vote]) for site in division.sites]
    shared = shared_scaling([local_moments(task.X[rows]) for rows in rows_of])
    own = [shared_scaling([local_moments(task.X[rows])]) for rows in rows_of]

    def learner(place: int, scaling: Any, site: Site, damping: float | None) -> SklearnLearner:
        X = scaling.apply(task.X)
        return SklearnLearner(
            SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1),
            train=(X[site.train], task.y[site.train]),
            vote=(X[site.vote], task.y[site.vote]),
            test=(X[division.test], task.y[division.test]),
            classes=task.schema.classes,
            name=f"site{place}",
            seed=seed * 100 + place,
            damping=damping,
        )

    scores = {}
    for kind, scalings in (("shared", [shared] * 5), ("per_site", own)):
        pairs = zip(scalings, division.sites, strict=True)
        group = [learner(place, *pair, None) for place, pair in enumerate(pairs)]
        run = Collective(group)
        list(run.rounds(40))
        # Every site applies its own scaling to the common test rows, so the mean is reported.
        scores[kind] = statistics.fmean(each.judge_current().test_score or 0.0 for each in group)
    alone = []
    for place, site in enumerate(division.sites):
        whole = Site(np.concatenate([site.train, site.vote]), site.vote)
        each = learner(place, shared, whole, 1.0)
        for _ in range(8):
            each.mli_accept_weights(each.mli_propose_weights())
        alone.append(each.judge_current().test_score or 0.0)
    return {
        "case": "breast cancer, 5 sites by mean radius, 40 rounds",
        "seed": seed,
        "together": round(scores["shared"], 4),
        "per_site_scaling": round(scores["per_site"], 4),
        "mean_alone": round(statistics.fmean(alone), 4),
        "best_alone": round(max(alone), 4),
        "test_rows": len(division.test),
    }


def told(rows: list[dict[str, Any]]) -> str:
    columns = [key for key in rows[0] if key != "case"]
    lines = [f"### {rows[0]['case'].capitalize()}", ""]
    lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(str(row[key]) for key in columns)} |" for row in rows]
    wins = [
        f"together > {key.replace('_', ' ')} in "
        f"{sum(row['together'] > row[key] for row in rows)} of {len(rows)}"
        for key in ("best_alone", "mean_alone", "per_site_scaling")
        if key in rows[0]
    ]
    poison = sum(row.get("poison_tried", 0) for row in rows)
    if poison:
        wins.append(f"poison accepted {sum(r['poison_accepted'] for r in rows)} of {poison}")
    mean = statistics.fmean(row["together"] for row in rows)
    return "\n".join([*lines, "", f"{'; '.join(wins)}; mean together {mean:.3f}.", ""])


def main() -> None:
    warnings.simplefilter("ignore")
    tables, everything = [], []
    for rows in (
        demos(1.0),
        demos(0.25),
        *(
            [one({"rounds": rounds, **document}, case, seed) for seed in range(5)]
            for case, (rounds, document) in CASES.items()
        ),
        [sorted_sites(seed) for seed in range(5)],
    ):
        tables.append(told(rows))
        everything += rows
    write("results", everything)
    put("tables", "\n".join(tables).rstrip())


if __name__ == "__main__":
    main()
