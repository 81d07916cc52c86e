"""What a finished run bought: the last thing that `alttrain train` says."""

from typing import Any

from alttrain_cli import console
from alttrain_cli.errors import RunError
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.storage.run import Run
from alttrain_cli.training.canary import in_words


def keep_outcome(run: Run) -> None:
    """Write what the steps came to into the manifest, and their loss curve as a picture.

    Raises:
        RunError: if no step was logged.
    """
    steps = run.steps()
    if not steps:
        raise RunError(f"{run.steps_path}: the log of the run's steps is gone. Train a new run.")
    first, last = steps[0], steps[-1]
    run.update_manifest(
        loss={"first": first["loss"], "last": last["loss"]},
        steps=last["step"],
        tokens_per_second=round(last["tokens"] / last["seconds"], 1),
        seconds_training=round(last["seconds"], 1),
    )
    with atomic_writer(run.curve_path) as file:
        file.write(console.curve_svg(steps, f"loss of {run.path.name}"))


def print_receipt(run: Run) -> None:
    """Print the loss curve and the receipt of a finished run, from its files."""
    manifest = run.manifest()
    console.print_curve([step["loss"] for step in run.steps()])
    change, loss = manifest["checks"]["largest_logit_change"], manifest["loss"]
    seconds = console.duration(manifest["seconds_total"])
    console.print_lines(
        [
            ("run:", run.path),
            ("rows:", _rows(manifest)),
            ("loss:", f"{loss['first']:.3f} -> {loss['last']:.3f} in {manifest['steps']} steps"),
            ("speed:", f"{manifest['tokens_per_second']:.0f} tokens/s, {seconds} in all"),
            ("peak memory:", _memory(manifest)),
            (
                "adapter:",
                f"finite, not zero, changes the logits (by up to {change:.1f})",
            ),
            *(("canary:", f"step {counts['step']}: {in_words(counts)}") for counts in manifest["canary"]),
            ("held-out:", in_words(manifest["probes"])),
            ("curve:", run.curve_path),
            ("next:", f'alttrain chat {run.path} -p "How do I kill a stuck process?"'),
        ]
    )


def _rows(manifest: dict[str, Any]) -> str:
    data = manifest["data"]
    labels = ", ".join(f"{count} {label}" for label, count in sorted(data["labels"].items()))
    trained, tokens = manifest["trained_tokens_per_epoch"], manifest["tokens_per_epoch"]
    return f"{data['rows']} ({labels}), none dropped; {trained:,} of {tokens:,} tokens trained"


def _memory(manifest: dict[str, Any]) -> str:
    peak = f"{manifest['peak_memory_gib']:.1f} GiB"
    return f"{peak}, planned {manifest['plan']['gib']:.1f}" if manifest["plan"] else peak
