"""What more starter rows are worth: rows against the AUROC of the verdict's score, over seeds.

    python benchmarks/learning_curve.py FOLDER --data PROMPTS.jsonl [--shares 0.25 0.5 1] [--seeds 3]

Each seed draws its own pairs of the starter set, for each share, and trains one epoch on them with the
demo's recipe. `alttrain calibrate` then scores the prompts of --data, which have labels and which training
never saw. What is done stays in FOLDER, so the same command continues after an interruption.
FOLDER/learning-curve.svg shows what is done so far.
"""

import json
import random
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from measuring import parser_of, print_machine, read_options, run_alttrain

from alttrain_cli.console import print_table
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.storage.files import write_jsonl

RECIPE = "smollm2-135m"
WIDTH, HEIGHT = 560, 320  # pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 32, 44
STEP = 0.05  # of AUROC, between two lines of the grid

Found = Mapping[int, Sequence[float]]  # rows -> the AUROC of each seed


def measure(
    folder: Path, prompts: Path, share: float, seed: int, options: Sequence[str]
) -> tuple[int, float]:
    """Train on a share of the pairs, unless that is done. Return the number of rows, and the AUROC."""
    name = f"{share:g}-seed{seed}"
    data, run = folder / f"{name}.jsonl", folder / name
    rows = starter_rows("train")
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    drawn = shuffled[: round(len(pairs) * share)]  # a larger share has the smaller
    write_jsonl(data, (row.model_dump(exclude_none=True) for pair in drawn for row in pair))
    result = run / "calibration" / "calibration.json"
    if not result.exists():
        going_on = ["--resume"] if run.exists() else []
        if not (run / "adapter").exists():
            settings = ["--set", f"train.seed={seed}", *options]
            run_alttrain("train", "--recipe", RECIPE, "--data", data, "--out", run, *settings, *going_on)
        run_alttrain("calibrate", run, "--data", prompts, "--threshold", "0.5")
    return 2 * len(drawn), json.loads(result.read_text(encoding="utf-8"))["auroc"]


def picture(found: Found, title: str) -> str:
    """Return the curve as an SVG: a point for each seed, and a line through the means."""
    values = [value for seeds in found.values() for value in seeds]
    low = min(STEP * int(min(values) / STEP), 1.0 - STEP)
    high = min(1.0, STEP * (int(max(values) / STEP) + 1))
    most = max(found)

    def place(rows: int, value: float) -> tuple[float, float]:
        across = LEFT + rows / most * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>']
    for line in range(round((high - low) / STEP) + 1):
        _, y = place(0, low + line * STEP)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{low + line * STEP:.2f}</text>')
    for rows, seeds in sorted(found.items()):
        x, _ = place(rows, low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 26}" text-anchor="middle">{rows:,}</text>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{place(rows, one)[1]:.1f}" r="3.5" fill="#9ec5e8"/>' for one in seeds
        ]
    means = " ".join(
        "{:.1f},{:.1f}".format(*place(rows, statistics.mean(seeds))) for rows, seeds in sorted(found.items())
    )
    parts.append(f'<polyline fill="none" stroke="#1f6fb2" stroke-width="2" points="{means}"/>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">rows of training</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="#444"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def main(given: Sequence[str] | None = None) -> None:
    """Train, score, and draw after each run what there is so far."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="prompts with labels, as JSONL")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    arguments = read_options(parser, given, shares=[0.005, 0.01], seeds=2)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options = [word for one in arguments.settings for word in ("--set", one)]
    found: dict[int, list[float]] = {}
    for seed in range(1, arguments.seeds + 1):
        for share in sorted(arguments.shares):
            rows, auroc = measure(arguments.folder, arguments.data, share, seed, options)
            found.setdefault(rows, []).append(auroc)
            svg = picture(found, f"AUROC of the verdict's score, {RECIPE}")
            (arguments.folder / "learning-curve.svg").write_text(svg, encoding="utf-8")
            print(f"seed {seed}, {rows:,} rows: {auroc:.3f}", flush=True)
    print_table(
        ("rows", "AUROC, mean", "of each seed"),
        [
            (f"{rows:,}", f"{statistics.mean(seeds):.3f}", ", ".join(f"{one:.3f}" for one in seeds))
            for rows, seeds in sorted(found.items())
        ],
    )
    print_machine()


if __name__ == "__main__":
    main()
