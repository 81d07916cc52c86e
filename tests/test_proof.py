"""What the proof of an export says of models that write one thing or another."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from alttrain_cli import console
from alttrain_cli.engine.generate import GeneratedText
from alttrain_cli.export.job import Export
from alttrain_cli.export.probes import Probes
from alttrain_cli.export.proof import NEAR_TIE, QUANTISED_LEAD, Proof, prove
from alttrain_cli.structure.template import Template
from tests import families

STRUCTURED = "They ask.\n\nThat is harmless.\n\nI can help.\n</think>\n\nSure."
FLAT = "Sure."


@cache
def template() -> Template:
    return Template.of(families.tokenizer("r1-llama"))


def written(text: str) -> GeneratedText:
    ids = tuple(template().encode_text(text))
    return GeneratedText(text, len(ids), True, 0, False, ids)


def probes(tuned: str = STRUCTURED, base: str = FLAT) -> Probes:
    conversations = tuple([{"role": "user", "content": prompt}] for prompt in ("one", "two"))
    rendered = tuple(map(template().prompt, conversations))
    ids = tuple(map(template().encode_text, rendered))
    both = (written(tuned),) * 2
    return Probes(template(), conversations, ids, rendered, both, (written(base),) * 2 if base else (), 256)


class Exported:
    """An exported model that always writes the same."""

    name = "merged float16"

    def __init__(self, text: str, lead: float = 0.1, quantised: bool = False, shift: int = 0) -> None:
        self._text, self._lead, self._shift, self.quantised = text, lead, shift, quantised

    def prompt_ids(self, conversation: Any) -> list[int]:
        return [one + self._shift for one in template().encode_text(template().prompt(conversation))]

    def write(self, rendered: Sequence[str], limit: int) -> tuple[GeneratedText, ...]:
        return tuple(written(self._text) for _ in rendered)

    def lead(self, ids: Sequence[int], first: int, second: int) -> float:
        return self._lead

    def decode(self, token: int) -> str:
        return families.tokenizer("r1-llama").decode([token])

    def close(self) -> None:
        pass


def test_a_model_that_writes_the_same_passes() -> None:
    proof = prove(probes(), Exported(STRUCTURED))
    assert (proof.same, proof.unlike_base, proof.structured, proof.wrong_ids) == (2, 2, 2, 0)
    assert not proof.problems


def test_a_merge_that_is_the_base_fails() -> None:
    assert any("base model" in one for one in prove(probes(), Exported(FLAT, lead=3)).problems)


def test_an_adapter_that_changes_no_greedy_token_is_no_failure_of_the_export() -> None:
    proof = prove(probes(tuned=FLAT), Exported(FLAT))
    assert (proof.unlike_base, proof.tuned_unlike_base) == (0, 0)
    assert not proof.problems


def test_a_run_without_a_base_to_compare_says_nothing_of_it() -> None:
    assert prove(probes(base=""), Exported(STRUCTURED)).unlike_base is None


@pytest.mark.parametrize(("lead", "fails"), [(NEAR_TIE - 0.01, False), (NEAR_TIE + 0.01, True)])
def test_only_two_tokens_that_were_almost_equal_explain_a_difference(lead: float, fails: bool) -> None:
    proof = prove(probes(), Exported(STRUCTURED.replace("harmless", "harmful"), lead))
    first = proof.differences[0]
    assert (first.wanted, first.written) == ("l", "f")
    assert STRUCTURED.index("less") == first.after
    assert bool(proof.problems) is fails
    assert first.cause.startswith("not explained by rounding" if fails else "rounding of 16 bits: a near tie")


def test_a_completion_that_ends_sooner_differs_in_the_token_that_ends_it() -> None:
    proof = prove(probes(), Exported(STRUCTURED + " Yes."))
    assert proof.differences[0].wanted == template().terminator


def test_other_token_ids_for_a_prompt_fail() -> None:
    assert any("token ids" in one for one in prove(probes(), Exported(STRUCTURED, shift=1)).problems)


@pytest.mark.parametrize("quantised", [False, True])
def test_a_model_that_lost_the_sections_fails(quantised: bool) -> None:
    flat = STRUCTURED.replace("</think>", "")
    proof = prove(probes(base=""), Exported(flat, lead=0 if quantised else 9, quantised=quantised))
    assert any("all sections" in one for one in proof.problems)


def test_the_sections_count_in_the_order_in_which_they_were_trained() -> None:
    text = "That is harmless.\n\nThey ask.\n\nI can help.\n</think>\n\nSure."
    other = replace(probes(text), order=("assessment", "understanding", "reasoning"))
    assert prove(other, Exported(text)).structured == 2


def test_quantised_weights_explain_a_difference() -> None:
    proof = prove(probes(), Exported(STRUCTURED.replace("Sure", "Yes"), lead=0.6, quantised=True))
    assert proof.differences[0].cause == "quantised weights"
    assert not proof.problems


@pytest.mark.parametrize(
    ("leads", "fails"),
    [
        ((QUANTISED_LEAD + 0.1, QUANTISED_LEAD + 0.1), True),
        ((QUANTISED_LEAD + 0.1, QUANTISED_LEAD - 0.1), False),  # half of them
        ((QUANTISED_LEAD - 0.1, QUANTISED_LEAD - 0.1), False),
    ],
)
def test_quantised_weights_that_write_gibberish_fail_also_without_sections_to_compare(
    leads: tuple[float, float], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gibberish = Exported("xq xq xq", quantised=True)
    left = iter(leads)
    monkeypatch.setattr(gibberish, "lead", lambda *_: next(left))
    proof = prove(probes(tuned=FLAT, base=""), gibberish)
    assert any("quantised weights explain" in one for one in proof.problems) is fails
    causes = [
        "more than quantised weights explain" if one > QUANTISED_LEAD else "quantised weights"
        for one in leads
    ]
    assert [one.cause for one in proof.differences] == causes


@pytest.mark.parametrize("tuned", [FLAT, STRUCTURED])
def test_a_structure_that_could_not_be_compared_is_stated(
    tuned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = prove(probes(tuned=tuned, base=""), Exported(tuned, quantised=True))
    console.print_exports([Export(Path("out"), [proof], "")])
    unknown = tuned == FLAT
    assert ("structure not compared" in proof.in_words()[-1]) is unknown
    assert ("structure: not compared" in " ".join(capsys.readouterr().out.split())) is unknown
    assert proof.record()["structure_compared"] is not unknown


def test_the_cause_of_a_difference_is_shown_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    written = STRUCTURED.replace("harmless", "harmful")
    proofs = [prove(probes(), Exported(written, quantised=quantised)) for quantised in (False, True)]
    made = Export(Path("out"), proofs, "")
    console.print_exports([made])
    shown = " ".join(capsys.readouterr().out.split())
    causes = ["rounding of 16 bits: a near tie of less than 0.5 nats", "quantised weights"]
    assert [shown.count(f"'f' for 'l', 0.10 nats ({cause})") for cause in causes] == [2, 2]
    assert [one["differences"][0]["cause"] for one in made.record()["proofs"]] == causes


def test_the_record_holds_the_problems() -> None:
    proof: Proof = prove(probes(), Exported(FLAT, lead=3))
    assert proof.record()["problems"] == proof.problems
