"""Low-rank adapters of language models: a proposal is the adapter (Hu et al., 2021)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from colearn.errors import ConfigError, MissingExtraError
from colearn.learners._importable import imported
from colearn.learners._torch_adapter import AdapterArchitecture
from colearn.learners._torch_architecture import Architecture, takes_schema
from colearn.learners._torch_data import TorchRows
from colearn.learners.torch import TorchLearner
from colearn.schema import Schema

try:
    import peft
    import transformers
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "peft", extra="lora") from error

__all__ = ["LoraLearner"]

BaseModel = Callable[..., Any]
"""Makes a ``transformers.PreTrainedModel`` for sequence classification."""

_RANK_MAX = 1024
_ADAM: dict[str, Any] = {"lr": 1e-3}


class LoraLearner(TorchLearner):
    """A learner on the low-rank adapter and the head of a transformer that classifies texts.

    The rows of X are token identifiers, whole numbers of shape (rows, tokens), padded with the
    model's ``pad_token_id``. The base model does not travel: every learner has it, and its digest
    is part of the weights, so that two bases cannot meet in one experiment (6.1).
    """

    _architecture_type: ClassVar[type[Architecture]] = AdapterArchitecture

    def __init__(
        self,
        model: BaseModel | str | Path,
        *,
        train: TorchRows,
        vote: TorchRows,
        rank: int = 4,
        alpha: float = 8.0,
        dropout: float = 0.0,
        target_modules: Sequence[str] | str | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        **settings: Any,
    ) -> None:
        """Build the learner.

        Args:
            model: A factory of the base model, called as ``model(schema=...)`` if it has a
                parameter of that name; or the folder of one on this machine, in safetensors.
            train: Token identifiers of shape (rows, tokens) and labels of shape (rows,).
            vote: Private rows to vote on, disjoint from `train`.
            rank: Rank of the adapters, 1 to 1,024.
            alpha: Their scale: what an adapter adds is multiplied by alpha / rank.
            dropout: Dropout in front of each adapter while training, 0 to below 1.
            target_modules: Layers that get an adapter, as peft names them; None takes peft's own
                choice for the kind of model.
            optimizer: Makes the optimizer of a list of parameters; None is AdamW with lr 0.001.
            **settings: Those of `TorchLearner`, such as classes, epochs, batch_size and seed.

        Raises:
            ConfigError: A model or setting that cannot be used; rows that do not fit.
        """
        config = _adapter(rank, alpha, dropout, target_modules)
        make = partial(torch.optim.AdamW, **_ADAM) if optimizer is None else optimizer
        factory = partial(_Adapted, model, config)
        super().__init__(factory, train=train, vote=vote, optimizer=make, **settings)

    @classmethod
    def from_settings(cls, schema: Schema, **settings: Any) -> LoraLearner:
        """Build the learner an experiment file describes.

        ``model`` is the folder of the base model, or names its factory as ``module:name``.

        Raises:
            ConfigError: No model, or a setting that nobody knows.
        """
        model, optimizer = settings.pop("model", None), settings.pop("optimizer", None)
        if not isinstance(model, str):
            raise ConfigError(f"[learner.with.model] must be text, got {model!r}.")
        if not Path(model).is_dir():
            model = imported(model, "learner.with.model")
        lr = settings.pop("lr", _ADAM["lr"])
        make = (
            torch.optim.AdamW
            if optimizer is None
            else imported(optimizer, "learner.with.optimizer")
        )
        return cls(model, schema=schema, optimizer=partial(make, lr=lr), **settings)


class _Adapted(nn.Module):
    """The base model with its adapters, from token identifiers to one score a class."""

    def __init__(
        self, model: BaseModel | str | Path, config: Mapping[str, Any], schema: Schema
    ) -> None:
        super().__init__()
        base = _base(model, schema)
        self._pad = getattr(base.config, "pad_token_id", None)
        with warnings.catch_warnings():
            # peft reads an attribute that transformers is about to rename.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            self.model = peft.get_peft_model(base, peft.LoraConfig(**config))

    def forward(self, tokens: Tensor) -> Tensor:
        known = None if self._pad is None else (tokens != self._pad).long()
        scores: Tensor = self.model(input_ids=tokens, attention_mask=known).logits
        return scores


def _base(model: BaseModel | str | Path, schema: Schema) -> Any:
    if callable(model):
        base = model(schema=schema) if takes_schema(model) else model()
    else:
        # Never from the network, and never a pickle.
        base = transformers.AutoModelForSequenceClassification.from_pretrained(
            str(model),
            num_labels=len(schema.classes or ()) or 1,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    if not isinstance(base, transformers.PreTrainedModel):
        raise ConfigError(
            f"The model must be a transformers.PreTrainedModel, got {type(base).__name__}."
        )
    return base


def _adapter(
    rank: int, alpha: float, dropout: float, target_modules: Sequence[str] | str | None
) -> dict[str, Any]:
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= _RANK_MAX:
        raise ConfigError(f"rank must be a whole number from 1 to {_RANK_MAX}, got {rank!r}.")
    if not isinstance(alpha, int | float) or not 0 < alpha < float("inf"):
        raise ConfigError(f"alpha must be a number above 0, got {alpha!r}.")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be from 0 to below 1, got {dropout!r}.")
    named = target_modules is None or isinstance(target_modules, str)
    return {
        "task_type": peft.TaskType.SEQ_CLS,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": target_modules if named else list(target_modules or ()),
    }
