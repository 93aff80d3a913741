"""The audit of mechanisms lets the shipped code pass, and catches code that was spoilt."""

import math

import numpy as np
import pytest

from colearn.audit import subjects
from colearn.audit.leaves import forest, share_auc
from colearn.audit.mechanism import Settings, audit_mechanism
from colearn.errors import PrivacyError
from colearn.learners._template import TemplateLearner
from colearn.privacy import PrivateTraining, SecureSource, SimulationSource
from colearn.privacy.onerun import auc_of

SEEDS = range(5)


class Spoilt:
    """A training as an adapter sees it, with something broken."""

    def __init__(self, training):
        self.training = training

    def __getattr__(self, name):
        return getattr(self.training, name)

    def released(self, sums, norms):
        return with_less_noise(self.training.released, self.training, sums, norms, self.share())


class NoNoise(Spoilt):
    def share(self):
        return 0.0


class NoiseOverBatch(Spoilt):
    def share(self):
        return 1 / math.sqrt(self.training.expected_batch_size)


class NoClip(Spoilt):
    """Tells the adapter a bound that cuts nothing, and the engine norms that it likes to hear."""

    max_grad_norm = 1e9

    def released(self, sums, norms):
        return self.training.released(sums, np.minimum(norms, self.training.max_grad_norm))


def with_less_noise(released, training, sums, norms, share):
    """Keep this share of the noise that the real code adds."""
    means = {name: value / training.expected_batch_size for name, value in sums.items()}
    noisy = released(sums, norms)
    return {name: means[name] + share * (noisy[name] - means[name]) for name in sums}


class SpoiltFamily:
    """A real family that trains by a spoilt training."""

    def __init__(self, family, bug):
        self.family, self.bug = family, bug

    def __getattr__(self, name):
        return getattr(self.family, name)

    def fit_privately(self, model, X, y, training, seed):
        return self.family.fit_privately(model, X, y, self.bug(training), seed)


def spoilt(maker, bug):
    def make(**settings):
        rows = {name: settings[name] for name in ("train", "vote")}
        plain = maker(**rows)
        return TemplateLearner(SpoiltFamily(plain._family, bug), plain.schema, **settings)

    return make


class EngineWithoutNoise(PrivateTraining):
    def released(self, sums, norms):
        return with_less_noise(super().released, self, sums, norms, 0.0)


class EngineWithNoiseOverBatch(PrivateTraining):
    def released(self, sums, norms):
        share = 1 / math.sqrt(self.expected_batch_size)
        return with_less_noise(super().released, self, sums, norms, share)


@pytest.mark.parametrize("seed", range(20))
def test_the_shipped_engine_and_linear_learner_pass(seed):
    settings = Settings(seed=seed, canaries=500)
    for release in (
        subjects.engine(settings, SimulationSource(seed)),
        subjects.linear(settings, "simulation"),
    ):
        found = audit_mechanism(release, settings)
        assert found.findings == ()
        assert found.seen.bound < found.epsilon == pytest.approx(2.254, abs=1e-3)
        # The canaries do reach the bound: who is clipped to nothing is not audited.
        assert found.seen.auc > found.auc - 4 * found.seen.auc_error


@pytest.mark.parametrize("seed", range(20))
def test_the_shipped_torch_learner_passes(seed):
    pytest.importorskip("opacus")
    settings = Settings(seed=seed, canaries=500)
    found = audit_mechanism(subjects.torch(settings, "simulation"), settings)
    assert found.findings == ()
    assert found.seen.auc > found.auc - 4 * found.seen.auc_error


def test_secure_noise_passes():
    # Fails by chance once in 10**7: three draws in a row 3 standard errors away.
    settings = Settings()
    assert audit_mechanism(subjects.engine(settings, SecureSource()), settings).findings == ()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bug", [NoClip, NoiseOverBatch, NoNoise])
@pytest.mark.parametrize("kind", ["linear", "torch"])
def test_a_spoilt_learner_is_caught(kind, bug, seed):
    if kind == "torch":
        pytest.importorskip("opacus")
    # Of fewer gradients that are not clipped the engine itself would see that they are too long.
    canaries = 1000 if bug is NoClip else 500
    settings = Settings(seed=seed, canaries=canaries)
    maker = {"linear": subjects.linear_maker, "torch": subjects.torch_maker}[kind](canaries)
    release = subjects.of_learner(spoilt(maker, bug), settings, "simulation")
    found = audit_mechanism(release, settings)
    # Both criteria see it.
    assert len(found.findings) == 2
    assert "epsilon is at least" in found.findings[0]
    assert "AUC" in found.findings[1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [EngineWithoutNoise, EngineWithNoiseOverBatch])
def test_a_spoilt_engine_is_caught(kind, seed):
    settings = Settings(seed=seed)
    release = subjects.engine(settings, SimulationSource(seed), kind)
    assert len(audit_mechanism(release, settings).findings) == 2


def test_a_fifth_less_noise_is_caught_with_enough_canaries():
    """The AUC sees faults that are too small for the lower bound."""

    class Quieter(PrivateTraining):
        def released(self, sums, norms):
            return with_less_noise(super().released, self, sums, norms, 0.8)

    settings = Settings(runs=10)
    release = subjects.engine(settings, SimulationSource(0), Quieter)
    findings = audit_mechanism(release, settings).findings
    assert len(findings) == 1
    assert "AUC" in findings[0]


def test_an_adapter_that_admits_not_to_clip_is_stopped_before_anything_is_released():
    class Honest(NoClip):
        def released(self, sums, norms):
            return self.training.released(sums, norms)

    settings = Settings(canaries=100)
    maker = spoilt(subjects.linear_maker(100), Honest)
    release = subjects.of_learner(maker, settings, "simulation")
    with pytest.raises(Exception, match="max_grad_norm") as raised:
        release(np.arange(100) < 50)
    assert isinstance(raised.value.__cause__, PrivacyError)


@pytest.mark.parametrize("seed", range(20))
def test_the_shipped_forest_passes(seed):
    settings = Settings(seed=seed, canaries=500)
    found = audit_mechanism(forest(settings, "simulation"), settings, share_auc(2.0))
    assert found.findings == ()
    assert found.seen.auc > found.auc - 4 * found.seen.auc_error


def test_a_share_tells_less_than_a_count():
    noise = np.random.default_rng(1).normal(size=(40_000, 2)) * 2
    included = np.arange(40_000) < 20_000
    counts = np.maximum(noise + np.column_stack([included, np.zeros(40_000)]), 0)
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(counts[:, 0] / counts.sum(axis=1), nan=0.5)
    auc, error = auc_of(shares, included)
    assert abs(auc - share_auc(2.0)) < 4 * error
    assert share_auc(2.0) < 0.638


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [EngineWithoutNoise, EngineWithNoiseOverBatch])
def test_a_spoilt_forest_is_caught(kind, seed, monkeypatch):
    monkeypatch.setattr("colearn.privacy.budget.PrivateTraining", kind)
    settings = Settings(seed=seed)
    findings = audit_mechanism(forest(settings, "simulation"), settings, share_auc(2.0)).findings
    assert findings
    assert "AUC" in findings[-1]


def test_the_shipped_keras_learner_passes():
    # Importing Keras by itself would take another backend.
    pytest.importorskip("colearn.learners.keras")
    settings = Settings(canaries=500)
    found = audit_mechanism(subjects.keras(settings, "simulation"), settings)
    assert found.findings == ()
    assert found.seen.auc > found.auc - 4 * found.seen.auc_error
