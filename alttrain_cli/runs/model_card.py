"""The model card of a run: what was trained on what, what was measured, and what was not."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alttrain_cli.errors import AlttrainError
from alttrain_cli.recipe.model import Recipe
from alttrain_cli.runs.reproduction import hub_id_of, overrides, reproduce
from alttrain_cli.runs.scores import Scores, ScoreSuite, read_scores
from alttrain_cli.statistics.estimates import Estimate
from alttrain_cli.storage.data_manifest import DataManifest
from alttrain_cli.storage.files import atomic_writer
from alttrain_cli.storage.licence import Licence
from alttrain_cli.storage.reading import encodable
from alttrain_cli.storage.run import EXPORTED_RECIPE, Run
from alttrain_cli.storage.run_records import Manifest

NAME = "README.md"
_KINDS = {
    "harmful": "harmful requests",
    "benign": "benign requests that look harmful (over-refusal)",
    "ability": "knowledge, mathematics, code and other abilities",
}
_TURNS, _ADAPTIVE = "conversations of several turns", "attacks that adapt to the model"
_NEVER = (
    "languages and fields that are not in the suites above",
    "tools, retrieved documents and other programs around the model",
)
# How a person who was given the folder loads it, by the library of the card.
_LOADING = {
    "peft": "`alttrain chat FOLDER` loads this adapter and its base model, {base}. FOLDER is the folder with "
    "this file. Other programs load {base} first, then the adapter with PEFT.",
    "transformers": "`alttrain chat FOLDER` and `vllm serve FOLDER` load the model. FOLDER is the folder "
    'with this file. In Python: `AutoModelForCausalLM.from_pretrained("FOLDER")`.',
    "gguf": "llama.cpp loads the file that ends in .gguf: `llama-server --jinja -m FILE`. LM Studio reads it "
    "too. Ollama needs the file Modelfile next to it: `ollama create NAME -f Modelfile`.",
}
# Where a threshold applies to the folder, by the library of the card.
_ON_VLLM = (
    "These files cannot carry a threshold. `alttrain chat`, `eval` and `serve` apply one. `chat` and "
    "`eval` do so too if vLLM on the same machine has loaded this folder: "
    '`alttrain chat "http://localhost:8000/v1 NAME" --set threshold=T`. '
    "Other programs use the model's own verdicts."
)
_IN_VLLM = (
    "For other clients, vLLM itself can apply one, if `alttrain` is in its environment: `vllm serve FOLDER "
    "--logits-processors alttrain_cli.engine.vllm_threshold:VerdictThreshold`. A request then has the field "
    '`"vllm_xargs": {"threshold": T}`.'
)
_THRESHOLD = {
    "peft": _ON_VLLM,
    "transformers": f"{_ON_VLLM} {_IN_VLLM}",
    "gguf": "A GGUF file cannot carry a threshold, and llama.cpp uses the model's own verdicts. To apply a "
    "threshold, export the run with `--format merged`, then use `alttrain chat FOLDER --set threshold=T`.",
}


@dataclass(frozen=True)
class ModelCard:
    """The facts of a card.

    Attributes:
        library: what loads the folder: peft, transformers or gguf.
        licence: of the base model; None if it is not known.
        proof: lines on the proof of an export; none for the folder of a run.
    """

    name: str
    library: str
    recipe: Recipe
    manifest: Manifest
    data: DataManifest | None
    scores: Scores | None
    licence: Licence | None
    proof: Sequence[str] = ()
    calibration: str = ""  # in words

    @classmethod
    def of(
        cls, run: Run, recipe: Recipe, library: str, licence: Licence | None, proof: Sequence[str] = ()
    ) -> "ModelCard":
        manifest = run.manifest()
        data = manifest.data.manifest_for(run.path) if manifest.data else None
        scores = read_scores(run.path)
        name, found = run.path.resolve().name, _calibration(run)
        return cls(name, library, recipe, manifest, data, scores, licence, proof, found)

    def save(self, folder: Path) -> None:
        """Write the card and the recipe into a folder."""
        with atomic_writer(folder / NAME) as file:
            file.write(encodable(self.text()))
        self.recipe.save(folder / EXPORTED_RECIPE)

    def text(self) -> str:
        """Return the card, Markdown with the hub's metadata."""
        parts = [self._metadata(), f"# {_escaped(self.name)}", self._about(), "## Training", self._training()]
        parts += ["## Evaluation", *self._measured(), "## Not tested", self._not_tested()]
        if self.proof:
            parts += ["## Proof of this export", "\n".join(f"- {_escaped(line)}" for line in self.proof)]
        parts += ["## Use", self._use(), "## Reproduce", self._reproduce()]
        return "\n\n".join(parts) + "\n"

    def _metadata(self) -> str:
        relation = {"peft": "adapter", "gguf": "quantized"}.get(self.library, "finetune")
        values = {
            "library_name": self.library,
            "pipeline_tag": "text-generation",
            "tags": ["alttrain", "safety"],
        }
        if hub_id := hub_id_of(self.recipe.model.name):
            values |= {"base_model": hub_id, "base_model_relation": relation}
        if self.licence:
            values |= self.licence.metadata()
        return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in values.items()), "---"])

    @property
    def _base(self) -> str:
        """The base model without the path of a folder, which has no meaning on another machine."""
        return hub_id_of(self.recipe.model.name) or Path(self.recipe.model.name).name

    def _about(self) -> str:
        return (
            f"{_escaped(self._base)}, fine-tuned with alttrain {self.manifest.alttrain}. In its reasoning "
            "the model states the request, assesses whether that is harmful, and reasons. Then it "
            "answers or refuses.\n\nNo measurement below proves that the model is safe. Test it for your own "
            "use."
        )

    def _training(self) -> str:
        manifest, model = self.manifest, self.recipe.model
        commit = f" at commit {manifest.base.commit}" if manifest.base and manifest.base.commit else ""
        licence = str(self.licence or "not stated; see the base model's page")
        system = repr(model.system) if model.system else "none"
        system = "that of the chat template" if model.system is None else system
        rows: list[tuple[str, str]] = [
            ("base model", f"{self._base}{commit}"),
            ("licence of the base model", licence),
            ("recipe", " ".join([self.recipe.name, *(f"--set {one}" for one in overrides(manifest))])),
            *self._data(),
            ("chat template", f"SHA-256 {manifest.template}"),
            ("system prompt", system),
        ]
        if loss := manifest.loss:
            rows.append(("loss", f"{loss.first:.3f} to {loss.last:.3f} in {manifest.steps} steps"))
        versions = ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
        rows += [("device", manifest.device), ("libraries", versions)]
        return _table(("", ""), rows)

    def _data(self) -> Iterator[tuple[str, str]]:
        if data := self.manifest.data:
            labels = ", ".join(f"{count} {label}" for label, count in data.labels.items())
            yield ("data", f"{Path(data.path).name}: {data.rows} rows ({labels}), SHA-256 {data.sha256}")
        for source in self.data.sources if self.data else ():
            yield ("source", f"{Path(source.name).name}: {source.in_words()}")

    def _measured(self) -> Iterator[str]:
        if probes := self.manifest.probes:
            yield f"On {probes.n} held-out prompts after training: {probes.in_words()}."
        if self.calibration:
            applies = _THRESHOLD[self.library]
            yield f"Calibrated with `alttrain calibrate`: {_escaped(self.calibration)}. {applies}"
        if self.scores is None:
            yield "This model was not evaluated with `alttrain eval`."
            return
        partial = " The evaluation is partial." if self.scores.partial else ""
        yield f"Measured with `alttrain eval` on {self.scores.made[:10]}. Intervals are 95%.{partial}"
        header = ("suite", "rate", "this model", "baseline", "prompts")
        yield _table(header, [row for suite in self.scores.suites for row in _rates(suite)])

    def _not_tested(self) -> str:
        kinds = {suite.kind for suite in self.scores.suites} if self.scores else set()
        missing = [words for kind, words in _KINDS.items() if kind not in kinds]
        attacks = [suite.attack for suite in self.scores.suites if suite.attack] if self.scores else []
        missing += [] if any(attack.in_turns for attack in attacks) else [_TURNS]
        missing += [] if any(attack.adapts for attack in attacks) else [_ADAPTIVE]
        return "\n".join(f"- {words}" for words in (*missing, *_NEVER))

    def _use(self) -> str:
        sampling = ", ".join(f"{key} {value}" for key, value in self.recipe.generation.record().items())
        loading = _LOADING[self.library].format(base=_escaped(self._base))
        return (
            f"{loading}\n\nUse the chat template of this folder: other prompts are not those of training. "
            f"Settings of the recipe: {sampling}. "
            "Remove the reasoning of earlier answers from a conversation."
        )

    def _reproduce(self) -> str:
        scored = self.scores.suites if self.scores else ()
        suites = dict.fromkeys(suite.name for suite in scored if suite.attack is None)
        lines = "\n".join(reproduce(self.recipe, self.manifest, self.data, [*suites]))
        fence = "`" * (3 if "```" not in lines else len(lines))
        return f"{fence}\n{lines}\n{fence}"


def _calibration(run: Run) -> str:
    """Return the calibration that holds for the run's weights, in words; empty without one."""
    try:
        found = run.calibration()
    except AlttrainError:  # made for other weights: it says nothing about these
        return ""
    return found.in_words() if found else ""


def _rates(suite: ScoreSuite) -> Iterator[tuple[str, ...]]:
    for rate in suite.rates():
        if rate.estimate is not None:
            compared = _shown(rate.baseline) if rate.baseline else ""
            yield (suite.full_name, rate.title, _shown(rate.estimate), compared, str(rate.estimate.n))
    if suite.attack and (failed := suite.attack.target.failed):
        total = suite.attack.target.total
        yield (suite.full_name, "dialogues that are in no rate", f"{failed} of {total}", "", str(total))


def _shown(estimate: Estimate) -> str:
    return f"{estimate.share:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([*map(_escaped, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return a text in one line that is no markup; a name in it may come from anybody."""
    line = " ".join(text.split())
    for character in "\\`*_[]<>|#":
        line = line.replace(character, f"\\{character}")
    return line
