import numpy as np
import pytest
from scipy import stats

from colearn.errors import ConfigError, PrivacyError
from colearn.privacy.randomness import SecureSource, SimulationSource
from colearn.privacy.training import Batch, PrivateTraining

# Correct code fails a test of secure noise once in a million runs.
RARE = 1e-6


def training(**settings):
    usual = {
        "rows_count": 40,
        "max_grad_norm": 2.0,
        "noise_multiplier": 1.5,
        "sampling_rate": 0.25,
        "steps": 3,
        "source": SecureSource(),
    }
    return PrivateTraining(**(usual | settings))


def zeros(batch, *, width=4):
    return {"w": np.zeros(width), "b": np.zeros(())}, np.zeros(batch.units_count)


def test_every_step_is_drawn_and_released_in_turn():
    private = training()
    assert private.expected_batch_size == 10.0
    for batch in private.batches():
        assert isinstance(batch, Batch)
        assert batch.rows.dtype == batch.units.dtype == np.int64
        assert (
            batch.units.tolist() == list(range(batch.units_count)) == list(range(batch.rows.size))
        )
        released = private.released(*zeros(batch))
        assert {name: (value.dtype, value.shape) for name, value in released.items()} == {
            "w": (np.float64, (4,)),
            "b": (np.float64, ()),
        }
    private.finish()


def test_the_released_noise_has_the_deviation_of_the_accounting():
    private = training(steps=1, noise_multiplier=2.5, max_grad_norm=0.3)
    batch = next(private.batches())
    noise = private.released({"w": np.zeros(100_000)}, np.zeros(batch.units_count))["w"]
    scaled = noise * private.expected_batch_size / (2.5 * 0.3)
    assert stats.kstest(scaled, "norm").pvalue > RARE
    assert abs(scaled.std() - 1) < 5 / np.sqrt(2 * scaled.size)
    grid = 2.0 ** (round(np.log2(0.75)) - 20)
    steps = noise * private.expected_batch_size / grid
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


def test_the_sum_is_released_over_the_expected_batch_size_and_not_the_drawn_one():
    private = training(noise_multiplier=0.0, steps=20)
    for batch in private.batches():
        sums = {"w": np.full(4, 0.5 * batch.units_count)}
        released = private.released(sums, np.full(batch.units_count, 1.0))
        np.testing.assert_array_equal(released["w"], sums["w"] / 10)
    private.finish()


@pytest.mark.parametrize(
    ("norm", "length"),
    [
        (2.0, 2.0 * 1.001),
        (2.0 * 1.001, 2.0),
        (1e9, 1.0),
        (np.nan, 1.0),
        (np.inf, 1.0),
        (-1.0, 0.5),
        (1.0, np.nan),
        (1.0, np.inf),
        (0.0, 1e-6),
    ],
)
def test_a_gradient_over_the_bound_is_not_released(norm, length):
    private = training(sampling_rate=1.0, rows_count=1)
    next(private.batches())
    with pytest.raises(PrivacyError):
        private.released({"w": np.array([length, 0.0])}, np.array([norm]))
    with pytest.raises(PrivacyError, match="0 releases"):
        private.finish()


def test_all_parameters_together_have_the_bound():
    private = training(sampling_rate=1.0, rows_count=1)
    next(private.batches())
    sums = {"w": np.array([2.0, 0.0]), "b": np.array(2.0)}
    with pytest.raises(PrivacyError, match="norm 2.82"):
        private.released(sums, np.array([2.0]))


def test_rounding_of_float32_is_no_breach():
    private = training(sampling_rate=1.0, rows_count=2)
    next(private.batches())
    sums = {"w": np.array([4.0003], np.float32)}
    private.released(sums, np.array([2.0001, 2.0001], np.float32))


def test_an_empty_batch_may_only_release_noise():
    private = training(sampling_rate=1e-12)
    batch = next(private.batches())
    assert batch.units_count == 0
    with pytest.raises(PrivacyError, match="more than the sum"):
        private.released({"w": np.array([1.0])}, np.zeros(0))
    private.released({"w": np.array([0.0])}, np.zeros(0))


def test_norms_of_other_units_than_the_batch_are_refused():
    private = training(sampling_rate=1.0, rows_count=3)
    next(private.batches())
    for norms in (np.zeros(2), np.zeros(4), np.zeros((3, 1)), np.float64(0)):
        with pytest.raises(PrivacyError, match="3 units"):
            private.released({"w": np.zeros(1)}, norms)


def test_which_parameters_are_released_does_not_depend_on_the_batch():
    private = training(sampling_rate=1.0, rows_count=1)
    batches = private.batches()
    next(batches)
    with pytest.raises(PrivacyError, match="same parameters"):
        private.released({}, np.zeros(1))
    private.released({"w": np.zeros(2), "b": np.zeros(1)}, np.zeros(1))
    next(batches)
    for sums in ({"w": np.zeros(2)}, {"w": np.zeros(3), "b": np.zeros(1)}):
        with pytest.raises(PrivacyError, match="same parameters"):
            private.released(sums, np.zeros(1))


def test_a_forgotten_release_stops_the_training():
    private = training()
    batches = private.batches()
    next(batches)
    with pytest.raises(PrivacyError, match="not released"):
        next(batches)
    with pytest.raises(PrivacyError, match="0 releases"):
        private.finish()


def test_a_batch_is_released_once():
    private = training()
    with pytest.raises(PrivacyError, match="no batch"):
        private.released({"w": np.zeros(1)}, np.zeros(0))
    batch = next(private.batches())
    private.released(*zeros(batch))
    with pytest.raises(PrivacyError, match="no batch"):
        private.released(*zeros(batch))


def test_no_more_steps_than_were_paid_for():
    private = training(steps=2)
    for batch in private.batches():
        private.released(*zeros(batch))
    private.finish()
    with pytest.raises(PrivacyError, match="drawn once"):
        next(private.batches())


def test_ending_early_is_noticed():
    private = training(steps=2)
    private.released(*zeros(next(private.batches())))
    with pytest.raises(PrivacyError, match="after 1 releases"):
        private.finish()


def test_units_are_drawn_at_the_sampling_rate():
    private, taken = training(steps=2000, rows_count=30, sampling_rate=0.2), np.zeros(30, int)
    for batch in private.batches():
        taken[batch.rows] += 1
        private.released(*zeros(batch, width=1))
    assert stats.binomtest(int(taken.sum()), 60_000, 0.2).pvalue > RARE
    assert stats.chi2.sf(((taken - 400) ** 2 / (2000 * 0.16)).sum(), 30) > RARE


def test_users_are_drawn_whole_and_have_their_own_norms():
    users = np.array(["b", "a", "c", "a", "b", "a", "a"])
    private = training(rows_count=7, users=users, max_records_per_user=2, steps=200)
    assert (private.units_count, private.expected_batch_size) == (3, 0.75)
    rows_of = {}
    for batch in private.batches():
        assert batch.units_count == np.unique(batch.units).size
        for unit in range(batch.units_count):
            rows = batch.rows[batch.units == unit]
            (user,) = set(users[rows])
            assert rows.size == {"a": 2, "b": 2, "c": 1}[user]
            # The same rows each time: a user's other rows never take part.
            assert rows_of.setdefault(user, rows.tolist()) == rows.tolist()
        private.released(*zeros(batch))
    assert set(rows_of) == {"a", "b", "c"}


def test_the_rows_of_a_user_are_drawn_evenly():
    taken = np.zeros(5, int)
    for _ in range(2000):
        private = training(
            rows_count=5, users=np.zeros(5, int), max_records_per_user=2, sampling_rate=1.0
        )
        taken[next(private.batches()).rows] += 1
    assert taken.sum() == 4000
    assert all(stats.binomtest(int(count), 2000, 0.4).pvalue > RARE for count in taken)


def test_a_simulation_repeats():
    first, again, other = (
        training(source=SimulationSource(seed), users=np.arange(40) // 4, max_records_per_user=2)
        for seed in (1, 1, 2)
    )
    results = []
    for private in (first, again, other):
        batch = next(private.batches())
        results.append((batch.rows.tolist(), private.released(*zeros(batch))["w"].tolist()))
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    "settings",
    [
        {"rows_count": 0},
        {"rows_count": 1.5},
        {"steps": 0},
        {"steps": True},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": float("nan")},
        {"max_grad_norm": float("inf")},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": float("nan")},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.01},
        {"max_records_per_user": 0},
        {"users": np.zeros(39, int)},
        {"users": np.zeros((40, 1), int)},
        {"users": np.zeros(40)},
        {"users": [None] * 40},
    ],
)
def test_settings_that_cannot_be_private_are_refused(settings):
    with pytest.raises(ConfigError):
        training(**settings)
