"""TRL's SFTTrainer, which gets complete updates and computes them in micro-batches."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alttrain_cli.engine.load import LoadedModel, match_dtype
from alttrain_cli.engine.lora_linear import fuse_adapters
from alttrain_cli.engine.ranks import Ranks
from alttrain_cli.errors import RecipeError, first_line
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.checkpoints import write_checkpoint
from alttrain_cli.structure.template import IGNORED, EncodedRow
from alttrain_cli.training.memory_plan import Batching
from alttrain_cli.training.micro_batches import arrange_rows
from alttrain_cli.training.updates import Updates

# Settings that are carried out here, not by the trainer.
_OURS = {
    *("per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing"),
    "until_verdict",
}


class RowOrder:
    """The order of the rows. It depends only on seed and epoch, so a resumed run repeats it."""

    def __init__(self, lengths: Sequence[int], recipe: Recipe, step: Callable[[], int]) -> None:
        self._lengths = lengths
        self._settings = recipe.train
        self._step = step

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        import torch

        epoch = self._step() // -(-len(self._lengths) // self._settings.rows_per_step)
        generator = torch.Generator().manual_seed(self._settings.seed + epoch)
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # as the DataLoader does before
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        return iter(arrange_rows(order, self._lengths, self._settings))


def make_trainer(
    loaded: LoadedModel,
    recipe: Recipe,
    rows: Sequence[EncodedRow],
    checkpoints: Path,
    batching: Batching,
    ranks: Ranks,
    on_notice: Callable[[str], None],
) -> Any:
    """Return a trainer whose updates have the recipe's rows, also with little memory.

    With several processes each trainer takes the whole updates, as if it were alone; `Updates` divides them.
    Its `updates` counts the tokens. `on_notice` gets a line when an update is cut smaller.
    """
    # isort: split  (unsloth first: it patches trl and transformers)
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, PrinterCallback
    from unsloth import FastLanguageModel

    FastLanguageModel.for_training(loaded.model)
    loaded.tokenizer.padding_side = "right"
    with _explain_settings("train"):
        trainer = _trainer_class()(
            model=loaded.model,
            processing_class=loaded.tokenizer,
            train_dataset=Dataset.from_list(
                [{"input_ids": one.input_ids, "labels": one.labels} for one in rows]
            ),
            data_collator=DataCollatorForSeq2Seq(loaded.tokenizer, padding=True, label_pad_token_id=IGNORED),
            args=_arguments(loaded, recipe, checkpoints, batching, ranks),
        )
    trainer.remove_callback(PrinterCallback)
    if on_cpu := loaded.device == "cpu":
        fuse_adapters(loaded.model)
    trainer.loaded = loaded
    trainer.checkpoints = checkpoints
    trainer.ranks = ranks
    trainer.updates = Updates(loaded.model, batching.budget, ranks, on_cpu=on_cpu, on_notice=on_notice)
    trainer.order = RowOrder([len(row.input_ids) for row in rows], recipe, lambda: trainer.state.global_step)
    return trainer


class _Explaining:
    """A part of the trainer: what is wrong with a recipe's optimiser or its schedule is one line."""

    def create_optimizer(self, *arguments: Any) -> Any:
        with _explain_settings("train.optim"):
            return super().create_optimizer(*arguments)  # type: ignore[misc]

    def create_scheduler(self, *arguments: Any, **options: Any) -> Any:
        with _explain_settings("train.lr_scheduler_kwargs"):
            return super().create_scheduler(*arguments, **options)  # type: ignore[misc]


def _note_scale(loss: Any, scaler: Any) -> Any:
    """Return the loss. In float16 the scaler gets it too: a process without rows has not used it yet."""
    if scaler is not None:
        scaler.scale(loss)
    return loss


@cache
def _trainer_class() -> Any:
    """Return our subclass of TRL's trainer; defined here because importing TRL takes seconds."""
    # isort: split
    from trl import SFTTrainer

    class Trainer(_Explaining, SFTTrainer):  # type: ignore[misc]
        loaded: LoadedModel
        checkpoints: Path
        ranks: Ranks
        updates: Updates
        order: RowOrder

        def _get_train_sampler(self, *_: Any) -> RowOrder:
            return self.order

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            self.ranks.draw_apart(self.args.seed, self.state.global_step)
            loss = self.updates.loss(model, inputs, num_items_in_batch, super().training_step)
            return _note_scale(loss, self.accelerator.scaler)

        def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
            if not self.ranks.is_first:
                return
            with write_checkpoint(self.checkpoints, self.state.global_step):
                super()._save_checkpoint(*arguments, **options)

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Write none next to the checkpoints: the adapter gets ours when it is finished."""

        def load(self, checkpoint: Path) -> None:
            """Load the adapter of a checkpoint, without the state of the training."""
            self._load_from_checkpoint(str(checkpoint))

        def _load_from_checkpoint(self, *arguments: Any, **options: Any) -> None:
            super()._load_from_checkpoint(*arguments, **options)
            match_dtype(self.loaded)  # a resumed adapter keeps its dtype

    return Trainer


def _arguments(
    loaded: LoadedModel, recipe: Recipe, checkpoints: Path, batching: Batching, ranks: Ranks
) -> Any:
    from trl import SFTConfig

    settings = recipe.train.model_dump(exclude=_OURS)
    on_gpu = loaded.device != "cpu"
    os.environ.setdefault("WANDB_PROJECT", "alttrain")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(checkpoints.parent / "tensorboard"))
    values = {
        "output_dir": str(checkpoints),
        # The trainer takes whole updates; `Trainer.training_step` cuts them.
        "per_device_train_batch_size": recipe.train.rows_per_step,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": batching.gradient_checkpointing,
        # The weights are in the dtype that Unsloth chose; autocast on top only costs on a CPU.
        "bf16": on_gpu and _is_bf16(loaded.model),
        "fp16": on_gpu and not _is_bf16(loaded.model),
        "packing": False,
        "padding_free": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_total_limit": None,  # the trainer would remove by the time: the newest, if a clock was set back
        "report_to": "none",
        "run_name": checkpoints.parent.name,
        "project": "alttrain",  # trackio's
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
    }
    if not ranks.is_first:
        settings["report_to"] = "none"
    return SFTConfig(**{**values, **settings})


@contextmanager
def _explain_settings(key: str) -> Iterator[None]:
    """Turn what the libraries think of a recipe's settings, or do not find installed, into one line."""
    try:
        yield
    except (TypeError, ValueError, ImportError) as error:
        raise RecipeError(f"{key}: TRL does not accept these settings: {first_line(error)}") from None


def _is_bf16(model: Any) -> bool:
    import torch

    return bool(model.config.dtype in (torch.bfloat16, "bfloat16"))
