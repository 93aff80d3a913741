import numpy as np
import pytest

from colearn.errors import ConfigError
from colearn.preprocess import (
    Moments,
    Scaling,
    impute,
    local_moments,
    refuse_missing,
    shared_scaling,
)

FEATURES = ("age", "dose", "weight")


def site(mean, mean_square, count=10):
    return Moments(count, np.array([mean]), np.array([mean_square]))


def test_scaling_subtracts_and_divides_each_feature():
    scaling = Scaling(np.array([1.0, 0.0]), np.array([2.0, 4.0]))
    X = np.array([[3, 4], [1, -8]], dtype=np.float32)
    scaled = scaling.apply(X)
    assert scaled.dtype == np.float64
    np.testing.assert_array_equal(scaled, [[1, 1], [0, -2]])
    np.testing.assert_array_equal(X, [[3, 4], [1, -8]])


def test_scalings_made_from_constants():
    X = np.array([[16.0, 8.0]])
    np.testing.assert_array_equal(Scaling.identity(2).apply(X), X)
    assert not np.shares_memory(Scaling.identity(2).apply(X), X)
    np.testing.assert_array_equal(Scaling.divide(16, 2).apply(X), [[1, 0.5]])


def test_a_scaling_cannot_be_changed_through_its_arrays():
    offset = np.zeros(2)
    scaling = Scaling(offset, np.ones(2))
    offset[0] = 5
    assert scaling.offset[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        scaling.divisor[0] = 0


@pytest.mark.parametrize(
    ("offset", "divisor", "message"),
    [
        ([0.0], [0.0], "divisor 0.0 at feature 0"),
        ([0.0, 0.0], [1.0, np.nan], "divisor nan at feature 1"),
        ([0.0, 0.0], [1.0, np.inf], "divisor inf at feature 1"),
        ([np.inf], [1.0], "offset inf"),
        ([0.0, 0.0], [1.0], "a divisor per offset, 2, got 1"),
        ([[0.0]], [[1.0]], r"must be \(features,\)"),
        (["a"], [1.0], "offset must be numbers"),
    ],
)
def test_a_scaling_that_cannot_work_is_refused(offset, divisor, message):
    with pytest.raises(ConfigError, match=message):
        Scaling(offset, divisor)


@pytest.mark.parametrize(
    ("by", "message"), [(0, "divisor 0"), (10**400, "must be numbers"), ("a", "must be numbers")]
)
def test_dividing_by_no_number_is_refused(by, message):
    with pytest.raises(ConfigError, match=message):
        Scaling.divide(by, 3)


@pytest.mark.parametrize("X", [[["a"]], [[1], [1, 2]], [[10**400]], [[None, {}]]])
def test_data_that_is_no_numbers_is_refused(X):
    for read in (
        Scaling.identity(1).apply,
        local_moments,
        lambda X: refuse_missing(X, ["a"]),
        lambda X: impute(X, {}, ["a"]),
    ):
        with pytest.raises(ConfigError, match="X must be numbers"):
            read(X)


@pytest.mark.parametrize("X", [np.zeros((2, 3)), np.zeros(2)])
def test_data_of_another_width_is_refused(X):
    with pytest.raises(ConfigError, match=r"features, got 3|\(rows, features\)"):
        Scaling.identity(2).apply(X)


def test_a_scaling_survives_the_specification():
    scaling = Scaling(np.array([0.1, -3.0]), np.array([1 / 3, 7.0]))
    document = scaling.to_dict()
    assert document == {"offset": [0.1, -3.0], "divisor": [1 / 3, 7.0]}
    again = Scaling.from_dict(document)
    np.testing.assert_array_equal(again.offset, scaling.offset)
    np.testing.assert_array_equal(again.divisor, scaling.divisor)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"offset": [0.0]},
        {"offset": [0.0], "divisor": [1.0], "scale": [1.0]},
        {"offset": "0", "divisor": [1.0]},
        {"offset": ["0"], "divisor": [1.0]},
        {"offset": [True], "divisor": [1.0]},
        {"offset": [0.0], "divisor": [0.0]},
        {"offset": [10**400], "divisor": [1.0]},
        {"offset": [[0.0]], "divisor": [1.0]},
    ],
)
def test_a_document_that_is_no_scaling_is_refused(document):
    with pytest.raises(ConfigError):
        Scaling.from_dict(document)


def test_one_sites_own_moments_standardise_its_own_data():
    X = np.random.default_rng(0).normal(5, 3, (200, 4))
    scaled = shared_scaling([local_moments(X)]).apply(X)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)


def test_up_to_three_sites_give_what_their_pooled_rows_give():
    rng = np.random.default_rng(1)
    parts = [rng.normal(i, 1 + i, (rows, 3)) for i, rows in enumerate((10, 40, 25))]
    scaling = shared_scaling([local_moments(part) for part in parts])
    pooled = np.concatenate(parts)
    np.testing.assert_allclose(scaling.offset, pooled.mean(axis=0))
    np.testing.assert_allclose(scaling.divisor, pooled.std(axis=0))


def test_from_four_sites_on_the_lowest_and_the_highest_are_dropped():
    # The means drop sites 0 and 3, the means of squares drop sites 1 and 3.
    sites = [site(-2, 7, 100), site(1, 6, 10), site(2, 10, 30), site(1e6, 1e13, 50)]
    scaling = shared_scaling(sites)
    mean = (10 * 1 + 30 * 2) / 40
    mean_square = (100 * 7 + 30 * 10) / 130
    np.testing.assert_allclose(scaling.offset, [mean])
    np.testing.assert_allclose(scaling.divisor, [np.sqrt(mean_square - mean**2)])


def test_each_feature_drops_its_own_sites():
    sites = [Moments(1, [low, high], [1e4, 1e4]) for low, high in ((0, 3), (1, 2), (2, 1), (9, -9))]
    np.testing.assert_allclose(shared_scaling(sites).offset, [1.5, 1.5])


def test_one_liar_among_four_moves_the_scaling_only_within_the_honest_range():
    honest = [site(1.0, 2.0), site(1.1, 2.2), site(0.9, 1.9)]
    for lie in (1e100, -1e100):
        scaling = shared_scaling([*honest, site(lie, 1e200, count=2**53)])
        assert 0.9 <= scaling.offset[0] <= 1.1


def test_a_constant_feature_is_divided_by_a_millionth():
    scaling = shared_scaling([local_moments(np.full((5, 1), 0.1))])
    np.testing.assert_allclose(scaling.divisor, [1e-6])


def test_the_order_of_the_sites_makes_no_difference():
    rng = np.random.default_rng(2)
    sites = [local_moments(rng.normal(0, 1, (rows, 6))) for rows in (5, 8, 13, 21, 34)]
    forward, backward = shared_scaling(sites), shared_scaling(sites[::-1])
    assert forward.to_dict() == backward.to_dict()


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (site(np.nan, 2.0), "mean is not finite at feature 0"),
        (site(1.0, np.inf), "mean_square is not finite at feature 0"),
        (site(1.0, 2.0, count=0), "got fewer"),
        (site(1.0, 2.0, count=-(10**400)), "got fewer"),
        (site(1.0, 2.0, count=10**400), "got more"),
        (site(1.0, 2.0, count=True), "whole number of rows, got bool"),
        (site(1.0, 2.0, count=2.5), "whole number of rows, got float"),
        (site(2.0, 3.9), "below mean"),
        (site(0.0, -1e-300), "below mean"),
        (site(1e200, 1e300), "below mean"),
        (Moments(10, [1.0, 1.0], [2.0]), "expected 1 features, got 2 in mean"),
        (Moments(10, [1.0], [2.0, 2.0]), "expected 1 features, got 2 in mean_square"),
    ],
)
def test_hostile_moments_are_refused_and_their_site_is_named(hostile, message):
    with pytest.raises(ConfigError, match=f"position 2 .*{message}"):
        shared_scaling([site(1.0, 2.0), site(1.0, 2.0), hostile])


def test_moments_at_the_edge_of_rounding_are_accepted():
    X = np.full((1000, 1), 1e8 + 0.1)
    assert shared_scaling([local_moments(X)]).divisor[0] > 0


@pytest.mark.parametrize(("mean", "mean_square"), [("a", [1.0]), ([[1.0]], [1.0]), ([None], {})])
def test_moments_that_are_no_numbers_are_refused(mean, mean_square):
    with pytest.raises(ConfigError, match="The moments' mean"):
        Moments(1, mean, mean_square)


def test_a_shared_scaling_needs_a_site():
    with pytest.raises(ConfigError, match="at least one site"):
        shared_scaling([])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((0, 2)), "at least one row"),
        (np.zeros(2), "rows, features"),
        (np.array([[0.0, np.nan]]), "feature 1 are not"),
        (np.array([[np.inf, 0.0]]), "feature 0 are not"),
        (np.array([[1e200, 0.0]]), "feature 0 are not"),
    ],
)
def test_moments_need_finite_rows(X, message):
    with pytest.raises(ConfigError, match=message):
        local_moments(X)


def test_missing_values_are_named_with_column_and_count():
    X = np.array([[np.nan, 1, 2], [np.nan, 1, np.inf]])
    with pytest.raises(ConfigError, match=r"'age' \(2\), 'weight' \(1\)\.") as caught:
        refuse_missing(X, FEATURES)
    assert "imputation" in caught.value.hint
    refuse_missing(np.zeros((2, 3)), FEATURES)


def test_only_the_first_five_columns_are_named():
    X = np.full((1, 8), np.nan)
    with pytest.raises(ConfigError, match=r"'x4' \(1\) and 3 more columns") as caught:
        refuse_missing(X, [f"x{i}" for i in range(8)])
    assert "'x5'" not in str(caught.value)


def test_only_declared_columns_are_imputed_and_the_data_is_left_alone():
    X = np.array([[np.nan, np.nan, 2], [4, 5, np.nan]])
    filled = impute(X, {"age": 40, "weight": 70.5}, FEATURES)
    np.testing.assert_array_equal(filled, [[40, np.nan, 2], [4, 5, 70.5]])
    assert np.isnan(X[0, 0])


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("declared", [{}, {"age": 1.0}, {"dose": 1.0}])
def test_infinite_values_are_never_imputed(value, declared):
    with pytest.raises(ConfigError, match="'dose' has infinite values"):
        impute([[np.nan, value, 0]], declared, FEATURES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height": 1.0}, "'height' has an imputation, and is not a feature"),
        ({"age": np.nan}, "'age' must be a finite number, got nan"),
        ({"age": np.inf}, "finite number, got inf"),
        ({"age": 10**400}, "must be a finite number"),
        ({"age": "mean"}, "finite number, got 'mean'"),
    ],
)
def test_an_imputation_that_means_nothing_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        impute(np.zeros((1, 3)), values, FEATURES)
