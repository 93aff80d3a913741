import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colearn.errors import WeightsError
from colearn.interface import DiffPrivBudget, DiffPrivConfig, PrivacyUnit, TrainingSummary
from colearn.privacy.claim import CLAIM_KEYS, check_claim, claim_of, config_digest, metadata_of

CONFIG = DiffPrivConfig(
    target_epsilon=2, target_delta=1e-6, max_grad_norm=1.0, planned_proposals=10
)


def summary(**changes):
    budget = {
        "target_epsilon": 2.0,
        "target_delta": 1e-6,
        "consumed_epsilon": 0.1 + 0.2,
        "consumed_delta": 1e-6,
    }
    budget |= {key: value for key, value in changes.items() if key in budget}
    rest = {"dp_config": config_digest(CONFIG), "dp_noise": "secure"}
    rest |= {key: value for key, value in changes.items() if key in rest}
    return TrainingSummary(dp_budget=DiffPrivBudget(**budget), **rest)


def test_a_claim_arrives_as_it_was_made():
    metadata = metadata_of(summary())
    assert set(metadata) == set(CLAIM_KEYS)
    assert metadata["dp.consumed_epsilon"] == "0.30000000000000004"
    assert claim_of(metadata | {"author": "x"}) == summary()
    check_claim(claim_of(metadata), CONFIG)


@pytest.mark.parametrize(
    "nothing",
    [None, TrainingSummary(), TrainingSummary(dp_config="0" * 64), summary(dp_config="")],
)
def test_training_without_privacy_claims_nothing(nothing):
    assert metadata_of(nothing) == {}
    assert claim_of({"author": "x"}) is None


def test_equal_settings_have_equal_digests_and_others_another():
    assert config_digest(CONFIG) == config_digest(CONFIG.model_copy())
    others = [
        CONFIG.model_copy(update=change)
        for change in (
            {"target_epsilon": 2.5},
            {"target_delta": 1e-7},
            {"max_grad_norm": 2.0},
            {"noise_multiplier": 1.0},
            {"expected_batch_size": 3},
            {"steps_per_proposal": 3},
            {"planned_proposals": 11},
            {"unit": PrivacyUnit(kind="user")},
            {"unit": PrivacyUnit(max_records_per_user=2)},
            {"noise": "simulation"},
        )
    ]
    assert len({config_digest(config) for config in [CONFIG, *others]}) == len(others) + 1


@pytest.mark.parametrize(
    "text",
    [
        "nan", "inf", "-inf", "1_0", " 2.0", "2.0 ", "2", "+2.0", "2.00", "02.0", "2.0e0", "1e400",
        "-1.0", "-0.0", "0x1p1", "", "\u0662.\u0660", "2,0", "1" * 10**6, "0." + "3" * 40, None, 2.0, b"2.0",
    ],
)  # fmt: skip
def test_a_number_has_one_spelling(text):
    for key in CLAIM_KEYS[2:]:
        with pytest.raises(WeightsError, match=key) as caught:
            claim_of(metadata_of(summary()) | {key: text})
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("dp.config", "0" * 63),
        ("dp.config", "0" * 65),
        ("dp.config", "A" * 64),
        ("dp.config", "0" * 64 + "\n"),
        ("dp.config", None),
        ("dp.noise", ""),
        ("dp.noise", "Secure"),
        ("dp.noise", []),
        ("dp.more", "x"),
        ("dp.", "x"),
    ],
)
def test_what_is_no_claim_is_refused(key, text):
    with pytest.raises(WeightsError, match="dp"):
        claim_of(metadata_of(summary()) | {key: text})


@pytest.mark.parametrize("key", CLAIM_KEYS)
def test_half_a_claim_is_refused(key):
    whole = metadata_of(summary())
    with pytest.raises(WeightsError, match="missing"):
        claim_of({name: text for name, text in whole.items() if name != key})
    with pytest.raises(WeightsError, match="missing"):
        claim_of({key: whole[key]})


@given(st.dictionaries(st.sampled_from([*CLAIM_KEYS, "dp.x", "other"]), st.text(max_size=80)))
def test_hostile_text_is_a_claim_nothing_or_an_error(metadata):
    try:
        claim = claim_of(metadata)
    except WeightsError:
        return
    assert (claim is None) == (not any(key.startswith("dp.") for key in metadata))


@given(st.sampled_from(CLAIM_KEYS), st.text(max_size=80))
def test_what_is_read_is_written_the_same(key, text):
    metadata = metadata_of(summary()) | {key: text}
    try:
        claim = claim_of(metadata)
    except WeightsError:
        return
    assert metadata_of(claim) == metadata


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_every_finite_number_arrives(number):
    if math.copysign(1, number) > 0:
        made = summary(consumed_epsilon=number)
        assert claim_of(metadata_of(made)) == made


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_claim_that_nobody_would_accept_is_not_made(bad):
    with pytest.raises(WeightsError, match="finite"):
        metadata_of(summary(consumed_epsilon=bad))


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (None, "claims none"),
        (TrainingSummary(), "claims none"),
        (summary(dp_config="0" * 64), "other privacy settings"),
        (summary(dp_config=""), "other privacy settings"),
        (summary(dp_noise="simulation"), "secure noise"),
        (summary(dp_noise=""), "secure noise"),
        (summary(target_epsilon=3.0), "target epsilon"),
        (summary(target_delta=1e-5), "target delta"),
        (summary(consumed_epsilon=2.0000001), "over the target"),
        (summary(consumed_delta=2e-6), "over the target"),
        (summary(consumed_epsilon=math.nan), "finite"),
        (summary(target_epsilon=math.nan), "finite"),
        (summary(consumed_epsilon=-1.0), "finite"),
    ],
)
def test_a_claim_of_something_else_is_refused(claim, message):
    with pytest.raises(WeightsError, match=message):
        check_claim(claim, CONFIG)


def test_exactly_the_target_is_within_it():
    check_claim(summary(consumed_epsilon=2.0), CONFIG)
