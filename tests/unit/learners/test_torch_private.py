"""Private training of PyTorch modules: bounds, release rule, noise, settings."""

from functools import partial

import numpy as np
import pytest
import torch
from tests.torch_learners import LABELS, VALUES, X, current, data, learner
from tests.torch_private import (
    Averaging,
    Borrowed,
    by_user,
    config,
    dense,
    dropping,
    length,
    steps,
    tied,
)  # fmt: skip
from torch import nn
from torch.nn import functional

from colearn.errors import ConfigError, PrivacyError
from colearn.learners import _torch_private as shipped
from colearn.learners._torch_gradients import METHODS, Clipped, ClippedGradients
from colearn.weights import freeze

SGD = partial(torch.optim.SGD, lr=0.5)
ROWS, TARGETS = X[:80], LABELS[:80]


def family(module=dense, rows=None, agreed=None, **settings):
    one = learner(module, rows, **{"optimizer": SGD, **settings})
    one._family.require_private(config() if agreed is None else agreed)
    return one, one._family


def proposal(one, training, seed=3, y=TARGETS):
    return one._family.fit_privately(current(one), ROWS, y, training, seed)


def moved(one, arrays):
    return length(np.asarray(arrays[name]) - array for name, array in current(one).items())


# ----------------------------------------------------------------------------- the bound


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_a_step_moves_by_no_more_than_the_clipped_rows(method):
    one, _ = family(dp_gradients=method)
    training = steps(1, bound=0.01)
    batches, sizes = training.batches, []

    def watched():
        for batch in batches():
            sizes.append(batch.units_count)
            yield batch

    training.batches = watched
    distance = moved(one, proposal(one, training))
    assert 0 < distance <= 0.5 * 0.01 * sizes[0] / training.expected_batch_size * (1 + 1e-3)


def test_the_three_methods_train_the_same():
    # Full batches, so that no draw differs.
    found = []
    for method in METHODS:
        one, _ = family(dp_gradients=method)
        found.append(proposal(one, steps(4, rate=1.0)))
    for other in found[1:]:
        assert all(np.allclose(found[0][name], other[name], atol=1e-5) for name in other)
    expected = by_hand(current(family()[0]), 4)
    assert all(np.allclose(found[0][name], expected[name], atol=1e-5) for name in expected)


def by_hand(arrays, count):
    module = dense()
    module.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in arrays.items()})
    rows, targets = torch.from_numpy(ROWS), torch.from_numpy(TARGETS)
    for _ in range(count):
        total = [torch.zeros_like(each) for each in module.parameters()]
        for row, target in zip(rows, targets, strict=True):
            loss = functional.cross_entropy(module(row[None]), target[None])
            slopes = torch.autograd.grad(loss, list(module.parameters()))
            factor = min(1.0, 0.5 / length(slopes))
            total = [t + factor * s for t, s in zip(total, slopes, strict=True)]
        with torch.no_grad():
            for parameter, each in zip(module.parameters(), total, strict=True):
                parameter.sub_(0.5 * each / len(rows))
    return {name: each.detach().numpy() for name, each in module.named_parameters()}


def test_trap_1_opacus_ghost_clipping_with_an_ordinary_loss_does_not_clip():
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
        GradSampleModuleFastGradientClipping,
    )

    one, _ = family(dp_gradients="ghost")
    module = dense()
    module.load_state_dict({k: torch.from_numpy(np.array(a)) for k, a in current(one).items()})
    wrapped = GradSampleModuleFastGradientClipping(module, loss_reduction="sum", max_grad_norm=1e-3)
    rows = torch.from_numpy(ROWS).requires_grad_()
    functional.cross_entropy(wrapped(rows), torch.from_numpy(TARGETS), reduction="sum").backward()
    update = length(each.grad for each in module.parameters())
    assert update > 10 * 1e-3 * len(ROWS)
    # The same sums with the norms that clipping would leave are not released.
    training = steps(1, rate=1.0, bound=1e-3)
    batch = next(training.batches())
    sums = {name: each.grad.numpy() for name, each in module.named_parameters()}
    with pytest.raises(PrivacyError, match="more than the sum of"):
        training.released(sums, np.full(batch.units_count, 1e-3))


class Unclipped(ClippedGradients):
    """Says that it clipped, and did not."""

    def sums(self, X, y, units, units_count):
        clipped = super().sums(X, y, units, units_count)
        huge = {name: 1e6 * each for name, each in clipped.sums.items()}
        return Clipped(huge, clipped.norms, clipped.lengths)


class Wrong(ClippedGradients):
    """Takes a row's gradient for half as long as it is."""

    def sums(self, X, y, units, units_count):
        clipped = super().sums(X, y, units, units_count)
        return Clipped(clipped.sums, clipped.norms, clipped.lengths / 2)


@pytest.mark.parametrize(
    ("broken", "message"),
    [(Unclipped, "more than the sum of"), (Wrong, "are not PyTorch's own")],
)
@pytest.mark.parametrize("module", [dense, dropping])
@pytest.mark.parametrize("method", ["hooks", "vmap"])
def test_a_method_that_turns_wrong_releases_nothing(monkeypatch, broken, message, module, method):
    one, _ = family(module, dp_gradients=method)
    monkeypatch.setattr(shipped, "ClippedGradients", broken)
    with pytest.raises(PrivacyError, match=message):
        proposal(one, steps(2, rate=1.0))


def test_dropout_that_happens_to_drop_nothing_is_no_disagreement():
    """Few units of which few live: two masks are often the same where it matters."""

    def factory():
        return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.3), nn.Linear(3, 3))

    one, _ = family(factory)
    for seed in range(15):
        assert moved(one, proposal(one, steps(1), seed)) > 0


# ------------------------------------------------------------------------------- release


@pytest.mark.parametrize("method", METHODS)
def test_only_trainable_parameters_differ(method):
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            self.body[0].bias.requires_grad_(requires_grad=False)
            self.register_buffer("scale", torch.full((3,), 2.0))
            self.register_buffer("seen", torch.tensor(7))

        def forward(self, rows):
            return self.body(rows) * self.scale

    one, _ = family(Kept, dp_gradients=method)
    released, model = proposal(one, steps(3, noise=1.0)), current(one)
    same = {n for n in model if np.asarray(released[n]).tobytes() == model[n].tobytes()}
    assert same == {"scale", "seen", "body.0.bias"}
    assert freeze(released).layout == model.layout


def test_trap_4_a_buffer_that_moves_is_not_released_whatever_the_guards_say(monkeypatch):
    monkeypatch.setattr(shipped.Guards, "check", lambda guards: None)
    monkeypatch.setattr(shipped.PrivateFitting, "_check_one", lambda *given: None)
    one, _ = family(Averaging, dp_gradients="hooks")
    released = proposal(one, steps(3))
    assert not np.asarray(released["average"]).any()
    assert moved(one, released) > 0


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (Averaging, "average"),
        (partial(Averaging, persistent=False), "average"),
        (lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False), nn.Linear(8, 3)),
         "1.running_mean"),
    ],
)  # fmt: skip
def test_trap_4_a_module_with_moving_statistics_is_refused(module, part):
    with pytest.raises(ConfigError, match=f"moves '{part}'"):
        family(module)


def test_parameters_that_share_memory_stay_one():
    one, _ = family(tied)
    released = proposal(one, steps(2, noise=1.0))
    assert set(released) == set(current(one))
    module = one._family.estimator(freeze(released))
    assert torch.equal(module.first.weight, module.second.weight)


# --------------------------------------------------------------------------------- noise


@pytest.mark.parametrize("method", ["ghost", "vmap"])
def test_trap_3_secure_noise_differs_where_every_seed_is_the_same(method):
    one, _ = family(dp_gradients=method)
    first, second = (proposal(one, steps(1, rate=1.0, noise=1.0)) for _ in range(2))
    assert not any(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("module", [dense, dropping])
def test_a_simulation_repeats_and_steps_without_a_row_move_too(module):
    one, _ = family(module)
    first, second = (
        proposal(one, steps(6, rate=0.01, noise=1.0, source="simulation")) for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not any(np.array_equal(first[name], current(one)[name]) for name in first)


def test_noise_is_as_large_as_it_was_asked_for():
    # 67 parameters x 6 proposals: 30 % are over 8 standard errors, so below 1e-12 by chance.
    one, _ = family()
    found = []
    for _ in range(6):
        released = proposal(one, steps(1, rate=1.0, noise=50.0))
        found += [np.asarray(released[name]) - a for name, a in current(one).items()]
    measured = np.concatenate([each.ravel() for each in found]).std()
    assert measured == pytest.approx(0.5 * 50.0 * 0.5 / 80, rel=0.3)


# ------------------------------------------------------------------------------- settings


def test_a_user_is_clipped_as_one():
    users = np.zeros(80, int)
    for method in ("auto", "hooks"):
        one, _ = family(dp_gradients=method, agreed=by_user(80))
        training = steps(1, rate=1.0, bound=0.01, users=users, most=80)
        distance = moved(one, proposal(one, training))
        assert distance == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_targets_that_are_values_train_too():
    rows = data(VALUES, None)
    for loss in (None, functional.mse_loss):
        one, _ = family(lambda: nn.Linear(4, 1), rows, loss=loss)
        assert moved(one, proposal(one, steps(2), y=VALUES[:80])) > 0


def test_two_classes_by_one_score_train_too():
    y = (LABELS > 0).astype(int)
    one, _ = family(lambda: nn.Linear(4, 1), data(y, range(2)), loss="bce")
    assert moved(one, proposal(one, steps(2), y=y[:80])) > 0


def test_momenta_go_on_with_the_next_proposal():
    one, kind = family(keep_optimizer_state=True, optimizer=partial(SGD, momentum=0.9))
    first = proposal(one, steps(2, rate=1.0))
    kind.keep()
    second = proposal(one, steps(2, rate=1.0))
    assert moved(one, second) > 1.2 * moved(one, first)


def test_a_proposal_is_as_long_as_the_settings_say():
    assert family(batch_size=32, epochs=2)[1].private_length(80) == (32, 6, None)
    assert family(batch_size=32, epochs=2)[1].private_length(80, 20) == (20, 8, None)
    assert family(batch_size=32, steps=7)[1].private_length(80) == (32, 7, None)
    assert family(batch_size=200)[1].private_length(80) == (200, 1, None)


@pytest.mark.parametrize(
    ("settings", "agreed", "message"),
    [
        ({"clip_norm": 1.0}, None, "clip_norm does not go with private training"),
        ({"label_prior": "uniform"}, None, "label_prior does not go with private training"),
        ({"loss": functional.cross_entropy, "dp_gradients": "hooks"}, None, 'Use dp_gradients="vmap"'),
        ({"loss": functional.cross_entropy, "dp_gradients": "ghost"}, None, 'Use dp_gradients="vmap"'),
        ({"dp_gradients": "ghost"}, by_user(), '"ghost" clips rows'),
        ({"module": tied, "dp_gradients": "ghost"}, None, 'tying .* Use dp_gradients="vmap"'),
        ({"module": Borrowed, "dp_gradients": "hooks"}, None, 'norms .* Use dp_gradients="vmap"'),
        ({"dp_gradients": "fast"}, None, 'must be "auto", "hooks", "ghost" or "vmap"'),
    ],
)  # fmt: skip
def test_what_would_reveal_more_is_named(settings, agreed, message):
    with pytest.raises(ConfigError, match=message):
        family(**{"module": dense, **settings}, agreed=agreed)


def chosen(module=dense, **settings):
    return family(module, **settings)[1].private_method


def test_the_default_is_the_first_method_that_is_right(monkeypatch):
    assert chosen(dense) == "ghost"
    assert chosen(tied) == "vmap"
    assert chosen(Borrowed) == "vmap"
    assert chosen(dense, agreed=by_user()) == "vmap"
    assert chosen(dense, loss=functional.cross_entropy) == "vmap"
    monkeypatch.setattr(shipped, "opacus_is_here", lambda: False)
    assert chosen(dense) == "vmap"
    with pytest.raises(Exception, match=r"colearn\[opacus\]"):
        chosen(dense, dp_gradients="hooks")


def test_convolutions_take_vmap():
    def deep():
        layers = [nn.Conv1d(8, 8, 3, padding=1) for _ in range(3)]
        return nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 8, 3, padding=1), *layers,
                             nn.Flatten(), nn.Linear(32, 3))  # fmt: skip

    assert chosen(deep) == "vmap"
    assert shipped._is_flat(dense())
    assert not shipped._is_flat(deep())


def test_nothing_trains_privately_before_it_was_checked():
    one = learner(dense)
    with pytest.raises(PrivacyError, match="Nobody has checked"):
        proposal(one, steps())


def test_a_module_that_no_method_gets_right_is_refused():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 3)

        def forward(self, rows):
            return self.last(rows) * 0

    with pytest.raises(ConfigError, match="No way to compute .* ghost: .* vmap: .* hooks: "):
        family(Dead)


def test_a_frozen_part_may_normalize_by_statistics_that_stand_still():
    class Still(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(False)

    def factory():
        norm = Still(8).requires_grad_(requires_grad=False)
        return nn.Sequential(nn.Linear(4, 8), norm, nn.Linear(8, 3))

    one, _ = family(factory)
    released, model = proposal(one, steps(2, noise=1.0)), current(one)
    moving = {name for name in model if not np.array_equal(released[name], model[name])}
    assert moving == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.slow
def test_adapters_train_privately_and_carry_the_digest_of_their_base():
    pytest.importorskip("peft")
    from tests.torch_private import adapted

    one = adapted()
    one._family.require_private(config())
    model = current(one)
    released = one._family.fit_privately(
        model, one._train.X, one._train.y, steps(2, rows=40, noise=1.0), 3
    )
    assert {n for n in model if np.array_equal(released[n], model[n])} == {"base.sha256"}
    assert freeze(released).layout == model.layout
