import pytest

from colearn.cli.demo import DEMOS, demo_config
from colearn.errors import ConfigError
from colearn.experiment import load_config, parse_config, plan


def test_an_empty_file_is_a_whole_experiment(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text("")
    assert load_config(path).vote.threshold == "1/2"


@pytest.mark.parametrize("task", DEMOS)
def test_a_written_experiment_is_read_back_equal(task, tmp_path):
    config = demo_config(task, 3)
    path = tmp_path / "experiment.toml"
    path.write_text(config.to_toml())
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds = 0", r"\[rounds\]"),
        ("round = 3", r"\[round\] is not a known key. Did you mean 'rounds'"),
        ("[vote]\ntreshold = 0.5", r"\[vote.treshold\] .*'threshold'"),
        ("[vote]\nthreshold = 1.5", r"\[vote.threshold\] .*from 0 to 1"),
        ("[vote]\nmode = 'council'", r"\[vote.mode\]"),
        ("[ledger]\nurl = 'http://localhost'", r"\[ledger.url\] .*embedded"),
        ("[ledger]\nsynchronous = 'OFF'", r"\[ledger.synchronous\] .*NORMAL"),
        ("[store]\nurl = 'directory'", r"\[store\] is not a known key"),
        ("[privacy.votes]\nepsilonn = 1.0", r"votes.epsilonn\] is not .* mean 'epsilon'"),
        ("[privacy.votes]\nepsilon = 0", r"\[privacy.votes.epsilon\]"),
        ("[privacy.proposals]\nmax_grad_norm = 1", r"\[privacy.proposals.target_epsilon\]"),
        ("[task.split]\nalpha = -1.0", r"\[task.split.alpha\]"),
        ("[task]\nuse = 'digits'", r"\[task.use\]"),
        ("name = '../up'", r"\[name\]"),
        ("rounds = ", "not TOML"),
    ],
)
def test_errors_name_the_key(text, message, tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read"):
        load_config(tmp_path / "none.toml")


def test_overrides_are_toml_values_or_text():
    config = parse_config({}, ["vote.threshold=0.6", "rounds=7", "vote.mode=classic"])
    assert (config.vote.threshold, config.rounds, config.vote.mode) == ("3/5", 7, "classic")
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_config({}, ["rounds"])
    with pytest.raises(ConfigError, match="is a value"):
        parse_config({"rounds": 3}, ["rounds.x=1"])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"task": {"use": "nowhere:task"}}, r"task.use"),
        ({"task": {"use": "colearn.tasks:nothing"}}, r"task.use"),
        ({"task": {"use": "colearn.tasks:Split"}}, r"must return a colearn.tasks.Task"),
        ({"task": {"use": "colearn.tasks:digits", "with": {"colour": 1}}}, r"task.with"),
        ({"hostile": {"learners": 9}}, r"hostile.learners"),
        (
            {"task": {"use": "colearn.tasks:diabetes"}, "hostile": {"learners": 1}},
            r"needs a classifier",
        ),
    ],
)
def test_a_plan_names_what_does_not_fit(document, message):
    with pytest.raises(ConfigError, match=message):
        plan(parse_config(document))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "estimator"),
        ({"estimator": "os:system"}, "estimator"),
        ({"estimator": "SGDClassifier", "colour": 1}, "colour"),
    ],
)
def test_a_learner_section_names_what_does_not_fit(settings, message):
    with pytest.raises(ConfigError, match=message):
        plan(parse_config({"learner": {"with": settings}})).group()
