"""The proof of an export on the screen."""

from pathlib import Path
from typing import TYPE_CHECKING

from alttrain_cli.console.terminal import print_lines

if TYPE_CHECKING:
    from alttrain_cli.export.proof import Proof


def print_proof(folder: Path, proof: "Proof") -> None:
    """Print what an exported folder was compared with, and what was found."""
    n = proof.prompts
    lines: list[tuple[str, object]] = [("export:", proof.export), ("folder:", folder)]
    ids = proof.conversations - proof.wrong_ids
    lines.append(("prompts:", f"{ids} of {proof.conversations} have the token ids of training"))
    lines.append(("tokens:", f"{proof.same} of {n} greedy completions equal base and adapter"))
    for one in proof.differences:
        lines.append(
            (
                "",
                f"prompt {one.prompt}: after {one.after} tokens {one.written!r} instead of {one.wanted!r}, "
                f"preferred by {one.lead:.2f} nats",
            )
        )
    if proof.unlike_base is not None:
        lines.append(("base:", f"{proof.unlike_base} of {n} completions differ from the base model's"))
    lines.append(
        (
            "structure:",
            f"{proof.structured} of {n} have all sections (base and adapter: {proof.tuned_structured})",
        )
    )
    lines.append(("proof:", "; ".join(proof.problems) or "passed"))
    print_lines(lines)
