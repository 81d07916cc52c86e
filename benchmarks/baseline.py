"""The script that people copy: Unsloth's FastLanguageModel and TRL's SFTTrainer, as in its notebooks.

It leaves alone what Unsloth decides by itself. A collator of one's own, `padding_free=False` or
`packing=False` in SFTConfig would turn its padding-free batches off, and the comparison would
flatter us. One thing is better than in the notebooks: an update is one batch, not four of two rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alttrain_cli.recipe.model import Recipe
from alttrain_cli.structure.template import IGNORED, EncodedRow


def load_model(recipe: Recipe) -> tuple[Any, Any]:
    """Return (model with a fresh adapter, tokenizer)."""
    # isort: split  (unsloth first: it patches trl and transformers)
    from unsloth import FastLanguageModel

    from alttrain_cli.engine.device import has_gpu
    from alttrain_cli.engine.source import locate

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=locate(recipe).name,
        max_seq_length=recipe.train.max_length,
        load_in_4bit=recipe.model.load_in_4bit and has_gpu(),
    )
    lora = recipe.lora
    model = FastLanguageModel.get_peft_model(
        model,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=0,
        bias="none",
        target_modules=list(lora.target_modules),
        use_gradient_checkpointing="unsloth",
        random_state=recipe.train.seed,
    )
    return model, tokenizer


def settings(recipe: Recipe, folder: Path, *, bf16: bool, fp16: bool) -> dict[str, Any]:
    """Return SFTConfig's settings: the recipe's, and nothing that decides how rows are batched."""
    train = recipe.train
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": train.rows_per_step,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": train.num_train_epochs,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": train.lr_scheduler_type,
        "warmup_steps": train.warmup_steps,
        "optim": "adamw_8bit",
        "adam_beta1": train.adam_beta1,
        "adam_beta2": train.adam_beta2,
        "weight_decay": train.weight_decay,
        "max_length": train.max_length,
        "seed": train.seed,
        "bf16": bf16,
        "fp16": fp16,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def collator(tokenizer: Any, *, padded: bool) -> dict[str, Any]:
    """Return what SFTTrainer is given to make batches: nothing, unless each batch is to be padded here."""
    if not padded:
        return {}
    from transformers import DataCollatorForSeq2Seq

    padding = DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED)
    return {"data_collator": padding}


def make_trainer(loaded: Any, recipe: Recipe, rows: Sequence[EncodedRow], folder: Path, padded: bool) -> Any:
    """Return the trainer; with `padded`, a collator of its own pads each batch to its longest row."""
    # isort: split  (unsloth first: it patches trl and transformers)
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer
    from unsloth import FastLanguageModel, is_bfloat16_supported

    gpu, half = torch.cuda.is_available(), is_bfloat16_supported()
    FastLanguageModel.for_training(loaded.model)
    trainer = SFTTrainer(
        model=loaded.model,
        processing_class=loaded.tokenizer,
        train_dataset=Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows]),
        args=SFTConfig(**settings(recipe, folder, bf16=gpu and half, fp16=gpu and not half)),
        **collator(loaded.tokenizer, padded=padded),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def batching_of(trainer: Any) -> str:
    """Return how a trainer batches its rows, as Unsloth and TRL left it."""
    if getattr(trainer.args, "packing", False):
        return "packed"
    free = getattr(trainer.data_collator, "padding_free", False) or trainer.args.padding_free
    return "padding-free" if free else "padded"
