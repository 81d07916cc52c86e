"""How fast completions are made, and whether they are the same as one at a time.

    python benchmarks/generate.py [--prompts 128] [--max-new-tokens 256] [--rounds 2] [--slots N]

Side by side, A B A B: A is the loop of R1-Act's and other papers' repositories, `model.generate` on
one prompt after the other; B is `complete`. Same model, same prompts (the starter set, spread over
its categories), greedy. On a CPU both compute in float32, as `complete` does; --native lets the loop
keep the dtype that the model was loaded in, whose completions then differ by rounding.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from alttrain_cli.console import print_table
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.engine import quiet
from alttrain_cli.recipe.model import Recipe, Sampling
from alttrain_cli.statistics.rates import Rate

with quiet.capture_output(None):
    import torch
    import unsloth  # noqa: F401  first: it patches the others

    from alttrain_cli.engine.generate import Written, complete
    from alttrain_cli.engine.load import Loaded, load_base


def prompts(loaded: Loaded, count: int) -> list[str]:
    """Return rendered prompts, evenly spaced over the starter set."""
    rows = [*starter_rows("train"), *starter_rows("heldout")]
    if count > len(rows):
        raise SystemExit(f"The starter set holds {len(rows)} prompts.")
    return [loaded.template.prompt(rows[at * len(rows) // count].prompt) for at in range(count)]


def loop(loaded: Loaded, rendered: Sequence[str], settings: Sampling) -> list[Written]:
    """Complete one prompt after the other, with nothing of ours in it."""
    tokenizer, model = loaded.tokenizer, loaded.model
    stops = sorted({loaded.template.terminator_id, tokenizer.eos_token_id})
    completions = []
    for prompt in rendered:
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **inputs, max_new_tokens=settings.max_new_tokens, do_sample=False, eos_token_id=stops,
                pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        written = output[0, inputs["input_ids"].shape[1] :].tolist()
        finished = written[-1] in stops
        written = written[: len(written) - finished]
        completions.append(
            Written(tokenizer.decode(written), len(written), finished, inputs["input_ids"].shape[1], False)
        )
    return completions


def timed(make: Callable[[], list[Written]]) -> tuple[float, list[Written]]:
    """Return seconds and completions."""
    start = time.perf_counter()
    completions = make()
    return time.perf_counter() - start, completions


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="smollm2-135m")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2, help="how often A and B are run")
    parser.add_argument("--slots", type=int, help="prompts in flight at most (default: what memory holds)")
    parser.add_argument("--native", action="store_true", help="the loop keeps the model's own dtype")
    arguments = parser.parse_args()
    with quiet.capture_output(None):
        loaded, plain = (load_base(Recipe.load(arguments.recipe)) for _ in "BA")
        if plain.device == "cpu" and not arguments.native:
            plain.model.float()
    rendered = prompts(loaded, arguments.prompts)
    settings = Sampling(max_new_tokens=arguments.max_new_tokens, do_sample=False)

    def alone() -> list[Written]:
        return loop(plain, rendered, settings)

    def together() -> list[Written]:
        done = dict(complete(loaded, rendered, settings, slots=arguments.slots))
        return [done[index] for index in range(len(rendered))]

    loop(plain, rendered[:1], Sampling(max_new_tokens=2, do_sample=False))  # the first call warms up
    rows, ratios, same = [], [], Rate(0, 0)
    for turn in range(arguments.rounds):
        (slow, expected), (fast, completions) = timed(alone), timed(together)
        pairs = list(zip(expected, completions, strict=True))
        same = Rate(same.hits + sum(a == b for a, b in pairs), same.n + len(pairs))
        ratios.append(slow / fast)
        for name, seconds, made in (("A one at a time", slow, expected), ("B complete", fast, completions)):
            tokens = sorted(completion.tokens for completion in made)
            rows.append(
                (
                    f"{turn + 1} {name}", f"{seconds:.1f} s", f"{sum(tokens) / seconds:.0f}",
                    f"{tokens[0]}-{statistics.median(tokens):.0f}-{tokens[-1]}",
                    f"{sum(completion.finished for completion in made)}/{len(made)}",
                )
            )  # fmt: skip
    print_table(("round", "time", "tokens/s", "tokens: least-median-most", "finished"), rows)
    print(
        f"\n{loaded.device}, {torch.get_num_threads()} threads, A in {plain.model.dtype}, n = {len(rendered)}"
    )
    print("faster: " + ", ".join(f"{ratio:.1f}x" for ratio in ratios))
    print(f"identical completions, text, length and ending: {same}")
    for index, (a, b) in enumerate(pairs):
        if a != b:
            parted = next((at for at, (x, y) in enumerate(zip(a.text, b.text, strict=False)) if x != y), -1)
            print(f"  prompt {index} parts at character {parted} of {len(a.text)}")


if __name__ == "__main__":
    main()
