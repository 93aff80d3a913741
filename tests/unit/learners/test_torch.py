"""TorchLearner: model 0, the interface, buffers, repeatability, hostile proposals."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from tests.torch_learners import (
    CLASSES,
    LABELS,
    X,
    changed,
    current,
    data,
    learner,
    normed,
    step,
    tensors,
)  # fmt: skip
from torch import nn
from torch.nn import functional

from colearn import Collective, Weights
from colearn.errors import ConfigError, LearnerError, WeightsError
from colearn.learners import TorchLearner, _threads
from colearn.learners.torch_models import mlp
from colearn.schema import Schema
from colearn.tasks import Split, digits, divide
from colearn.weights import decode, freeze

# ------------------------------------------------------------------------------- model 0


def test_model_0_is_that_of_the_seed_and_the_random_numbers_stay_where_they_were():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one = learner(model_seed=5, seed=1)
    step(one)
    one.judge_current()
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    two, other = learner(model_seed=5, seed=2), learner(model_seed=6, seed=1)
    assert current(two).digest == current(learner(model_seed=5)).digest
    assert current(other).digest != current(two).digest
    torch.manual_seed(5)
    assert np.array_equal(current(two)["0.weight"], normed()[0].weight.detach().numpy())


def test_a_factory_gets_the_schema_if_it_asks_for_it():
    asked = []

    def factory(schema):
        asked.append(schema)
        return nn.Linear(len(schema.features), len(schema.classes))

    learner(factory)
    assert asked[0] == Schema.of(4, CLASSES)


def clocked():
    clocked.calls += 1
    module = nn.Linear(4, 3)
    nn.init.constant_(module.bias, clocked.calls)
    return module


clocked.calls = 0
ONE = nn.Linear(4, 3)
SHARED = nn.Linear(4, 3)


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"made": "yesterday"}

    def set_extra_state(self, state):
        pass


class Overlapping(nn.Module):
    def __init__(self):
        super().__init__()
        memory = torch.zeros(20)
        self.first = nn.Parameter(memory[:12].view(3, 4))
        self.second = nn.Parameter(memory[10:13])

    def forward(self, rows):
        return rows @ self.first.T + self.second


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (clocked, "not deterministic: 'bias' differs"),
        (lambda: ONE, "the same 'weight' twice"),
        (lambda: nn.Sequential(nn.Linear(4, 4), SHARED), "the same '1.weight' twice"),
        (ONE, "got a module"),
        (3, "must be callable, got int"),
        (lambda: "net", "must return a torch.nn.Module, got str"),
        (lambda: 1 / 0, "factory failed: division by zero"),
        (lambda: nn.Linear(4, 3).half(), "'weight' is torch.float16"),
        (lambda: nn.Linear(4, 3).bfloat16(), "'weight' is torch.bfloat16"),
        (lambda: nn.LazyLinear(3), "'weight' has no shape yet"),
        (lambda: nn.Linear(4, 3).requires_grad_(requires_grad=False), "no parameters to train"),
        (lambda: Extra(4, 3), "'_extra_state', a dict"),
        (Overlapping, "'first' and 'second' are different parts of the same memory"),
        (lambda: nn.Linear(5, 3), "fails on 2 rows of shape"),
        (lambda: nn.Linear(4, 2), r"shape \(2, 3\) for 2 rows, got \(2, 2\)"),
        (lambda: nn.LSTM(4, 3), "one tensor, got tuple"),
    ],
)
def test_a_module_that_cannot_take_part_is_named(factory, message):
    with pytest.raises(ConfigError, match=message):
        learner(factory)


def test_arrays_have_the_names_and_dtypes_of_the_state():
    arrays = current(learner())
    assert set(arrays) == set(normed().state_dict())
    assert arrays["0.weight"].dtype == np.float32
    assert arrays["1.num_batches_tracked"].dtype == np.int64
    assert arrays["1.num_batches_tracked"].shape == ()
    double = current(learner(lambda: nn.Linear(4, 3).double()))
    assert double["weight"].dtype == np.float64


# ------------------------------------------------------------------------------- shared tensors


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4, bias=False)
        self.outer = nn.Linear(4, 4, bias=False)
        self.outer.weight = self.inner.weight
        self.last = nn.Linear(4, 3)

    def forward(self, rows):
        return self.last(self.outer(torch.relu(self.inner(rows))))


def test_a_tensor_of_several_names_travels_once_and_stays_one():
    one = learner(Tied)
    assert set(current(one)) == {"inner.weight", "last.weight", "last.bias"}
    before = current(one)["inner.weight"]
    step(one)
    module = one.model_
    assert module.outer.weight is module.inner.weight
    assert "outer.weight" in module.state_dict()
    assert np.array_equal(module.outer.weight.detach(), current(one)["inner.weight"])
    assert not np.array_equal(before, current(one)["inner.weight"])
    with pytest.raises(WeightsError, match=r"outer\.weight"):
        one.mli_test_weights(changed(current(one), **{"outer.weight": before}))


# ------------------------------------------------------------------------------- the interface


def test_propose_and_test_leave_the_current_weights_and_accept_replaces_them():
    one, other = learner(seed=1), learner(seed=2)
    before = current(one)
    proposal = one.mli_propose_weights()
    entry = other.mli_test_weights(proposal)
    assert current(one) is before
    assert current(other).digest == before.digest
    assert isinstance(entry.vote, bool)
    one.mli_accept_weights(proposal)
    other.mli_accept_weights(Weights(weights=decode(proposal.weights.data)))
    assert current(one).data == current(other).data == proposal.weights.data != before.data
    assert np.array_equal(one.judge_current().losses, other.judge_current().losses)


class Fragile(nn.Module):
    """Fails on the rows after a number of passes, wherever it is copied to."""

    left = math.inf

    def __init__(self):
        super().__init__()
        self.net = normed()

    def forward(self, rows):
        Fragile.left -= 1
        if Fragile.left < 0:
            raise RuntimeError("the module broke")
        return self.net(rows)


@pytest.mark.parametrize("keep", [False, True])
def test_what_fails_half_way_leaves_no_trace(keep):
    Fragile.left = math.inf
    one, calm = (learner(Fragile, keep_optimizer_state=keep, steps=3) for _ in range(2))
    for each in (one, calm):
        step(each)
    before, threads = current(one), torch.get_num_threads()
    torch.manual_seed(3)
    random = torch.get_rng_state()
    proposal = calm.mli_propose_weights()
    try:
        Fragile.left = 2
        with pytest.raises(LearnerError, match="training failed: the module broke"):
            one.mli_propose_weights()
        Fragile.left = 1
        with pytest.raises(LearnerError, match="evaluation failed: the module broke"):
            one.mli_test_weights(proposal)
    finally:
        Fragile.left = math.inf
    assert current(one) is before
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    for each in (one, calm):
        each.begin_round(9)
    # That calm has proposed once more tells with a kept state alone.
    assert (
        one.mli_propose_weights().weights.digest == calm.mli_propose_weights().weights.digest
    ) is not keep
    assert np.array_equal(one.judge_current().losses, calm.judge_current().losses)


class Tired(nn.Module):
    """Remembers beside its weights how often it was called, and gives less each time."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, rows):
        self.calls += 1
        return self.last(rows) / self.calls


def test_what_a_module_remembers_beside_its_weights_is_forgotten():
    one = learner(Tired)
    assert set(current(one)) == {"last.weight", "last.bias"}
    proposal = one.mli_propose_weights()
    scores = {one.mli_test_weights(proposal).vote_score for _ in range(3)}
    losses = learner(Tired).judge_current().losses
    assert len(scores) == 1
    assert np.array_equal(one.judge_current().losses, losses)
    assert one.model_.calls == 0


def test_the_optimizer_starts_anew_or_goes_on_and_never_from_a_failure():
    def proposals(fail, **settings):
        Fragile.left = math.inf
        one = learner(Fragile, steps=3, **settings)
        digests = []
        for _ in range(2):
            one.begin_round(1)
            digests.append(one.mli_propose_weights().weights.digest)
            if fail:
                Fragile.left = 2
                with pytest.raises(LearnerError):
                    one.mli_propose_weights()
                Fragile.left = math.inf
        return one.local_state, digests

    state, (first, again) = proposals(fail=False)
    assert (state, first) == ("none", again)
    state, kept = proposals(fail=False, keep_optimizer_state=True)
    assert state == "restarted"
    assert kept[0] == first != kept[1]
    assert proposals(fail=True, keep_optimizer_state=True)[1] == kept
    adam = {"optimizer": torch.optim.Adam, "keep_optimizer_state": True}
    assert len(set(proposals(fail=False, **adam)[1])) == 2


def test_a_training_that_ends_in_no_numbers_names_learner_and_array_and_keeps_nothing():
    def loss(outputs, targets):
        return functional.cross_entropy(outputs, targets) * loss.factor

    one = learner(loss=loss, name="ada", keep_optimizer_state=True)
    loss.factor = math.inf
    with pytest.raises(LearnerError, match=r"'ada'.*'0\.bias' has 8 of 8"):
        one.mli_propose_weights()
    loss.factor = 1.0
    assert np.isfinite(one.mli_propose_weights().weights["0.weight"]).all()


def test_read_only_rows_and_weights_are_respected():
    rows, labels = X.copy(), LABELS.copy()
    rows.setflags(write=False)
    labels.setflags(write=False)
    one = learner(rows=data(labels, rows=rows))
    step(one)
    one.mli_test_weights(one.mli_propose_weights())
    assert np.array_equal(rows, X)
    with pytest.raises(ValueError, match="read-only"):
        current(one)["0.weight"][0, 0] = 1
    assert freeze(current(one)).data == current(one).data


def test_the_model_handed_out_evaluates_as_the_learner_scores_and_is_its_own():
    one = learner()
    for _ in range(3):
        step(one)
    before, model, held = current(one), one.model_, one.model_
    assert not model.training
    with torch.no_grad():
        found = model(torch.from_numpy(X[100:])).argmax(1).numpy()
        model[0].weight.fill_(0)
    assert (found == LABELS[100:]).mean() == pytest.approx(one.judge_current().test_score)
    assert current(one).digest == before.digest
    assert one.model_[0].weight.any()
    step(one)
    assert np.array_equal(held[0].weight.detach(), before["0.weight"])


# ------------------------------------------------------------------------------- buffers


def test_voters_evaluate_with_the_buffers_of_the_proposal_as_plain_torch_does():
    one = learner(rows={**data(), "train": (X[:80] * 3 + 5, LABELS[:80])}, seed=1)
    voter = learner(seed=2)
    step(voter)
    proposal = one.mli_propose_weights()
    arrays = proposal.weights
    assert int(arrays["1.num_batches_tracked"]) == 3
    assert not np.allclose(arrays["1.running_mean"], current(voter)["1.running_mean"])
    plain = normed()
    plain.load_state_dict(tensors(arrays))
    plain.eval()
    with torch.no_grad():
        outputs = plain(torch.from_numpy(X[80:100]))
    expected = functional.cross_entropy(
        outputs.double(), torch.from_numpy(LABELS[80:100]), reduction="none"
    )
    voter.mli_test_weights(proposal)
    voter.mli_accept_weights(proposal)
    assert voter.judge_current().losses == pytest.approx(expected.numpy())
    own = {name: array for name, array in current(learner(seed=2)).items() if "running" in name}
    mixed = learner(seed=2)
    mixed.mli_accept_weights(changed(arrays, **own))
    assert mixed.judge_current().losses != pytest.approx(expected.numpy())


def test_a_last_batch_of_one_row_joins_the_one_before():
    rows = {**data(), "train": (X[:65], LABELS[:65])}
    assert int(step(learner(rows=rows))["1.num_batches_tracked"]) == 2
    rows = {**data(), "train": (X[:66], LABELS[:66])}
    assert int(step(learner(rows=rows))["1.num_batches_tracked"]) == 3


@pytest.mark.parametrize(
    ("settings", "batches"),
    [({}, 3), ({"epochs": 4}, 12), ({"steps": 4}, 4), ({"batch_size": 200}, 1)],
)
def test_a_proposal_is_as_long_as_it_is_said_to_be(settings, batches):
    assert int(step(learner(**settings))["1.num_batches_tracked"]) == batches


def test_damping_takes_a_share_of_floats_and_counts_stay_whole():
    whole = learner(damping=1.0).mli_propose_weights().weights
    half = learner(damping=0.5).mli_propose_weights().weights
    start = current(learner())
    expected = start["0.weight"] + (whole["0.weight"] - start["0.weight"]) / 2
    assert half["0.weight"] == pytest.approx(expected, abs=1e-6)
    assert int(half["1.num_batches_tracked"]) == 3


class Tempered(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.heat = nn.Parameter(torch.tensor(1.0))

    def forward(self, rows):
        return self.last(rows) * self.heat


@pytest.mark.parametrize("damping", [1.0, 0.5])
def test_a_parameter_that_is_one_number_travels(damping):
    one = learner(Tempered, damping=damping)
    heat = step(one)["heat"]
    assert heat.shape == ()
    assert heat != 1.0


# ------------------------------------------------------------------------------- repeatability


def test_the_same_seed_gives_the_same_bytes_whatever_the_process_is_set_to():
    one, two = learner(seed=1), learner(seed=1)
    threads = torch.get_num_threads()
    first = one.mli_propose_weights().weights
    try:
        torch.set_num_threads(2)
        pools = torch.__config__.parallel_info()
        torch.manual_seed(99)
        with torch.inference_mode():
            second = two.mli_propose_weights().weights
            judged = two.judge_current()
        # Those of MKL are others than those that PyTorch counts itself.
        assert torch.__config__.parallel_info() == pools
    finally:
        torch.set_num_threads(threads)
    assert first.data == second.data
    assert np.array_equal(one.judge_current().losses, judged.losses)
    assert one.mli_propose_weights().weights.data == two.mli_propose_weights().weights.data
    assert first.data != learner(seed=2).mli_propose_weights().weights.data


def test_the_order_of_the_rows_is_that_of_seed_and_round():
    def proposal(seed, round_number):
        one = learner(lambda: nn.Linear(4, 3), seed=seed)
        one.begin_round(round_number)
        return one.mli_propose_weights().weights.digest

    assert proposal(1, 1) == proposal(1, 1)
    assert len({proposal(1, 1), proposal(1, 2), proposal(2, 1)}) == 3


def test_another_default_device_of_the_process_changes_nothing():
    expected = learner(optimizer=torch.optim.Adam).mli_propose_weights().weights
    with torch.device("meta"):
        one = learner(optimizer=torch.optim.Adam)
        assert one.mli_propose_weights().weights.data == expected.data
        one.judge_current()
        assert torch.zeros(1).device.type == "meta"


def test_learners_in_threads_of_one_process_do_not_draw_from_each_other():
    def proposals(one):
        return [step(one).digest for _ in range(4)]

    alone = [proposals(learner(seed=seed, epochs=3)) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        group = [learner(seed=seed, epochs=3) for seed in range(4)]
        assert list(pool.map(proposals, group)) == alone


def test_one_thread_needs_no_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    _threads._controller.cache_clear()
    try:
        with _threads.one_thread():
            pass
        assert step(learner()).digest
    finally:
        _threads._controller.cache_clear()


def test_a_round_proposes_the_same_again():
    one, two = learner(seed=1), learner(seed=1)
    one.mli_propose_weights()
    for each in (one, two):
        each.begin_round(4)
    assert one.mli_propose_weights().weights.data == two.mli_propose_weights().weights.data


def test_a_module_computes_at_the_threads_it_was_given():
    seen = []

    class Looking(nn.Linear):
        def forward(self, rows):
            seen.append(torch.get_num_threads())
            return super().forward(rows)

    step(learner(lambda: Looking(4, 3)))
    assert set(seen) == {1}
    seen.clear()
    step(learner(lambda: Looking(4, 3), threads=2))
    assert set(seen) == {2}


def test_dropout_in_training_draws_from_the_seed_and_none_in_evaluation():
    heavy = partial(nn.Sequential, nn.Dropout(0.5))

    def module():
        return heavy(nn.Linear(4, 3))

    one, two = learner(module, seed=1), learner(module, seed=1)
    torch.manual_seed(1)
    first = one.mli_propose_weights().weights
    torch.manual_seed(2)
    assert first.data == two.mli_propose_weights().weights.data
    assert np.array_equal(one.judge_current().losses, two.judge_current().losses)


# ------------------------------------------------------------------------------- hostile proposals


def hostile(name, value):
    return lambda arrays: {**dict(arrays), name: np.asarray(value(arrays[name]))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (hostile("0.weight", lambda a: a * np.nan), r"'0\.weight' has 32 of 32"),
        (hostile("1.running_var", lambda a: a * np.inf), r"'1\.running_var' has 8 of 8"),
        (hostile("0.weight", lambda a: a.T.copy()), r"'0\.weight' must have shape \(8, 4\)"),
        (hostile("0.weight", lambda a: a.astype(np.float64)), r"'0\.weight' must have dtype"),
        (hostile("1.num_batches_tracked", lambda a: a - 5), r"may rise by 4294967296, got -5"),
        (hostile("1.num_batches_tracked", lambda a: a + 2**62), "may rise"),
        (hostile("1.num_batches_tracked", lambda a: a.astype(np.int32)), "must have dtype"),
        (hostile("1.num_batches_tracked", lambda a: a[np.newaxis]), r"must have shape \(\)"),
        (lambda arrays: {**dict(arrays), "9.weight": np.zeros(1)}, r"'9\.weight' is not in"),
        (
            lambda arrays: {n: a for n, a in arrays.items() if n != "1.running_mean"},
            r"'1\.running_mean' is missing",
        ),
    ],
)
def test_hostile_weights_are_refused_and_nothing_changes(change, message):
    one = learner()
    before = current(one)
    weights = Weights(weights=change(before))
    for call in (one.mli_test_weights, one.mli_accept_weights):
        with pytest.raises(WeightsError, match=message):
            call(weights)
    assert current(one) is before


class Indexed(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor([3, 2, 1, 0]))
        self.register_buffer("mask", torch.tensor([True, True, False, True]))
        self.last = nn.Linear(4, 3)

    def forward(self, rows):
        return self.last(rows[:, self.order] * self.mask)


def test_indices_and_masks_are_the_models():
    one = learner(Indexed)
    step(one)
    arrays = current(one)
    for name, value in (("order", np.array([3, 2, 1, 9])), ("mask", np.ones(4, bool))):
        with pytest.raises(WeightsError, match=f"'{name}' must be the model's"):
            one.mli_test_weights(changed(arrays, **{name: value}))


@pytest.mark.parametrize(
    ("name", "value"), [("1.running_var", -1.0), ("4.weight", 3e38), ("4.weight", -3e38)]
)
def test_finite_numbers_that_make_nonsense_are_rejected_without_an_error(name, value):
    one = learner()
    step(one)
    arrays = current(one)
    entry = one.mli_test_weights(changed(arrays, **{name: np.full_like(arrays[name], value)}))
    assert entry.vote is False


# ------------------------------------------------------------------------------- learning together


@pytest.fixture(scope="module")
def division():
    task = digits()
    rows = task.scaling.apply(task.X).astype(np.float32)
    return rows, task.y, divide(task, Split(by="dirichlet", learners=5, alpha=0.5), 3)


def member(division, place, train=None, **settings):
    rows, labels, parts = division
    site = parts.sites[place]
    train = site.train if train is None else train
    return TorchLearner(
        mlp,
        train=(rows[train], labels[train]),
        vote=(rows[site.vote], labels[site.vote]),
        test=(rows[parts.test], labels[parts.test]),
        classes=range(10),
        label_prior="uniform",
        name=f"learner-{place}",
        seed=place,
        **settings,
    )


def test_five_learners_learn_the_digits_together_and_better_than_alone(division):
    group = [member(division, place) for place in range(5)]
    before = group[0].judge_current().test_score
    run = Collective(group)
    records = list(run.rounds(10))
    run.close()
    assert sum(record.outcome.name == "ACCEPTED" for record in records) >= 8
    together = group[0].judge_current().test_score
    assert before < 0.2
    assert together > 0.75
    assert len({current(each).data for each in group}) == 1
    alone = []
    for place, site in enumerate(division[2].sites):
        one = member(division, place, np.concatenate([site.train, site.vote]))
        for _ in range(2):
            step(one)
        alone.append(one.judge_current().test_score)
    assert together > max(alone) + 0.1


def test_statistics_and_counts_of_batches_pass_the_ledger():
    group = [learner(name=f"learner-{place}", seed=place) for place in range(3)]
    run = Collective(group)
    records = list(run.rounds(4))
    run.close()
    accepted = sum(record.outcome.name == "ACCEPTED" for record in records)
    assert accepted >= 2
    assert len({current(each).digest for each in group}) == 1
    assert int(current(group[0])["1.num_batches_tracked"]) == 3 * accepted


def test_the_group_starts_from_one_model_or_says_whose_differs(division):
    with pytest.raises(ConfigError, match=r"'learner-1' starts from another model.*'0\.bias'"):
        Collective([member(division, 0), member(division, 1, model_seed=1)])
