"""Which settings TRL's SFTConfig knows, read from its source: importing it would load torch."""

import ast
import difflib
from functools import cache
from importlib import util
from pathlib import Path

FILES = (
    ("trl", "trainer/sft_config.py", "SFTConfig"),
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("transformers", "training_args.py", "TrainingArguments"),
)
# What alttrain decides itself: how rows are cut, what is logged, where things are kept.
RESERVED = frozenset(
    (
        *("output_dir", "packing", "padding_free", "dataset_kwargs", "remove_unused_columns"),
        *("logging_steps", "logging_strategy", "logging_nan_inf_filter", "disable_tqdm"),
        *("save_strategy", "save_total_limit", "eval_strategy", "do_train", "do_eval", "do_predict"),
        *("bf16", "fp16", "use_cpu", "dataloader_pin_memory", "deepspeed", "fsdp", "push_to_hub"),
        *("assistant_only_loss", "completion_only_loss", "shuffle_dataset"),
    )
)
# What other tools and habits call them.
OTHER_NAMES = {
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "grad_accum": "gradient_accumulation_steps",
    "scheduler": "lr_scheduler_type",
    "optimizer": "optim",
    "warmup": "warmup_steps",
    "max_seq_length": "max_length",
    "clip": "max_grad_norm",
}


_TYPES: dict[str, tuple[type, ...]] = {
    "None": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "dict": (dict,),
    "list": (list,),
}


@cache
def settings() -> dict[str, str]:
    """Return SFTConfig's settings with their types as annotated; empty if TRL is not installed."""
    found: dict[str, str] = {}
    for package, file, of in FILES:
        found = {**_fields(package, file, of), **found}
    return found


def wrong_type(name: str, value: object) -> str:
    """Return the type that a setting must have, if the value's is another one.

    TRL checks no types: a wrong one would fail long after the model was loaded.
    """
    annotation = settings()[name]
    for member in annotation.split(" | "):
        kinds = _TYPES.get(member.partition("[")[0], (str,))  # an enum is given by its value
        right = isinstance(value, kinds) and (member == "bool" or not isinstance(value, bool))
        if right or member == f"Literal[{value}]":
            return ""
    return annotation


def nearest(word: str, own: list[str]) -> str:
    """Return the setting that was probably meant, or nothing."""
    if word in OTHER_NAMES:
        return OTHER_NAMES[word]
    for names in (own, sorted(settings())):
        if near := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
            return near[0]
    return ""


def _fields(package: str, file: str, of: str) -> dict[str, str]:
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / file
    if not path.is_file():
        return {}
    return {
        node.target.id: ast.unparse(node.annotation)
        for found in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(found, ast.ClassDef) and found.name == of
        for node in found.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
