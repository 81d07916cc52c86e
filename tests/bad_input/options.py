"""Options of build-data, train, chat and recipes: values that cannot be meant, and options without an effect."""

from tests.bad_input.case import FIFO, FOLDER, HARMFUL, ROW, SAMPLE, Case, Content, lines

_SERVER = ("--base-url", "http://127.0.0.1:9/v1")
_TRAINED = {"d.jsonl": lines(ROW, HARMFUL)}


def _build(id: str, argv: tuple[str, ...], *words: str) -> Case:
    return Case(f"build-{id}", ("build-data", *argv), words, {"s.jsonl": lines(SAMPLE)})


def _train(id: str, argv: tuple[str, ...], *words: str) -> Case:
    return Case(
        f"train-{id}", ("train", "--recipe", "smollm2-135m", "--data", "d.jsonl", *argv), words, _TRAINED
    )


def _chat(id: str, argv: tuple[str, ...], *words: str, stdin: bytes = b"") -> Case:
    return Case(f"chat-{id}", ("chat", *argv), words, stdin=stdin)


def _probe(id: str, name: str, content: Content, *words: str) -> Case:
    argv = ("chat", "smollm2-135m", "--prompts", name)
    return Case(f"probe-{id}", argv, (name, *words), {name: content})


def _suite(id: str, text: str, content: Content, *words: str) -> Case:
    argv = ("build-data", "--source", "starter", "--suite-file", text)
    return Case(f"suite-file-{id}", argv, words, {text.rpartition("=")[2]: content})


_FROM = ("--source", "s.jsonl", "--label", "benign")
BUILD = [
    _build("nothing", (), "--source", "--help"),
    _build("unknown-option", ("--nope",), "--nope", "build-data --help"),
    _build("huge-option", ("--style", "x" * 1_000_000, "--source", "starter"), "--style", "(1,000,002 characters) is unknown"),
    _build("out-empty", ("--source", "starter", "--out", ""), "folder"),
    _build("out-folder", ("--source", "starter", "--out", "."), "folder"),
    _build("out-below-a-file", ("--source", "starter", "--out", "s.jsonl/d.jsonl"), "s.jsonl: cannot write: a part of the path is a file, not a folder. Choose"),
    _build("out-long", ("--source", "starter", "--out", "x" * 300 + ".jsonl"), "too long"),
    _build("out-json", ("--source", "starter", "--out", "a/rows.json"), "--out a/rows.json", "a/rows.jsonl"),
    _build("out-new-folder", ("--source", "starter", "--out", "new/"), "--out new: rows are written as .jsonl"),
    _build("out-is-the-source", (*_FROM, "--out", "s.jsonl"), "s.jsonl: --out would overwrite this source"),
    _build("suite-twice", ("--source", "starter", "--suite", "smoke", "--suite", "xstest-safe"), "--suite is given twice", "commas"),
    _build("columns-twice", (*_FROM, "--columns", "prompt=a", "--columns", "response=b"), "--columns is given twice", "commas"),
    _build("seed-word", ("--source", "starter", "--seed", "x"), "--seed", "integer"),
    _build("seed-negative", ("--source", "starter", "--seed", "-1"), "--seed': it must be greater than or equal to 0."),
    _build("seed-65-bits", ("--source", "starter", "--seed", str(2**64)), "--seed': it must be less than or equal to 9223372036854775807."),
    _build("show-negative", ("--source", "starter", "--show", "-1"), "--show': it must be greater than or equal to 0."),
    _build("style", ("--source", "starter", "--style", "nope"), "'nope' is unknown"),
    _build("style-empty", ("--source", "starter", "--style", ""), "--style is empty"),
    _build("suite", ("--source", "starter", "--suite", "nope"), "--suite nope: no such suite"),
    _build("annotator", (*_FROM, "--annotator", "gpt"), "--annotator", "template"),
    _build("concurrency", (*_FROM, "--annotator", "endpoint", *_SERVER, "--concurrency", "0"), "--concurrency': it must be greater than or equal to 1."),
    _build("concurrency-huge", (*_FROM, "--concurrency", "1000000"), "--concurrency': it must be less than or equal to 1024."),
    _build("price-one", (*_FROM, "--annotator", "endpoint", *_SERVER, "--price", "1"), "two numbers"),
    _build("price-negative", (*_FROM, "--annotator", "endpoint", *_SERVER, "--price", "-1,2"), "two numbers"),
    _build("price-nan", (*_FROM, "--annotator", "endpoint", *_SERVER, "--price", "nan,2"), "two numbers"),
    _build("price-infinite", (*_FROM, "--annotator", "endpoint", *_SERVER, "--price", "1,inf"), "two numbers"),
    _build("price-alone", (*_FROM, "--price", "1,2"), "--price has no effect without a server"),
    _build("url-alone", (*_FROM, *_SERVER), "--base-url has no effect without a server", "--annotator"),
    _build("url-starter", ("--source", "starter", *_SERVER), "--base-url has no effect"),
    _build("url-empty", (*_FROM, "--annotator", "endpoint", "--base-url", ""), "--base-url is empty"),
    _build("no-url", (*_FROM, "--annotator", "endpoint"), "--base-url"),
    _build("model-alone", (*_FROM, "--model", "m"), "--model has no effect without a server"),
    _build("concurrency-alone", (*_FROM, "--concurrency", "4"), "--concurrency has no effect"),
    _build("engine-alone", (*_FROM, "--engine", "vllm"), "--engine vllm has no effect without a model"),
    _build("engine-unknown", (*_FROM, "--engine", "tgi"), "--engine", "vllm"),
    _build("recipe-alone", (*_FROM, "--recipe", "r1-7b"), "--recipe has no effect without a model"),
    _build("no-recipe", (*_FROM, "--annotator", "model"), "--recipe"),
    _build("trust-alone", (*_FROM, "--on-disagreement", "label"), "--on-disagreement has no effect without a model as annotator"),
    _build("annotator-starter", ("--source", "starter", "--annotator", "endpoint", *_SERVER), "--annotator has no"),
    _build("label-starter", ("--source", "starter", "--label", "benign"), "--label has no effect"),
    _build("columns-starter", ("--source", "starter", "--columns", "prompt=a"), "--columns has no effect"),
    _build("label-mix", ("--mix", "s.jsonl", "--label", "benign"), "--label has no effect"),
    _build("style-mix", ("--mix", "s.jsonl", "--style", "original"), "--style has no effect"),
    _build("traces-unknown", ("--source", "s.jsonl", "--label", "unknown", "--generate-traces", "endpoint", *_SERVER), "--label unknown has no effect with --generate-traces"),
    _build("traces-original", (*_FROM, "--style", "original", "--generate-traces", "model"), "--style original cannot be used with --generate-traces"),
    *(
        _build(f"audit-{option}", ("--audit", "s.jsonl", f"--{option}", value), f"--{option} has no effect with --audit")
        for option, value in {
            "source": "starter", "mix": "s.jsonl", "out": "x.jsonl", "columns": "prompt=a", "label": "benign",
            "style": "original", "annotator": "template", "on-disagreement": "label", "generate-traces": "model",
            "base-url": "http://localhost", "model": "m", "recipe": "r1-7b", "concurrency": "2", "price": "1,2",
            "seed": "1",
        }.items()
    ),
    _suite("suffix", "p.txt", "a", "p.txt", "unknown format"),
    _suite("torn", "p.jsonl", "{", "p.jsonl:1", "not valid JSON"),
    _suite("unknown", "nope=p.jsonl", "{}", "--suite-file nope=p.jsonl: no suite is called 'nope'"),
    _suite("group", "smoke=p.jsonl", "{}", "--suite-file smoke=p.jsonl: smoke is a group"),
    _build("suite-file-without-file", ("--source", "starter", "--suite-file", "smoke-harmful="), "--suite-file smoke-harmful=: give NAME=FILE"),
    _suite("pipe", "p.csv", FIFO, "p.csv", "pipe"),
    Case(
        "suite-file-twice",
        ("build-data", "--source", "starter", "--suite-file", "a/p.csv", "--suite-file", "b/p.csv"),
        ("two files are called 'p'",),
        {"a/p.csv": "prompt\na\n", "b/p.csv": "prompt\nb\n"},
    ),
]  # fmt: skip
_SHORT = {
    **_TRAINED,
    "m/config.json": '{"max_position_embeddings": 256}',
    "v/config.json": '{"max_position_embeddings": 512, "text_config": {"max_position_embeddings": 256}}',
}


def _longer(mode: tuple[str, ...], model: str) -> Case:
    argv = (
        "train",
        "--recipe",
        "smollm2-135m",
        "--data",
        "d.jsonl",
        "--set",
        f"model.name={model}",
        "--set",
        "train.max_length=257",
    )
    words = (f"{model}: reads at most 256 tokens, but train.max_length is 257", "--set train.max_length=256")
    return Case(f"train-longer-than-the-model-{model}{mode[:1]}", (*argv, *mode), words, _SHORT)


TRAIN = [
    *(_longer(mode, "m") for mode in (("--plan",), ("--preview", "1"), ())),
    _longer(("--plan",), "v"),
    _train("resume-plan", ("--resume", "--out", "run", "--plan"), "--resume has no effect with --plan"),
    _train("set-data", ("--set", "data=null"), "--set data has no effect with --data, which names the rows"),
    _train("resume-alone", ("--resume",), "--out"),
    _train("plan-preview", ("--plan", "--preview", "2"), "--preview has no effect with --plan"),
    _train("plan-canary", ("--plan", "--canary", "2"), "--canary has no effect with --plan"),
    _train("preview-out", ("--preview", "1", "--out", "run"), "--out has no effect with --preview"),
    _train("gpu-alone", ("--gpu", "12"), "--gpu has no effect without --plan"),
    _train("gpu-word", ("--plan", "--gpu", "big"), "--gpu big: give auto, or"),
    _train("gpu-nan", ("--plan", "--gpu", "nan"), "--gpu nan: give auto, or"),
    _train("gpu-infinite", ("--plan", "--gpu", "inf"), "--gpu inf: give auto, or"),
    _train("gpu-negative", ("--plan", "--gpu", "-1"), "--gpu -1: give auto, or"),
    _train("preview-zero", ("--preview", "0"), "--preview': it must be greater than or equal to 1."),
    _train(
        "stop-nan",
        ("--stop-over-refusal", "nan"),
        "--stop-over-refusal': it must be less than or equal to 1, for example 0.10",
    ),
    _train(
        "stop-high",
        ("--stop-over-refusal", "1.5"),
        "--stop-over-refusal': it must be less than or equal to 1, for example 0.10",
    ),
    _train(
        "stop-no-canary",
        ("--stop-over-refusal", "0.5", "--canary", "0"),
        "--stop-over-refusal needs a canary",
    ),
    _train("plan-optim", ("--plan", "--set", "train.optim=nope"), "train.optim: 'nope' is not known"),
    _train(
        "plan-max-steps",
        ("--plan", "--set", "train.max_steps=-5"),
        "train.max_steps: must be a number from 1",
    ),
    _train(
        "plan-batch",
        ("--plan", "--set", f"train.per_device_train_batch_size={10**30}"),
        "batch_size: must be less than or equal to 65536",
    ),
    _train("tracker", ("--set", "train.report_to=clearml"), "clearml is not installed"),
    _train("liger", ("--set", "train.use_liger_kernel=true"), "liger-kernel is not installed"),
    _train(
        "galore",
        ("--set", "train.optim=galore_adamw"),
        "galore-torch, which galore_adamw needs, is not installed",
    ),
    _train("plan-out", ("--plan", "--out", "d.jsonl"), "d.jsonl", "already exists"),
    _train(
        "data-twice",
        ("--data", "e.jsonl"),
        "--data is given twice; the first value has no effect. Leave one out",
    ),
    Case(
        "train-recipe-empty", ("train", "--recipe", "", "--data", "d.jsonl"), ("--recipe is empty",), _TRAINED
    ),
    Case(
        "train-no-data",
        ("train", "--recipe", "smollm2-135m", "--set", "data=null"),
        ("--data", "alttrain build-data"),
    ),
]
CHAT = [
    _chat(
        "threshold",
        ("smollm2-135m", "--set", "threshold=1.5", "-p", "x"),
        "threshold cannot be '1.5': must be less",
    ),
    _chat(
        "threshold-of-a-base",
        ("smollm2-135m", "--set", "threshold=0.5", "-p", "x"),
        "a threshold has no effect",
    ),
    _chat("json-alone", ("smollm2-135m", "--json"), "--json has no effect without -p, --prompts or --attack"),
    _chat(
        "compare-base",
        ("smollm2-135m", "--compare", "--base", "-p", "a"),
        "--compare has no effect with --base",
    ),
    _chat("base-of-base", ("smollm2-135m", "--base", "-p", "a"), "--base has no effect"),
    _chat(
        "engine-server",
        (*_SERVER, "--engine", "vllm", "-p", "a"),
        "--engine vllm has no effect with a server",
    ),
    _chat(
        "vllm-python",
        ("smollm2-135m", "--vllm-python", "p", "-p", "a"),
        "--vllm-python has no effect without",
    ),
    _chat(
        "vllm-gone", ("smollm2-135m", "--engine", "vllm", "--vllm-python", "p", "-p", "a"), "not a program"
    ),
    _chat("base-url", (*_SERVER, "--base", "-p", "a"), "--base has no effect with a server"),
    _chat("target-url", ("smollm2-135m", *_SERVER, "-p", "a"), "TARGET", "--base-url"),
    _chat(
        "model-alone", ("smollm2-135m", "--model", "m", "-p", "a"), "--model has no effect without --base-url"
    ),
    _chat(
        "url-base", ("http://127.0.0.1:1/v1 tiny", "--base", "-p", "a"), "--base has no effect with a server"
    ),
    _chat("url-compare", ("http://127.0.0.1:1/v1", "--compare", "-p", "a"), "--compare needs a local run"),
    _chat("url-model", ("http://127.0.0.1:1/v1", "--model", "m", "-p", "a"), "--model has no effect without"),
    _chat("url-empty", ("--base-url", "", "-p", "a"), "--base-url is empty"),
    _chat("model-empty", (*_SERVER, "--model", " ", "-p", "a"), "--model is empty"),
    _chat(
        "probe-prompt", ("smollm2-135m", "--prompts", "p.txt", "-p", "a"), "--prompts has no effect with -p"
    ),
    _chat("no-save", ("smollm2-135m", "--no-save", "-p", "a"), "--no-save has no effect with -p"),
    _chat("recipe-recipe", ("smollm2-135m", "--recipe", "r1-7b", "-p", "a"), "--recipe has no effect"),
    _chat("recipe-alone", ("--recipe", "r1-7b", "-p", "a"), "--recipe has no effect"),
    _chat(
        "greedy", ("smollm2-135m", "--greedy", "--set", "temperature=1", "-p", "a"), "--greedy has no effect"
    ),
    _chat(
        "set-twice", ("smollm2-135m", "--set", "seed=1", "--set", "seed=2", "-p", "a"), "--set seed", "twice"
    ),
    _chat(
        "tokens-twice",
        ("smollm2-135m", "--max-new-tokens", "5", "--set", "max_new_tokens=6", "-p", "a"),
        "--max-new-tokens has no effect with --set",
    ),
    _chat(
        "tokens-huge",
        ("smollm2-135m", "--max-new-tokens", str(10**30), "-p", "a"),
        "max_new_tokens cannot be",
    ),
    _chat("tokens-zero", ("smollm2-135m", "--max-new-tokens", "0", "-p", "a"), "max_new_tokens cannot be"),
    _chat(
        "temperature-infinite",
        ("smollm2-135m", "--set", "temperature=.inf", "-p", "a"),
        "temperature",
        "finite",
    ),
    _chat(
        "temperature-nan",
        ("smollm2-135m", "--set", "temperature=.nan", "-p", "a"),
        "temperature cannot be '.nan'",
    ),
    _chat("temperature-negative", ("smollm2-135m", "--set", "temperature=-1", "-p", "a"), "greater than 0"),
    _chat("temperature-bool", ("smollm2-135m", "--set", "temperature=false", "-p", "a"), "must be a number"),
    _chat("seed-huge", ("smollm2-135m", "--set", f"seed={10**30}", "-p", "a"), "seed cannot be"),
    _chat("seed-negative", ("smollm2-135m", "--set", "seed=-1", "-p", "a"), "seed cannot be"),
    _chat("think-zero", ("smollm2-135m", "--set", "think=0", "-p", "a"), "think cannot be"),
    _chat("set-tag", ("smollm2-135m", "--set", "seed=!!int abc", "-p", "a"), "seed cannot be", "tags"),
    _chat("set-digits", ("smollm2-135m", "--set", "seed=" + "9" * 5000, "-p", "a"), "a number of 5,000"),
    _chat("set-brackets", ("smollm2-135m", "--set", "seed=" + "[" * 5000, "-p", "a"), "nested deeper"),
    _chat("set-unknown", ("smollm2-135m", "--set", "temprature=1", "-p", "a"), "Did you mean 'temperature'"),
    _chat("set-no-key", ("smollm2-135m", "--set", "=1", "-p", "a"), "key=value"),
    _chat("prompt-empty", ("smollm2-135m", "-p", ""), "the prompt is empty"),
    _chat("prompt-blank", ("smollm2-135m", "-p", " \n"), "the prompt is empty"),
    _chat("stdin-empty", ("smollm2-135m", "-p", "-"), "the prompt is empty"),
    _chat("stdin-not-utf8", ("smollm2-135m", "-p", "-"), "not UTF-8", stdin=b"a\xff"),
    _chat("no-terminal", ("smollm2-135m",), "not a terminal"),
    _chat("no-run", ("-p", "a"), "no run here yet"),
    _chat("long-name", ("x" * 300, "-p", "a"), "neither a run"),
    _chat("hidden-name", ("a\u202eb", "-p", "a"), "a<U+202E>b"),
    _chat("continue-nothing", ("smollm2-135m", "--continue", "-p", "a"), "chats", "no saved conversation"),
    _probe("missing-key", "p.jsonl", '{"question": "a"}', ":1", "prompt: the key is missing"),
    _probe("wrong-type", "p.jsonl", '{"prompt": 5}', ":1", "prompt: must be text"),
    _probe("empty", "p.txt", "\n \n", "empty"),
    _probe("torn", "p.jsonl", "{", ":1", "not valid JSON"),
    _probe("not-utf8", "p.txt", b"\xff", ":1", "not UTF-8"),
    _probe("utf16", "p.txt", "a".encode("utf-16"), "UTF-16"),
    _probe("folder", "p.txt", FOLDER, "folder"),
    _probe("pipe", "p.txt", FIFO, "pipe"),
    Case(
        "continue-torn",
        ("chat", "smollm2-135m", "--continue", "-p", "a"),
        ("chats/smollm2-135m-20250101-000000.jsonl:1", "not valid JSON"),
        {"chats/smollm2-135m-20250101-000000.jsonl": "{"},
    ),
    Case(
        "continue-no-turn",
        ("chat", "smollm2-135m", "--continue", "-p", "a"),
        (":1", "prompt and response are needed"),
        {"chats/smollm2-135m-20250101-000000.jsonl": '{"prompt": 1}'},
    ),
]
RECIPES = [
    Case("recipes-gpu", ("recipes", "--gpu", "big"), ("--gpu big: give auto",)),
    Case("recipes-gpu-empty", ("recipes", "--gpu", ""), ("--gpu : give auto",)),
    Case(
        "recipes-gpu-show", ("recipes", "--gpu", "12", "show", "r1-7b"), ("--gpu has no effect before show",)
    ),
    Case("recipes-unknown", ("recipes", "shwo"), ("No such command 'shwo'", "Did you mean 'show'")),
    Case("recipes-copy-unknown", ("recipes", "copy", "r1-7", "x.yaml"), ("r1-7b",)),
    Case(
        "recipes-copy-exists",
        ("recipes", "copy", "r1-7b", "x.yaml"),
        ("x.yaml", "exists"),
        {"x.yaml": "mine"},
    ),
    Case("recipes-copy-no-name", ("recipes", "copy", "r1-7b", ""), ("exists",)),
    Case("recipes-copy-long", ("recipes", "copy", "r1-7b", "x" * 300), ("too long",)),
    Case("recipes-copy-fifo", ("recipes", "copy", "r.yaml", "x.yaml"), ("pipe",), {"r.yaml": FIFO}),
    Case("no-command", ("nope",), ("nope", "--help")),
    Case("no-option", ("--nope",), ("--nope", "--help")),
    Case("hidden-option", ("--a\x1b[31m",), (r"No such option: --a\x1b[31m",)),
]
CASES = [*BUILD, *TRAIN, *CHAT, *RECIPES]
