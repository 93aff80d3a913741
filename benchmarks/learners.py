"""What each adapter learns on real tasks, and the targets that were set for some of them.

``python -m benchmarks.learners`` runs everything that has its data and rewrites the tables;
``--keep`` leaves the rows of this version that are there already, so that a run which was
interrupted goes on, and ``--only NAME`` measures nothing else; ``--table`` only writes the tables
anew. Rows are kept as they come.

MNIST is read from the folder ``mnist`` of the one that COLEARN_DATA names.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks import fedavg
from benchmarks.page import put, table
from benchmarks.paired import RESULTS
from colearn.errors import ConfigError
from colearn.experiment import Collective, Plan, compare, parse_config, plan
from colearn.interface import Weights
from colearn.tasks import Division

TURNS = 8
SEEDS = 5
LARGE_TEST = 500
WINS_NEEDED = 4
POINT = 0.01

Settings = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """A line of the big table: a learner class, its settings, and a task that suits it."""

    task: str
    learner: str
    settings: Settings
    scaling: str = "public"


SGD: Settings = {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.3}
MLP: Settings = {
    "hidden_layer_sizes": [64],
    "solver": "sgd",
    "learning_rate_init": 0.1,
    "batch_size": 32,
    "damping": 0.5,
    "epochs": 3,
}
KERAS: Settings = {"model": "colearn.learners.keras_models:mlp", "learning_rate": 0.05}
TORCH: Settings = {"module": "colearn.learners.torch_models:mlp", "lr": 0.05}
DAMPED: Settings = {"label_prior": "uniform", "damping": 0.5, "epochs": 3}
LINEAR: Settings = {"learning_rate": "constant", "eta0": 0.01}

CASES: dict[str, Adapter] = {
    "SGD classifier": Adapter(
        "digits", "SklearnLearner", {"estimator": "sklearn.linear_model:SGDClassifier", **SGD}
    ),
    "MLP classifier": Adapter(
        "digits", "SklearnLearner", {"estimator": "sklearn.neural_network:MLPClassifier", **MLP}
    ),
    "random forest": Adapter("digits", "RandomForestLearner", {}),
    "PyTorch MLP": Adapter("digits", "TorchLearner", {**TORCH, **DAMPED}),
    "Keras MLP": Adapter("digits", "KerasLearner", {**KERAS, **DAMPED}),
    "XGBoost": Adapter(
        "digits", "XGBoostLearner", {"learning_rate": 0.5, "trees_per_proposal": 1, "max_bin": 32}
    ),
    "LightGBM": Adapter(
        "digits", "LightGBMLearner", {"learning_rate": 0.5, "trees_per_proposal": 1, "max_bin": 32}
    ),
    "SGD regressor": Adapter(
        "diabetes",
        "SklearnLearner",
        {"estimator": "sklearn.linear_model:SGDRegressor", **LINEAR},
        scaling="shared",
    ),
    "random forest, numbers": Adapter("diabetes", "RandomForestLearner", {}),
    "XGBoost, numbers": Adapter(
        "diabetes", "XGBoostLearner", {"max_depth": 2, "learning_rate": 0.05}
    ),
    "LightGBM, numbers": Adapter(
        "diabetes", "LightGBMLearner", {"max_depth": 2, "learning_rate": 0.05}
    ),
}


def adapter_document(case: Adapter, by: str, learners: int, seed: int) -> Settings:
    return {
        "rounds": TURNS * learners,
        "seed": seed,
        "task": {
            "use": f"colearn.tasks:{case.task}",
            "split": {"by": by, "alpha": 0.5, "learners": learners},
        },
        "preprocess": {"use": case.scaling},
        "learner": {"use": f"colearn.learners:{case.learner}", "with": case.settings},
    }


def compared(document: Settings) -> Settings:
    """Run an experiment as ``colearn run`` does, and compare it with everybody alone."""
    prepared = plan(parse_config(document))
    run = Collective(prepared.group(), threshold=prepared.config.vote.threshold)
    records = list(run.rounds(prepared.config.rounds))
    result = compare(prepared, run)
    run.close()
    early = [each.early for each in result.learners]
    return {
        "together": round(result.together, 4),
        "alone_mean": round(result.mean_alone, 4),
        "alone_best": round(result.best_alone, 4),
        "early_mean": round(statistics.fmean(early), 4),
        "early_best": round(max(early), 4),
        "pooled": round(result.pooled, 4),
        "worst_gain": round(result.worst.gain, 4),
        "rounds": len(records),
        "accepted": sum(record.outcome == "accepted" for record in records),
        "test_rows": result.test_rows,
    }


def together(prepared: Plan) -> tuple[float, Settings]:
    """Run a collective that sees no test row before its last round, which takes less time."""
    blind = replace(prepared, division=Division(np.zeros(0, np.int64), prepared.division.sites))
    run = Collective(blind.group(), threshold=prepared.config.vote.threshold)
    records = list(run.rounds(prepared.config.rounds))
    site = prepared.division.sites[0]
    judge = prepared.honest(site.train, site.vote, "judge")
    judge.mli_accept_weights(Weights(weights=run.weights_))
    run.close()
    accepted = sum(record.outcome == "accepted" for record in records)
    return tested(judge), {
        "rounds": len(records),
        "accepted": accepted,
        "test_rows": len(prepared.division.test),
    }


def pooled(prepared: Plan, epochs: int) -> float:
    """Train one learner on everybody's train and vote rows, undamped, with nobody voting."""
    vote = prepared.division.sites[0].vote
    learner = prepared.honest(prepared.division.pooled, vote, "pooled", damping=1.0)
    for _ in range(epochs):
        learner.mli_accept_weights(learner.mli_propose_weights())
    return tested(learner)


def tested(learner: Any) -> float:
    return float(learner.judge_current().test_score)


def image_document(task: Settings, split: Settings, rounds: int, learner: Settings) -> Settings:
    return {
        "rounds": rounds,
        "vote": {"share": 0.2},
        "task": {**task, "split": split},
        "learner": {"use": "colearn.learners:TorchLearner", "with": learner},
    }


# 20,000 images: 10 learners with 1,000 each, 800 to train and 200 to vote on, and 10,000 to test.
FASHION: Settings = {
    "use": "colearn.tasks:fashion_mnist",
    "with": {"rows": 20_000},
    "test_share": 0.5,
}
MNIST: Settings = {"use": "colearn.tasks:mnist", "test_share": 0.2}
CNN: Settings = {
    "module": "colearn.learners.torch_models:small_cnn",
    "lr": 0.05,
    "damping": 0.5,
}
SKEWED: Settings = {**TORCH, "label_prior": "uniform", "damping": 0.25}
POOLED_EPOCHS = 20
FEDAVG_ROUNDS = 20
FEDAVG_LR = {0.5: 0.05, 0.1: 0.025}
"""Of .0125, .025, .05, .1 and .2 the best of FedAvg at each alpha, over seeds 0 to 2."""


def fashion_cnn(seed: int) -> Settings:
    split = {"by": "iid", "learners": 10}
    prepared = planned(image_document(FASHION, split, 200, CNN), seed)
    score, told = together(prepared)
    other = pooled(prepared, POOLED_EPOCHS)
    return judged(score, other, score >= other - POINT, told)


def fashion_skewed(alpha: float, seed: int) -> Settings:
    split = {"by": "dirichlet", "alpha": alpha, "learners": 10}
    prepared = planned(image_document(FASHION, split, 200, SKEWED), seed)
    score, told = together(prepared)
    work = {"rounds": FEDAVG_ROUNDS, "lr": FEDAVG_LR[alpha]}
    same = fedavg.score(prepared, [site.train for site in prepared.division.sites], **work)
    every = [np.concatenate([site.train, site.vote]) for site in prepared.division.sites]
    more = fedavg.score(prepared, every, **{**work, "rounds": 2 * FEDAVG_ROUNDS})
    extra = {**told, "fedavg_more": round(more, 4)}
    return judged(score, same, score >= same - POINT, extra)


def mnist_cnn(seed: int) -> Settings:
    split = {"by": "iid", "learners": 5}
    score, told = together(planned(image_document(MNIST, split, 20, {**CNN, "epochs": 3}), seed))
    return judged(score, 0.969, score >= 0.969, told)


def xgboost_diabetes(learners: int, seed: int) -> Settings:
    case = CASES["XGBoost, numbers"]
    document = adapter_document(case, "iid", learners, seed)
    row = compared({**document, "vote": {"share": 0.3}})
    # Of the two ways to learn alone, the one that is better.
    score, other = row.pop("together"), max(row["alone_mean"], row["early_mean"])
    return judged(score, other, score > other, row)


def planned(document: Settings, seed: int) -> Plan:
    return plan(parse_config({**document, "seed": seed}))


def judged(score: float, other: float, met: bool, told: Settings) -> Settings:  # noqa: FBT001
    return {"together": round(score, 4), "against": round(other, 4), "met": bool(met), **told}


# Name, what it is measured against, how many seeds, and what measures one of them.
TARGETS: dict[str, tuple[str, int, Any]] = {
    "XGBoost on diabetes, 5 learners, 30 % to vote on": (
        "above the mean alone",
        5,
        lambda seed: xgboost_diabetes(5, seed),
    ),
    "CNN on MNIST 10k, 5 learners, 20 rounds": ("at least .969", 5, mnist_cnn),
    "CNN on Fashion-MNIST, 10 learners, IID": ("within 1 point of pooled", SEEDS, fashion_cnn),
    "MLP on Fashion-MNIST, 10 learners, Dirichlet 0.5": (
        "within 1 point of FedAvg",
        SEEDS,
        lambda seed: fashion_skewed(0.5, seed),
    ),
    "MLP on Fashion-MNIST, 10 learners, Dirichlet 0.1": (
        "within 1 point of FedAvg",
        SEEDS,
        lambda seed: fashion_skewed(0.1, seed),
    ),
}


def work_to_do() -> list[tuple[Settings, Any]]:
    """Return what names each row, and what measures it; the smallest first."""
    work: list[tuple[Settings, Any]] = [
        ({"target": name, "seed": seed}, lambda measure=measure, seed=seed: measure(seed))
        for name, (_, seeds, measure) in TARGETS.items()
        for seed in range(seeds)
    ]
    for learners, by in itertools.product((5, 10), ("iid", "dirichlet")):
        for name, case in CASES.items():
            if by == "dirichlet" and case.task == "diabetes":
                continue  # A Dirichlet split deals by class, and the target is a number.
            for seed in range(SEEDS):
                key = {"adapter": name, "split": by, "learners": learners, "seed": seed}
                document = adapter_document(case, by, learners, seed)
                work.append((key, lambda document=document: compared(document)))
    return work


def key_of(row: Settings) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("target", "adapter", "split", "learners", "seed"))


def kept() -> list[Settings]:
    path = RESULTS / "learners.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in rows if row["version"] == version("colearn")]


def keep(rows: list[Settings]) -> None:
    """Replace the file at once, so that an interrupted run leaves one that can be read."""
    document = {"python": platform.python_version(), "machine": platform.machine(), "rows": rows}
    path = RESULTS / "learners.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document, indent=1) + "\n")
    fresh.replace(path)


def mean(rows: list[Settings], key: str) -> str:
    return f"{statistics.fmean(row[key] for row in rows):.3f}"


def verdict(rows: list[Settings]) -> str:
    """Say whether the group is better than a learner alone, by the bar of its test set's size."""
    bar = "best" if rows[0]["test_rows"] >= LARGE_TEST else "mean"
    wins = sum(row["together"] > row[f"alone_{bar}"] for row in rows)
    early = sum(row["together"] > row[f"early_{bar}"] for row in rows)
    met = "yes" if wins >= WINS_NEEDED * len(rows) / SEEDS else "no"
    return f"{met}: above the {bar} alone in {wins}, the {bar} early in {early}, of {len(rows)}"


def adapters_table(groups: list[list[Settings]]) -> str:
    lines = []
    for group in groups:
        first, worst = group[0], min(row["worst_gain"] for row in group)
        taken = sum(row["accepted"] for row in group) / sum(row["rounds"] for row in group)
        lines.append(
            [
                first["adapter"],
                CASES[first["adapter"]].task,
                f"{first['learners']}, {'IID' if first['split'] == 'iid' else 'Dirichlet 0.5'}",
                *(mean(group, key) for key in ("together", "alone_mean", "alone_best")),
                *(mean(group, key) for key in ("early_mean", "early_best", "pooled")),
                f"{worst:+.3f}",
                first["rounds"],
                f"{taken:.0%}",
                verdict(group),
            ]
        )
    columns = ["adapter", "task", "learners", "together", "alone, mean", "alone, best"]
    columns += ["early, mean", "early, best", "pooled", "worst site", "rounds", "accepted"]
    return table([*columns, "better together?"], lines)


def targets_table(rows: list[Settings]) -> str:
    lines = []
    for group in grouped(rows, "target"):
        name, met = group[0]["target"], sum(row["met"] for row in group)
        more = mean(group, "fedavg_more") if "fedavg_more" in group[0] else None
        lines.append(
            [
                name,
                TARGETS[name][0],
                mean(group, "together"),
                mean(group, "against"),
                more,
                f"{sum(row['accepted'] for row in group)} of {sum(row['rounds'] for row in group)}",
                group[0]["test_rows"],
                f"{met} of {len(group)}",
            ]
        )
    columns = ["what", "target", "together", "against", "FedAvg, more", "accepted", "test rows"]
    return table([*columns, "seeds that meet it"], lines)


def grouped(rows: list[Settings], *keys: str) -> list[list[Settings]]:
    groups: dict[tuple[Any, ...], list[Settings]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(groups.values())


def tell(rows: list[Settings]) -> None:
    """Write the tables and the sentences below them, every number from the rows."""
    order = {key_of(key): place for place, (key, _) in enumerate(work_to_do())}
    rows = sorted((row for row in rows if key_of(row) in order), key=lambda r: order[key_of(r)])
    targets = [row for row in rows if "target" in row]
    groups = grouped([row for row in rows if "adapter" in row], "adapter", "split", "learners")
    whole = [group for group in groups if len(group) == SEEDS]
    put("targets", targets_table(targets))
    met = sum(verdict(group).startswith("yes") for group in whole)
    lines = sum("adapter" in key for key, _ in work_to_do()) // SEEDS
    left = f" Not measured in full: {lines - len(whole)} more." if len(whole) < lines else ""
    told = f"{met} of {len(whole)} lines are better together.{left}"
    put("adapters", f"{adapters_table(whole)}\n\n{told}")


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep this version's rows")
    parser.add_argument("--table", action="store_true", help="only write the tables anew")
    parser.add_argument("--only", default="", help="what the target or adapter's name holds")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = kept() if chosen.keep or chosen.table or chosen.only else []
    done = {key_of(row) for row in rows}
    for key, measure in [] if chosen.table else work_to_do():
        if key_of(key) in done or chosen.only not in str(key.get("target") or key["adapter"]):
            continue
        try:
            row = {**key, "version": version("colearn"), **measure()}
        except ConfigError as error:
            if "adapter" in key:
                raise
            # Fashion-MNIST and MNIST are not on every machine.
            print(f"left out: {key}: {error}")
            continue
        rows.append(row)
        print(json.dumps(row), flush=True)
        keep(rows)
    tell(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
