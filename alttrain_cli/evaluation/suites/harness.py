"""lm-evaluation-harness: its tasks word our prompts and score our final answers.

The harness's own loop is not used. It would need a second engine for its `LM` interface. It loses all
completions when it is killed, and takes the whole reasoning for the answer where a model gave none. So a
task is used from both its ends: `HarnessPrompts` makes items of published rows, and `HarnessScoring` scores a
final answer. Between them is the one pipeline of this package.
"""

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from alttrain_cli.errors import DataError
from alttrain_cli.evaluation.suites.suite import Task

Doc = Mapping[str, Any]

# One file holds a suite, and reasoning models do worse with worked examples: DeepSeek-R1's authors
# recommend zero-shot prompts (arXiv 2501.12948).
_WITHOUT_EXAMPLES = {"num_fewshot": 0, "training_split": None, "fewshot_split": None, "fewshot_config": None}


class HarnessPrompts:
    """Words the prompts of a task; it is loaded with the first row."""

    def __init__(self, task: Task) -> None:
        _harness()
        self._task = task
        self._loaded: Any = None

    def prompt(self, row: Doc, place: str) -> str:
        """Return the task's description and question as one user turn; the chat template is the target's."""
        doc = {**dict.fromkeys(self._task.missing), **row}
        try:
            self._loaded = self._loaded or _load(self._task, doc)
            absent = [name for name in self._task.reads if name not in row]
            if not absent:
                return str(self._loaded.fewshot_context(doc, 0))
        except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            absent = [str(error)]
        raise DataError(f"{place}: not a row of this suite ({', '.join(absent)}); it has {', '.join(row)}.")


class HarnessScoring:
    """Scores final answers as a task does; it is loaded with the first document.

    A document needs only what the task's scoring reads (`Task.reads`), not what words the prompt.
    """

    def __init__(self, task: Task) -> None:
        self._task = task.model_copy(update={"config": {**task.config, "doc_to_text": "-"}})
        self._loaded: Any = None

    def score(self, doc: Doc, answer: str) -> tuple[dict[str, float], str]:
        """Return the task's measures, and the text that it found in the answer and went by.

        `answer` is the final answer alone. The task's stop strings end it here, after the reasoning;
        while a model is writing they would end its thoughts. Markdown's emphasis is taken off: the
        harness's filters find "the best answer is B", not "**B**".
        """
        self._loaded = self._loaded or _load(self._task, doc)
        from lm_eval.api.instance import Instance

        said = until(answer.replace("**", "").strip(), self._loaded.config.generation_kwargs["until"])
        instance = Instance("generate_until", dict(doc), (), 0, resps=[said])
        self._loaded._instances = [instance]
        self._loaded.apply_filters()
        found = instance.filtered_resps[self._task.extraction or next(iter(instance.filtered_resps))]
        return self._loaded.process_results(dict(doc), [found]), str(found)


def until(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first of the stop strings."""
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def version() -> str | None:
    """Return the version of the harness that is installed."""
    try:
        return metadata.version("lm-eval")
    except metadata.PackageNotFoundError:
        return None


class _Split(list[Doc]):
    """The interface of a split for the harness: documents, and their fields."""

    @property
    def features(self) -> Doc:
        return self[0]


class _Splits(dict[str, _Split]):
    """The one document that a task is tried with when it is loaded, under the name of any split."""

    def __init__(self, doc: Doc) -> None:
        self._doc = doc

    def __missing__(self, name: str) -> _Split:
        return _Split([self._doc])


def _load(task: Task, doc: Doc) -> Any:
    """Return the harness's task. Nothing is fetched: its dataset is `doc`."""
    tasks = _harness()
    mine = {"task": task.name, "custom_dataset": lambda **_: _Splits(doc), **_WITHOUT_EXAMPLES, **task.config}
    folder = Path(str(tasks.__file__)).parent / task.folder if task.folder else None
    with contextlib.redirect_stdout(io.StringIO()):  # fields that the task may use as well
        manager = tasks.TaskManager(include_defaults=False, include_path=folder)
        if folder and task.name not in manager.task_index:
            raise DataError(f"lm-evaluation-harness {version()} has no task {task.name}; 0.4.13 has.")
        # Only as members of a group are tasks of the harness taken with changes.
        loaded = manager.load({"group": "alttrain", "task": [mine]} if folder else mine)
    return next(iter(loaded["tasks"].values()))


def _harness() -> Any:
    try:
        from lm_eval import tasks
    except ImportError as error:
        raise DataError(
            "this suite needs lm-evaluation-harness, which could not be imported "
            f"({error}): pip install 'alttrain[lm-eval]'"
        ) from None
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    _compile_templates_once()
    return tasks


@cache
def _compile_templates_once() -> None:
    """Let the harness compile a task's templates once; by itself it does so for every row."""
    from lm_eval import utils

    if env := getattr(utils, "env", None):  # versions up to 0.4.13 have it
        env.from_string = lru_cache(maxsize=256)(env.from_string)
