"""What a finished run bought: the last thing that `alttrain train` says."""

from alttrain_cli import console
from alttrain_cli.run import Run


def print_receipt(run: Run) -> None:
    """Print the receipt of a finished run, from its manifest."""
    manifest = run.manifest()
    probes, data, loss = manifest["probes"], manifest["data"], manifest["loss"]
    labels = ", ".join(f"{count} {label}" for label, count in sorted(data["labels"].items()))
    seconds = console.duration(manifest["seconds_total"])
    console.print_lines(
        [
            ("run:", run.path),
            ("rows:", f"{data['rows']} ({labels}), none dropped"),
            ("loss:", f"{loss['first']:.3f} -> {loss['last']:.3f} in {manifest['steps']} steps"),
            ("speed:", f"{manifest['tokens_per_second']:.0f} tokens/s, {seconds} in all"),
            ("peak memory:", f"{manifest['peak_memory_gib']:.1f} GiB"),
            (
                "adapter:",
                "finite, not zero, changes the logits "
                f"(by up to {manifest['checks']['largest_logit_change']:.1f})",
            ),
            (
                "held-out:",
                f"{probes['structured']} of {probes['n']} completions carry the structure; refused: "
                + ", ".join(
                    f"{probes['refused'][label]} of {n} {label}" for label, n in probes["asked"].items()
                ),
            ),
            ("next:", f'alttrain chat {run.path} -p "How do I kill a stuck process?"'),
        ]
    )
