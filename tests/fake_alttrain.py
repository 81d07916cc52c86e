"""Stands for the program in tests of studies: it writes the files that say that a step is done, and no model.

It notes each start and end in the file CALLS. A command that has a word of FAIL in it fails.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

PROGRAM = (
    sys.executable,
    "-S",
    __file__,
)  # without a look at the installed packages: it starts in a third less
ROW = {
    "prompt": "How do I boil an egg?",
    "label": "benign",
    "category": None,
    "source": "x",
    "style": "alttrain",
}
ROW |= {
    "understanding": "They cook.",
    "assessment": "It is benign.",
    "reasoning": "I help.",
    "answer": "Boil it.",
}
RATE = {"share": 0.25, "low": 0.1, "high": 0.5, "n": 8, "hits": 2}


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def note(what: str, words: list[str]) -> None:
    with Path(os.environ.get("CALLS", os.devnull)).open("a") as file:
        file.write(json.dumps([what, words]) + "\n")


def build(words: list[str]) -> None:
    out = Path(value(words, "--out"))
    out.parent.mkdir(parents=True, exist_ok=True)
    import hashlib  # which takes as long as all the rest

    text = "".join(json.dumps({**ROW, "id": str(number)}) + "\n" for number in range(4))
    digest = hashlib.sha256(text.encode()).hexdigest()
    out.with_suffix(".manifest.json").write_text(json.dumps({"status": "started", "sha256": digest}))
    pause()
    out.write_text(text)


def train(words: list[str]) -> None:
    out = Path(value(words, "--out"))
    assert ("--resume" in words) == (out / "recipe.yaml").exists(), words
    assert Path(value(words, "--data")).exists()
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    (out / "recipe.yaml").write_text("name: x\n")
    pause()
    (out / "adapter").mkdir(exist_ok=True)
    (out / "adapter" / "adapter_model.safetensors").write_text("weights")
    (out / "manifest.json").write_text('{"status": "finished"}')
    os.close(folder)


def evaluate(words: list[str]) -> None:
    out = Path(value(words, "--out"))
    assert "/" not in words[1] or (Path(words[1]) / "adapter").is_dir(), words
    suites = dict.fromkeys(value(words, "--suite").split(","), "") if "--suite" in words else {}
    if "--suite-file" in words:
        suites |= own_suites_with_hashes(value(words, "--suite-file"))
    out.mkdir(parents=True, exist_ok=True)
    pause()
    write_card(out, suites, ["rule"], value(words, "--thinking-mode") if "--thinking-mode" in words else "")


def own_suites_with_hashes(file: str) -> dict[str, str]:
    import site

    site.main()
    from alttrain_cli.evaluation.suites.own_suites import own_suites
    from alttrain_cli.evaluation.suites.published import suite_data

    return {one.suite.name: suite_data(one.suite, one.path).sha256 for one in own_suites([file])}


def judge(words: list[str]) -> None:
    card = json.loads((Path(words[2]) / "scorecard.json").read_text())
    judges = [one["judge"] for one in card["suites"][0]["metrics"]]
    pause()
    suites = {one["name"]: one["sha256"] for one in card["suites"]}
    model = f"~{value(words, '--judge-model').replace('/', '--')}" if "--judge-model" in words else ""
    write_card(Path(words[2]), suites, [*judges, value(words, "--judge") + model])


def write_card(out: Path, suites: dict[str, str], judges: list[str], mode: str = "") -> None:
    metrics = {
        "harmful": [{"judge": one, "metric": "not_refused", "title": "x", "target": RATE} for one in judges],
        "over_refusal": [{"judge": one, "metric": "refused", "title": "x", "target": RATE} for one in judges],
    }
    card = {
        "made": "2026",
        "partial": False,
        "pooled": {} if mode else metrics,
        "ablated": {mode: metrics} if mode else {},
        "suites": [
            {
                "name": suite,
                "sha256": digest,
                "expected": 8,
                "target": {"structure": {}, "completed": 8},
                "metrics": metrics["over_refusal" if "benign" in suite else "harmful"],
            }
            for suite, digest in suites.items()
        ],
    }
    (out / ".card").write_text(json.dumps(card))
    (out / ".card").replace(out / "scorecard.json")


def pause() -> None:
    time.sleep(float(os.environ.get("PAUSE", "0")))


def install() -> None:
    """Let a process that runs a study start this file as the program, and see a card of 24 GB."""
    from alttrain_cli.engine import machine
    from alttrain_cli.study import launch

    launch.PROGRAM = PROGRAM
    machine._cards = lambda chosen=None: []  # type: ignore[assignment]
    machine.Machine.detect = classmethod(lambda cls: cls.card(24))  # type: ignore[assignment,method-assign]


def main(words: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    note("start", words)
    if any(one in " ".join(words) for one in os.environ.get("FAIL", "").split()):
        sys.stderr.write("one line\nError: it does not work.\n")
        return 2
    kinds = {"build-data": build, "train": train}
    act = kinds.get(words[0]) or (judge if words[1] == "judge" else evaluate)
    act(words)
    note("end", words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
