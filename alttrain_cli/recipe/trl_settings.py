"""Which settings TRL's SFTConfig knows, read from its source: importing it would load torch."""

import ast
import difflib
from functools import cache
from importlib import util
from pathlib import Path

from alttrain_cli.strict_json import is_object
from alttrain_cli.text import escape_hidden, listed, quoted

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
        # a resumed run would lose the state of its optimiser, or train on rows twice
        *("save_only_model", "ignore_data_skip", "enable_jit_checkpoint"),
        # the order of the rows, and which of them are trained on
        *("data_seed", "dataloader_drop_last"),
        *("eval_on_start", "load_best_model_at_end"),  # there are no rows to evaluate on
        *("eos_token", "pad_token"),  # the rows are tokenised with those of the model
        *("bf16", "fp16", "use_cpu", "dataloader_pin_memory", "deepspeed", "fsdp", "push_to_hub"),
        *("assistant_only_loss", "completion_only_loss", "shuffle_dataset"),
        *("trust_remote_code", "model_init_kwargs", "resume_from_checkpoint", "chat_template_path"),
        *("local_rank", "hub_token"),
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

# Where the words of a setting are defined as an enumeration.
_ENUMERATIONS = (("transformers", "training_args.py"), ("transformers", "trainer_utils.py"))
_TRACKERS = ("transformers", "integrations/integration_utils.py", "INTEGRATION_TO_CALLBACK")
_MAY_BE_MINUS_ONE = ("max_steps",)
_LISTED = 16  # words in a message
_MOST = 1e9  # of any number
_UP_TO_ONE = ("label_smoothing_factor", "adam_epsilon")

# What a value of each annotated type is in YAML, and in words.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "None": ((type(None),), "null"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "dict": ((dict,), "a section with keys"),
    "list": ((list,), "a list of words"),
    "str": ((str,), "text"),
}


@cache
def settings() -> dict[str, str]:
    """Return SFTConfig's settings with their types as annotated; empty if TRL is not installed."""
    found: dict[str, str] = {}
    for package, file, of in FILES:
        found = {**_fields(package, file, of), **found}
    return found


def wrong_settings(train: object, own: list[str]) -> list[str]:
    """Return the problems of the settings under `train:` that are not in `own`, the recipe's fields."""
    problems = []
    for key, value in train.items() if isinstance(train, dict) else ():
        if key in own:
            continue
        name = f"train.{escape_hidden(str(key))[:100]}"
        if key in RESERVED:
            problems.append(f"{name}: alttrain sets this itself; leave it out.")
        elif key not in settings():
            near = nearest(str(key), own)
            hint = f"Did you mean 'train.{near}'?" if near else "It must be a setting of TRL's SFTConfig."
            problems.append(f"{name}: unknown key. {hint}")
        elif wanted := wrong_type(key, value) or wrong_value(key, value):
            problems.append(f"{name}: must be {wanted}, not {quoted(value)}.")
    return problems


def wrong_type(name: str, value: object) -> str:
    """Return in words which types a setting may have, if the value's is another one.

    TRL checks no types: a wrong one would fail long after the model was loaded.
    """
    annotation = settings()[name]
    for member in annotation.split(" | "):
        kinds, _ = _TYPES.get(member.partition("[")[0], _TYPES["str"])  # an enum is given by its value
        right = isinstance(value, kinds) and (member == "bool" or not isinstance(value, bool))
        if right or member == f"Literal[{value}]":
            return ""
    members = [member.partition("[")[0] for member in annotation.split(" | ")]
    *first, last = [_TYPES[member][1] for member in members if member in _TYPES] or ["text"]
    return f"{', '.join(first)} or {last}" if first else last


def wrong_value(name: str, value: object) -> str:
    """Return the valid values of a setting, if its number is out of range or its word is unknown."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, (int, float)):
        return _wrong_number(name, value)
    known, annotation = words_of(name), settings()[name]
    if isinstance(value, str) and "dict" in annotation:
        return "" if is_object(value) else "a section with keys"
    for word in value if isinstance(value, list) else [value]:
        if "list[str]" in annotation and word is not None and not isinstance(word, str):
            return "a list of words"
        if isinstance(word, str):
            if not word.strip():
                return "a word that is not empty"
            if known and word not in known:
                return f"one of {listed(known, _LISTED)}"
    return ""


def check_words(name: str, word: str) -> str:
    """Return the word of a setting.

    Raises:
        ValueError: if the libraries do not know it, with the nearest one.
    """
    known = words_of(name)
    if known and word not in known:
        near = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {listed(known, _LISTED)}"
        raise ValueError(f"{quoted(word)} is not known; {hint}")
    return word


def words_of(name: str) -> tuple[str, ...]:
    """Return the words that a setting may be; empty if it may be any text."""
    if name == "report_to":
        return (*_trackers(), "none", "all") if _trackers() else ()
    for member in settings().get(name, "").split(" | "):
        if words := _enumerations().get(member):
            return words
    return ()


def _wrong_number(name: str, value: int | float) -> str:
    if name in _MAY_BE_MINUS_ONE:
        return (
            ""
            if value == -1 or 0 < value <= _MOST
            else f"a number from 1 to {_MOST:,.0f}, or -1 for no limit"
        )
    most = 1 if name in _UP_TO_ONE else _MOST
    return "" if 0 <= value <= most else f"a number from 0 to {most:,.0f}"


def nearest(word: str, own: list[str]) -> str:
    """Return the setting that was probably meant, or nothing."""
    if word in OTHER_NAMES:
        return OTHER_NAMES[word]
    names = {*own, *settings()} - RESERVED
    return next(iter(difflib.get_close_matches(word[:100], sorted(names), n=1, cutoff=0.6)), "")


@cache
def _enumerations() -> dict[str, tuple[str, ...]]:
    found = {}
    for package, file in _ENUMERATIONS:
        for name, of in _classes(package, file).items():
            if "ExplicitEnum" in map(ast.unparse, of.bases):
                values = [one.value for one in of.body if isinstance(one, ast.Assign)]
                found[name] = tuple(str(one.value) for one in values if isinstance(one, ast.Constant))
    return found


@cache
def _trackers() -> tuple[str, ...]:
    package, file, name = _TRACKERS
    assigned = [node for node in _statements(package, file) if isinstance(node, ast.Assign)]
    for node in assigned:
        if isinstance(node.value, ast.Dict) and ast.unparse(node.targets[0]) == name:
            return tuple(str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))
    return ()


def _fields(package: str, file: str, of: str) -> dict[str, str]:
    found = _classes(package, file).get(of)
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in (found.body if found else ())
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _classes(package: str, file: str) -> dict[str, ast.ClassDef]:
    return {one.name: one for one in _statements(package, file) if isinstance(one, ast.ClassDef)}


@cache
def _statements(package: str, file: str) -> list[ast.stmt]:
    """Return the statements of a file of an installed package; none if it is not there."""
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    path = Path(spec.origin).parent / file
    return ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
