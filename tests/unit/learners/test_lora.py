"""A proposal is the adapter; the base stays where it is, and must be the same everywhere."""

import importlib.util
from functools import partial

import numpy as np
import pytest

for package in ("torch", "transformers", "peft"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"no {package} here: pip install 'colearn[lora]'", allow_module_level=True)

import transformers  # noqa: E402  (is it there?)

from colearn import Collective  # noqa: E402
from colearn.errors import ConfigError, WeightsError  # noqa: E402
from colearn.interface import Weights  # noqa: E402
from colearn.learners.lora import LoraLearner  # noqa: E402
from colearn.schema import Schema  # noqa: E402

RNG = np.random.default_rng(3)
WORDS, LENGTH = 64, 12
X = RNG.integers(1, WORDS, size=(900, LENGTH))
X[::2, -3:] = 0  # padding
Y = ((X > 0) & (X < WORDS // 2)).sum(axis=1) * 2 > (X > 0).sum(axis=1)


def tiny(schema, *, layers=2):
    """A random encoder of a few thousand weights."""
    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=LENGTH, pad_token_id=0,
        num_labels=len(schema.classes), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def without_schema():
    return tiny(Schema.of(1, (0, 1)))


def learner(place=0, model=tiny, **settings):
    begin = 300 * place
    train, vote = slice(begin, begin + 200), slice(begin + 200, begin + 300)
    given = {"classes": (0, 1), "epochs": 3, "batch_size": 16, **settings}
    return LoraLearner(
        model, train=(X[train], Y[train]), vote=(X[vote], Y[vote]), name=f"l{place}", **given
    )


def adam(parameters):
    import torch

    return torch.optim.AdamW(parameters, lr=1e-2)


def test_a_proposal_is_small_and_holds_no_weight_of_the_base():
    weights = learner().mli_propose_weights().weights
    assert len(weights.data) < 20_000
    assert weights["base.sha256"].shape == (32,)
    others = [name for name in weights if name != "base.sha256"]
    assert others
    assert all("lora_" in name or "modules_to_save" in name for name in others)


def test_three_learners_lower_the_loss_on_rows_held_out_in_five_rounds():
    group = [learner(place, optimizer=adam) for place in range(3)]
    before = np.mean([each.judge_current().losses.mean() for each in group])
    run = Collective(group, rounds=5, seed=0)
    accepted = sum(record.outcome == "accepted" for record in run.rounds())
    after = np.mean([each.judge_current().losses.mean() for each in group])
    assert accepted >= 3
    assert after < before - 0.05


def test_the_padding_is_not_read():
    one = learner().model_
    import torch

    row = torch.from_numpy(X[:1])
    with torch.no_grad():
        assert torch.allclose(one(row), one(row[:, :-3]), atol=1e-6)


def test_learners_with_another_base_do_not_start_from_the_same_model():
    mine, theirs = learner(), learner(1, model_seed=1)
    assert mine.mli_get_current_weights().weights.digest != (
        theirs.mli_get_current_weights().weights.digest
    )
    with pytest.raises(WeightsError, match=r"base\.sha256"):
        mine.mli_accept_weights(theirs.mli_propose_weights())
    with pytest.raises(WeightsError):
        mine.mli_test_weights(theirs.mli_propose_weights())


def test_the_same_seed_gives_the_same_bytes_and_training_goes_on():
    first = learner(seed=5).mli_propose_weights().weights
    assert first.data == learner(seed=5).mli_propose_weights().weights.data
    assert first.data != learner(seed=6).mli_propose_weights().weights.data
    one = learner(seed=5, optimizer=adam)
    losses = [one.judge_current().losses.mean()]
    for _ in range(4):
        one.mli_accept_weights(one.mli_propose_weights())
        losses.append(one.judge_current().losses.mean())
    assert losses[-1] < losses[0]


def test_adapters_of_another_shape_are_refused():
    one = learner()
    arrays = dict(learner(rank=2).mli_propose_weights().weights)
    with pytest.raises(WeightsError):
        one.mli_test_weights(Weights(weights=arrays))


def test_a_base_from_a_folder_is_the_one_that_was_saved(tmp_path):
    import torch

    torch.manual_seed(0)
    without_schema().save_pretrained(tmp_path / "base")
    one, two = learner(0, str(tmp_path / "base")), learner(1, tmp_path / "base")
    digest = one.mli_get_current_weights().weights["base.sha256"]
    assert np.array_equal(digest, two.mli_get_current_weights().weights["base.sha256"])
    named = LoraLearner.from_settings(
        Schema.of(LENGTH, (0, 1)),
        model=str(tmp_path / "base"),
        lr=0.01,
        train=(X[:100], Y[:100]),
        vote=(X[100:200], Y[100:200]),
    )
    assert np.array_equal(digest, named.mli_get_current_weights().weights["base.sha256"])


def test_a_base_that_is_not_on_this_machine_is_not_fetched():
    with pytest.raises(ConfigError, match="factory failed"):
        learner(0, "somebody/some-model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be"),
        ({"rank": True}, "rank must be"),
        ({"alpha": 0}, "alpha must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"target_modules": ["nothing"]}, "target_modules"),
        ({"model": object}, "PreTrainedModel"),
    ],
)
def test_what_cannot_be_used_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        learner(**settings)


def test_a_factory_without_a_schema_and_a_partial_one_work():
    assert learner(model=without_schema).mli_propose_weights()
    assert learner(model=partial(tiny, layers=1)).mli_propose_weights()
