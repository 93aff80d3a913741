import numpy as np
import pytest

from colearn.errors import ConfigError, PrivacyError
from colearn.interface import DiffPrivBudget, DiffPrivConfig, ErrorCodes, PrivacyUnit
from colearn.privacy import Partition, PrivacyLedger, ProposalBudget
from colearn.privacy.accountant import SampledGaussian, epsilon_of
from colearn.privacy.claim import config_digest

TRAIN = Partition("one", "train")
CONFIG = DiffPrivConfig(
    target_epsilon=2.0, target_delta=1e-5, max_grad_norm=1.0, planned_proposals=3
)


def budget(folder, config=CONFIG, partition=TRAIN, **kwargs):
    # A rate of 1 has a closed form, which is faster than composing samples.
    given = {"units_count": 100, "batch_size": 20, "steps": 4, "fixed_rate": 1.0, "purpose": "p"}
    return ProposalBudget(config, PrivacyLedger.open(folder, "d"), partition, **(given | kwargs))


@pytest.mark.parametrize("rate", [1.0, None], ids=["all rows", "samples"])
def test_as_many_proposals_as_planned_and_no_more(tmp_path, rate):
    asked = budget(tmp_path, fixed_rate=rate)
    consumed = []
    for _ in range(3):
        summary = asked.ask()
        assert summary.error_code is None
        consumed.append(summary.dp_budget.consumed_epsilon)
    assert 0 < consumed[0] < consumed[1] < consumed[2] <= 2.0
    assert consumed[2] > 1.99
    refused = asked.ask()
    assert refused.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert refused.dp_budget == DiffPrivBudget(
        target_epsilon=2.0, target_delta=1e-5, consumed_epsilon=consumed[2], consumed_delta=1e-5
    )
    # A restart changes nothing.
    assert budget(tmp_path, fixed_rate=rate).ask() == refused
    assert len(PrivacyLedger.open(tmp_path, "d").entries()) == 3


def test_the_summary_says_what_was_promised(tmp_path):
    asked = budget(tmp_path)
    assert asked.summary().dp_budget.consumed_epsilon == 0.0
    summary = asked.ask()
    assert summary == asked.summary()
    assert summary.dp_config == config_digest(CONFIG)
    assert summary.dp_noise == "secure"
    assert summary.dp_budget.consumed_epsilon == epsilon_of([asked.spend], 1e-5)


def test_a_proposal_takes_what_the_settings_say(tmp_path):
    asked = budget(tmp_path, fixed_rate=None)
    assert (asked.sampling_rate, asked.steps) == (0.2, 4)
    assert asked.spend == SampledGaussian(asked.noise_multiplier, 0.2, 4)
    config = CONFIG.model_copy(
        update={"expected_batch_size": 50, "steps_per_proposal": 7, "noise_multiplier": 3.0}
    )
    asked = budget(tmp_path, config, fixed_rate=None)
    assert asked.spend == SampledGaussian(3.0, 0.5, 7)
    assert budget(tmp_path, config, units_count=10, fixed_rate=None).sampling_rate == 1.0
    assert budget(tmp_path, config, fixed_rate=0.25).sampling_rate == 0.25


def test_noise_must_be_given_or_planned(tmp_path):
    config = CONFIG.model_copy(update={"planned_proposals": None})
    with pytest.raises(ConfigError, match="planned_proposals"):
        budget(tmp_path, config)
    for wrong in ({"units_count": 0}, {"batch_size": 0}, {"steps": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            budget(tmp_path, **wrong)


def test_without_noise_nothing_is_allowed(tmp_path):
    asked = budget(tmp_path, CONFIG.model_copy(update={"noise_multiplier": 0.0}))
    refused = asked.ask()
    assert refused.error_code is ErrorCodes.DP_BUDGET_EXCEEDED
    assert refused.dp_budget.consumed_epsilon == 0.0


def test_every_training_is_paid_for(tmp_path):
    asked = budget(tmp_path)
    with pytest.raises(PrivacyError, match="not paid"):
        asked.training(100, 0)
    asked.ask()
    training = asked.training(100, 0)
    assert (training.steps, training.max_grad_norm) == (4, 1.0)
    assert training.noise_multiplier == asked.noise_multiplier
    with pytest.raises(PrivacyError, match="not paid"):
        asked.training(100, 1)
    while asked.ask().error_code is None:
        asked.training(100, 2)
    with pytest.raises(PrivacyError, match="not paid"):
        asked.training(100, 3)


def noise(training):
    for batch in training.batches():
        zero = {"w": np.zeros(3)}
        return training.released(zero, np.zeros(batch.units_count))["w"]
    return None


def test_only_a_simulation_repeats(tmp_path):
    def first(seed, turn, kind):
        config = CONFIG.model_copy(update={"noise": kind, "noise_multiplier": 50.0})
        asked = budget(tmp_path, config, seed=seed)
        assert asked.ask().dp_noise == kind
        return noise(asked.training(100, turn)).tolist()

    assert first(1, 0, "simulation") == first(1, 0, "simulation")
    found = {tuple(first(*at, "simulation")) for at in [(1, 0), (1, 1), (0, 1), (2, 0)]}
    assert len(found) == 4
    assert first(1, 0, "secure") != first(1, 0, "secure")


def test_a_unit_of_users_needs_users(tmp_path):
    unit = PrivacyUnit(kind="user", max_records_per_user=2)
    asked = budget(tmp_path, CONFIG.model_copy(update={"unit": unit}), units_count=4)
    asked.ask()
    with pytest.raises(ConfigError, match="nobody said"):
        asked.training(12, 0)
    training = asked.training(12, 0, np.repeat(["a", "b", "c", "d"], 3))
    batch = next(training.batches())
    assert len(batch.rows) == 8
    assert batch.units_count == 4


def test_a_damaged_record_refuses(tmp_path):
    asked = budget(tmp_path)
    asked.ask()
    path = tmp_path / "d.spends.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"count":4', b'"count":1'))
    refused = asked.ask()
    assert refused.error_code is ErrorCodes.DP_LEDGER_CORRUPT
    assert refused.dp_budget is None
    assert asked.summary().error_code is ErrorCodes.DP_LEDGER_CORRUPT
    assert path.read_bytes() == whole.replace(b'"count":4', b'"count":1')


def test_a_record_that_takes_no_more_refuses_and_says_where_it_stands(tmp_path, monkeypatch):
    asked = budget(tmp_path)
    consumed = asked.ask().dp_budget.consumed_epsilon
    size = (tmp_path / "d.spends.jsonl").stat().st_size
    monkeypatch.setattr("colearn.privacy._lines.FILE_BYTES_MAX", size)
    refused = asked.ask()
    assert refused.error_code is ErrorCodes.DP_LEDGER_UNAVAILABLE
    assert refused.dp_budget.consumed_epsilon == consumed
