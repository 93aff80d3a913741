import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from colearn.core import Experiment
from colearn.errors import ConfigError
from colearn.experiment import parse_config
from colearn.network.local import Local, learner_of, local_plan, strange_names
from colearn.network.terms import check_phases, read_terms, rules_of, specify
from colearn.preprocess import Scaling

IRIS = {
    "name": "flowers",
    "rounds": 4,
    "patience": 3,
    "task": {"use": "colearn.tasks:iris", "split": {"learners": 3}},
    "learner": {"use": "colearn.learners:RandomForestLearner", "with": {"trees_per_proposal": 2}},
}
MODEL = "5" * 64


class Learner:
    def __init__(self, schema=None, grows=False):
        self.schema = schema
        self.grows = grows


def specification(document=None, scaling=None, schema="iris"):
    config = parse_config(IRIS if document is None else document)
    if schema == "iris":
        schema = local_plan_of(config).task.schema
    return specify(config, MODEL, Learner(schema, grows=True), scaling)


def local_plan_of(config):
    from colearn.experiment import plan

    return plan(config)


def test_what_is_written_reads_back_equal():
    scaling = Scaling.divide(16.0, 4)
    terms = read_terms(specification(scaling=scaling))
    assert terms.config == parse_config(IRIS)
    assert terms.rules == rules_of(terms.config)
    assert (terms.rules.propose_s, terms.rules.vote_s, terms.rules.early_close) == (600, 300, True)
    assert (terms.rules.rounds, terms.rules.patience, terms.rules.threshold) == (
        4,
        3,
        Fraction(1, 2),
    )
    assert terms.model == MODEL
    assert terms.grows is True
    assert terms.schema.features == (
        "sepal length (cm)",
        "sepal width (cm)",
        "petal length (cm)",
        "petal width (cm)",
    )
    assert np.array_equal(terms.scaling.divisor, [16.0] * 4)
    mixed = Scaling(np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0]))
    assert read_terms(specification(scaling=mixed)).scaling.divisor.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_ledger_and_phases_are_no_terms_but_the_rules_have_the_phases():
    longer = {**IRIS, "phases": {"propose_s": 60, "vote_s": 30, "early_close": False}}
    one, other = json.loads(specification()), json.loads(specification(longer))
    assert one["terms"] == other["terms"]
    assert one["rules"] | {"propose_s": 60, "vote_s": 30, "early_close": False} == other["rules"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("terms", "rounds"), "many"),
        (("terms", "surprise"), 1),
        (("terms",), []),
        (("rules", "propose_s"), "600"),
        (("rules", "threshold"), "2"),
        (("rules", "threshold"), None),
        (("rules", "early_close"), 1),
        (("rules",), {}),
        (("model",), "../../x"),
        (("grows",), "yes"),
        (("schema",), []),
        (("schema", "features"), [1]),
        (("schema", "features"), []),
        (("schema", "features"), ["a", "a"]),
        (("schema", "classes"), [2, 1]),
        (("schema", "classes"), [True, False]),
        (("schema", "constant"), "0"),
        (("terms", "scaling"), {"offset": 0.0}),
        (("terms", "scaling"), {"offset": [0.0], "divisor": [1.0]}),
        (("terms", "scaling"), {"offset": 0.0, "divisor": 0.0}),
        (("terms", "scaling"), {"offset": "0", "divisor": 1.0}),
    ],
)
def test_hostile_specifications_are_refused_in_words(path, value):
    document = json.loads(specification())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ConfigError, match="not understood"):
        read_terms(data)


def test_other_rules_on_the_ledger_are_named():
    terms = read_terms(specification())
    terms.check_ledger(Experiment(rules=terms.rules))
    with pytest.raises(ConfigError, match="vote_s = 300, and the ledger 5"):
        terms.check_ledger(Experiment(rules=replace(terms.rules, vote_s=5)))


def test_phases_must_outlast_the_drift_of_the_clocks():
    config = parse_config({**IRIS, "phases": {"vote_s": 19}})
    check_phases(config, 0)
    with pytest.raises(ConfigError, match=r"\[phases.vote_s\] must be at least 20 s"):
        check_phases(config, 5)
    check_phases(parse_config({**IRIS, "phases": {"vote_s": 20}}), 5)
    with pytest.raises(ConfigError, match="reveal_s"):
        check_phases(parse_config({**IRIS, "phases": {"reveal_s": 3}}), 5)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("vote.threshold=1", "vote.threshold"),
        ("rounds=3", "rounds"),
        ("task.split.learners=2", "task.split.learners"),
        ("preprocess.use=none", "preprocess.use"),
        ("vote.z=-1", "vote.z"),
        ("phases.vote_s=1", "phases.vote_s"),
    ],
)
def test_what_all_agreed_on_cannot_be_set_by_one(override, key):
    terms = read_terms(specification())
    with pytest.raises(ConfigError, match=rf"\[{key}\] was agreed by all"):
        local_plan(terms, Local("ada", 1, overrides=(override,)))


def test_own_rows_are_all_rows_of_the_task_and_a_share_is_one_of_the_run():
    terms = read_terms(specification())
    own = local_plan(terms, Local("ada", 1))
    rows = [own.division.test, own.division.sites[0].train, own.division.sites[0].vote]
    assert sorted(np.concatenate(rows).tolist()) == list(range(150))
    assert len(own.division.sites) == 1
    share = local_plan(terms, Local("ada", 1, share=2))
    run = local_plan_of(terms.config)
    assert np.array_equal(share.division.sites[1].train, run.division.sites[1].train)
    with pytest.raises(ConfigError, match="shares 1 to 3"):
        local_plan(terms, Local("ada", 1, share=4))
    with pytest.raises(ConfigError, match=r"\[vote.share\] decides the split"):
        local_plan(terms, Local("ada", 1, share=1, overrides=("vote.share=0.2",)))


def test_the_own_seed_moves_the_rows_and_never_model_0():
    document = {
        **IRIS,
        "learner": {
            "use": "colearn.learners:SklearnLearner",
            "with": {"estimator": "sklearn.neural_network:MLPClassifier"},
        },
    }
    terms = read_terms(specification(document))
    plans = [
        local_plan(terms, Local("ada", 1)),
        local_plan(terms, Local("ben", 2)),
        local_plan(terms, Local("ben", 2, overrides=("seed=1",))),
    ]
    arrays = [learner_of(each, Local("x", 0)).mli_get_current_weights().weights for each in plans]
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    assert plans[0].own_seed == 1
    assert plans[2].own_seed == 1
    assert not np.array_equal(plans[0].division.test, plans[1].division.test)
    with pytest.raises(ConfigError, match="seed"):
        local_plan(terms, Local("ben", 2, overrides=("seed=-1",)))


def test_shared_moments_need_a_share():
    terms = read_terms(specification({**IRIS, "preprocess": {"use": "shared"}}))
    with pytest.raises(ConfigError, match="preprocess.use"):
        local_plan(terms, Local("ada", 1))
    assert local_plan(terms, Local("ada", 1, share=1)).X.shape == (150, 4)


def test_the_scaling_that_was_agreed_on_is_used_and_another_one_is_refused():
    agreed = Scaling(np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0]))
    terms = read_terms(specification(scaling=agreed))
    mine = local_plan(terms, Local("ada", 1))
    assert np.array_equal(mine.X, mine.task.X / [1.0, 2.0, 3.0, 4.0])
    digits = {**IRIS, "task": {"use": "colearn.tasks:digits"}}
    other = read_terms(
        specification(
            digits, Scaling.divide(15.0, 64), local_plan_of(parse_config(digits)).task.schema
        )
    )
    with pytest.raises(ConfigError, match=r"Column 'pixel_0_0' is scaled by \(0.0, 16.0\)"):
        local_plan(other, Local("ada", 1))
    narrow = ("task.use=colearn.tasks:iris",)
    with pytest.raises(ConfigError, match="64 columns, and this task 4"):
        local_plan(other, Local("ada", 1, overrides=narrow))


def test_names_of_strangers_must_be_trusted_before_they_are_called(tmp_path):
    (tmp_path / "learner.py").write_text("")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "subprocess.py").write_text("")
    document = {
        **IRIS,
        "task": {
            "use": "subprocess:run",
            "with": {"args": ["rm", "x"], "deep": [{"path": "os:remove"}]},
        },
        "learner": {
            "use": "learner:make",
            "with": {"module": "nothing:Popen", "optimizer": "torch.optim:SGD", "note": "a b:c"},
        },
    }
    terms = read_terms(specification(document, schema=None))
    here = Local("ada", 1, search=tmp_path)
    assert strange_names(terms, here) == [
        'task.use = "subprocess:run"',
        'task.with.deep.0.path = "os:remove"',
        'learner.with.module = "nothing:Popen"',
    ]
    assert strange_names(terms, here, ["subprocess", "os", "nothing"]) == []
    own = replace(here, overrides=("task.use=x:y", "task.with={}", "learner.with.module=n:P"))
    assert strange_names(terms, own) == []
    assert 'learner.use = "learner:make"' in strange_names(terms, Local("ada", 1))


@pytest.mark.parametrize(
    "use",
    [
        "colearn.learners:import_module",
        "colearn.tasks:Any",
        "os:system",
        "colearn.cli:main",
        "keras.losses:deserialize",
    ],
)
def test_what_is_no_public_name_of_colearn_is_strange(use):
    terms = read_terms(specification({**IRIS, "task": {"use": use}}, schema=None))
    assert strange_names(terms, Local("ada", 1)) == [f'task.use = "{use}"']
