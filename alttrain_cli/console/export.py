"""The proof of an export on the screen."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.terminal import out, plain, print_next

if TYPE_CHECKING:
    from alttrain_cli.export.job import Export, ExportJob
    from alttrain_cli.export.proof import Proof

SHOWN = 3  # first differences per model
_FOUND = "found. The hub checks it at the upload."
_MISSING = "none found. The upload needs one: run hf auth login, or set HF_TOKEN."


def print_exports(exports: "Sequence[Export]") -> None:
    """Print the folders, what each was compared with, and what was found."""
    for one in exports:
        print_lines([("folder:", one.folder), *(line for proof in one.proofs for line in _lines(proof))])


def print_planned_exports(job: "ExportJob", disk: str, *, has_token: bool) -> None:
    """Print the planned files and uploads of an export, and its model card. A token is never shown."""
    for one in job.formats:
        print_lines(
            [
                ("folder:", job.out / one.name),
                ("files:", ", ".join(job.files(one))),
                ("disk:", disk),
            ]
        )
    if job.repo is not None:
        print_lines(
            [
                ("upload to:", f"{job.repo} (private if it is new)"),
                ("token:", _FOUND if has_token else _MISSING),
            ]
        )
    out().print()
    for line in job.card().text().splitlines():  # a command stays one line, which can be copied
        out().print(plain(line), soft_wrap=line.startswith("alttrain ") or " " not in line.strip())


def print_export_end(exports: "Sequence[Export]", address: str | None) -> None:
    if address is not None:
        print_lines([("uploaded:", address)])
    print_next(exports[-1].next_step)


def _lines(proof: "Proof") -> Iterator[tuple[str, object]]:
    n = proof.prompts
    yield ("model:", proof.export)
    yield ("prompts:", f"{proof.conversations - proof.wrong_ids} of {proof.conversations} as in training")
    yield ("tokens:", f"{proof.same} of {n} greedy completions equal base and adapter")
    for one in proof.differences[:SHOWN]:
        words = f"{one.written!r} for {one.wanted!r}, {one.lead:.2f} nats"
        yield ("", f"prompt {one.prompt}, token {one.after + 1}: {words} ({one.cause})")
    if (more := len(proof.differences) - SHOWN) > 0:
        yield ("", f"and {more} more, in export.json")
    if proof.unlike_base is not None:
        yield ("base:", f"{proof.unlike_base} of {n} completions differ from the base model's")
    if proof.structure_compared:
        yield ("structure:", f"{proof.structured} of {n} have all sections; before {proof.tuned_structured}")
    else:
        yield ("structure:", "not compared: before, no completion had all sections")
    yield ("proof:", "; ".join(proof.problems) or "passed")
