"""TRL's SFTTrainer, fed whole updates that it cuts into micro-batches as memory allows."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from alttrain_cli.engine.load import Loaded, match_dtype
from alttrain_cli.engine.memory import is_out_of_memory, release_memory
from alttrain_cli.errors import ModelError, RecipeError, RunError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.storage.files import unwritable, write_json
from alttrain_cli.structure.template import IGNORED, Encoded
from alttrain_cli.training.attention import FUSED, PLAIN, SHORT, attending
from alttrain_cli.training.memory_plan import Batching
from alttrain_cli.training.micro_batches import arrange, fixed_cost, micro_batches

COMPLETE = "complete.json"  # the last file of a checkpoint: without it, the checkpoint is torn


class Order:
    """The order of the rows: it depends on seed and epoch alone, so a resumed run finds it again."""

    def __init__(self, lengths: Sequence[int], recipe: Recipe, epoch: Callable[[], int]) -> None:
        self._lengths = lengths
        self._settings = recipe.train
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        import torch

        generator = torch.Generator().manual_seed(self._settings.seed + self._epoch())
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # as the DataLoader does before
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        return iter(arrange(order, self._lengths, self._settings))


def make_trainer(
    loaded: Loaded,
    recipe: Recipe,
    rows: Sequence[Encoded],
    checkpoints: Path,
    batching: Batching,
    on_notice: Callable[[str], None],
) -> Any:
    """Return a trainer whose updates have the recipe's rows, whatever memory there is.

    Every token of an update weighs the same, however it is cut. When memory runs out, the update is
    done again in micro-batches of half the size, and `on_notice` is told.
    """
    # isort: split  (unsloth first: it patches trl and transformers)
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, PrinterCallback
    from trl import SFTTrainer
    from unsloth import FastLanguageModel

    lengths = [len(row.input_ids) for row in rows]
    steps_an_epoch = -(-len(rows) // recipe.train.rows_a_step)
    on_cpu = loaded.device == "cpu"
    cost = fixed_cost(gpu=not on_cpu)

    class Trainer(SFTTrainer):  # type: ignore[misc]
        budget = batching.budget
        fed = 0  # tokens so far in this process, padding not counted

        def _get_train_sampler(self, *_: Any) -> Any:
            return Order(lengths, recipe, lambda: self.state.global_step // steps_an_epoch)

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            if num_items_in_batch is None:
                num_items_in_batch = (inputs["labels"] != IGNORED).sum()
            sizes = inputs["attention_mask"].sum(dim=1).tolist()
            while (loss := self._try_update(model, inputs, sizes, num_items_in_batch)) is None:
                model.zero_grad()
                self._halve(sizes)
            self.fed += sum(sizes)
            return loss

        def _try_update(self, model: Any, inputs: Any, sizes: list[int], num_items_in_batch: Any) -> Any:
            """Return the loss, or nothing if memory ran out; by then the error holds no tensors any more."""
            try:
                return self._update(model, inputs, sizes, num_items_in_batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return None

        def _update(self, model: Any, inputs: Any, sizes: list[int], num_items_in_batch: Any) -> Any:
            losses = []
            for batch in micro_batches(sizes, self.budget, cost):
                width = sizes[batch[0]]
                part = {key: value[batch, :width] for key, value in inputs.items()}
                with attending(loaded.model, PLAIN if on_cpu and width <= SHORT else FUSED):
                    losses.append(super().training_step(model, part, num_items_in_batch))
            return sum(losses[1:], losses[0])

        def _halve(self, sizes: list[int]) -> None:
            release_memory()
            cut = micro_batches(sizes, self.budget, cost)
            largest = max(len(batch) * sizes[batch[0]] for batch in cut)
            if largest == max(sizes):  # it is one row
                raise ModelError(
                    f"Out of memory on one row of {largest:,} tokens. Leave out the longest rows, or try "
                    "--set train.gradient_checkpointing=true, --set model.load_in_4bit=true or a smaller "
                    "model (alttrain recipes --gpu auto). The checkpoints stay."
                )
            self.budget = largest // 2
            on_notice(
                f"out of memory: going on with micro-batches of {self.budget:,} tokens; "
                f"an update still has {recipe.train.rows_a_step} rows"
            )

        def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
            folder = checkpoints / f"checkpoint-{self.state.global_step}"
            try:
                super()._save_checkpoint(*arguments, **options)
                write_json(folder / COMPLETE, {"step": self.state.global_step})
            except Exception as error:
                reason = _why_unwritten(error, checkpoints)  # asked before space is freed
                shutil.rmtree(folder, ignore_errors=True)
                if reason:
                    raise RunError(
                        f"{folder}: {reason}. Earlier checkpoints stay; free space, then "
                        "go on with the same command and --resume."
                    ) from None
                raise

        def _load_from_checkpoint(self, *arguments: Any, **options: Any) -> None:
            super()._load_from_checkpoint(*arguments, **options)
            match_dtype(loaded)  # a resumed adapter keeps the dtype that it had

    FastLanguageModel.for_training(loaded.model)
    loaded.tokenizer.padding_side = "right"
    trainer = Trainer(
        model=loaded.model,
        processing_class=loaded.tokenizer,
        train_dataset=Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows]),
        data_collator=DataCollatorForSeq2Seq(loaded.tokenizer, padding=True, label_pad_token_id=IGNORED),
        args=_arguments(loaded, recipe, checkpoints, batching),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _why_unwritten(error: Exception, folder: Path) -> str | None:
    """Return why a write failed; torch does not always say that there was no space."""
    full = shutil.disk_usage(folder).free < 2**20
    return unwritable(error) or ("the disk is full" if full else None)


def _arguments(loaded: Loaded, recipe: Recipe, checkpoints: Path, batching: Batching) -> Any:
    from trl import SFTConfig

    settings = recipe.train.model_dump(
        exclude={"per_device_train_batch_size", "gradient_accumulation_steps", "gradient_checkpointing"}
    )
    on_gpu = loaded.device != "cpu"
    os.environ.setdefault("WANDB_PROJECT", "alttrain")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(checkpoints.parent / "tensorboard"))
    values = {
        "output_dir": str(checkpoints),
        # The trainer takes whole updates; `Trainer.training_step` cuts them.
        "per_device_train_batch_size": recipe.train.rows_a_step,
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
        "save_total_limit": 2,
        "report_to": "none",
        "run_name": checkpoints.parent.name,
        "project": "alttrain",  # trackio's
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
    }
    try:
        return SFTConfig(**{**values, **settings})
    except (TypeError, ValueError) as error:
        raise RecipeError(f"train: TRL does not take these settings: {error}") from None


def _is_bf16(model: Any) -> bool:
    import torch

    return bool(model.config.dtype in (torch.bfloat16, "bfloat16"))
