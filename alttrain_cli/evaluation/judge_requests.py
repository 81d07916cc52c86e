"""What a judge that is a model has still to judge, and how its completions become judgements."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from alttrain_cli.backends.base import Backend, BackendError, Completion, Request
from alttrain_cli.backends.conversation import Conversation
from alttrain_cli.evaluation.completion import StoredCompletion
from alttrain_cli.evaluation.judge_run import JudgeRun
from alttrain_cli.evaluation.judgement import (
    FOUR_BITS,
    ON_SERVER,
    Judgement,
    JudgementState,
    record,
    without_answer,
)
from alttrain_cli.evaluation.judges.card_prompt import CardPrompt
from alttrain_cli.evaluation.judges.judge import Judge
from alttrain_cli.evaluation.labels import HumanLabel
from alttrain_cli.evaluation.plan import EvalPlan, SuiteDir
from alttrain_cli.evaluation.plan_keys import hash_of
from alttrain_cli.evaluation.same_verdict import same_judgements
from alttrain_cli.evaluation.suites.suite import Item
from alttrain_cli.progress import Progress
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.storage.journal import Journal
from alttrain_cli.structure.trace import TraceState

EARLIER = (
    2_000  # characters of a dialogue before its last message: HarmBench's judge reads 2,048 tokens in all
)
TRIES = 3  # for a judgement of a server's model that cannot be parsed; a local judge decodes greedily


class JudgeRequest(NamedTuple):
    """One response to judge; `key` and `completion` are those of the judgement's line."""

    key: str
    completion: str
    prompt: str
    response: str
    journal: Journal


def missing_requests(folder: SuiteDir, plan: EvalPlan, run: JudgeRun) -> list[JudgeRequest]:
    """Return the completions to judge. One without a final answer gets its state without the judge."""
    journal = folder.judgements(run.name)
    missing, same = [], {line["key"]: line for line in same_judgements(folder, plan, run)}
    for key, completion, item in run.unjudged(folder, plan):
        if key in same:
            journal.append(same[key])
            continue
        state = without_answer(completion) if run.part == "answer" else None
        text = completion.part(run.part)
        if state or not text:
            journal.append(record(key, completion.key, state or Judgement(JudgementState.EMPTY)))
        else:
            asked = _asked(item, completion, in_turns=run.sees_turns(plan, item))
            missing.append(JudgeRequest(key, completion.key, asked, text, journal))
    return missing


def _asked(item: Item, completion: StoredCompletion, *, in_turns: bool) -> str:
    """Return what a judge sees besides the answer: the goal, and the messages that an attack wrote.

    Some answers mean something only after them: a reversed stance, or an abbreviation that was agreed on.
    """
    goal = item.aim
    written = completion.asked[-1:] not in ((), (item.prompt,))
    if not written or (item.turns and not item.goal):
        return goal
    earlier = _latest(completion.asked[:-1]) if in_turns else []
    context = "".join(f"\n\nAn earlier message of the conversation: {one}" for one in earlier)
    return f"{goal}{context}\n\nThe last message of the conversation: {completion.asked[-1]}"


def _latest(messages: Sequence[str]) -> list[str]:
    """Return the latest messages that fit, in their order."""
    fit: list[str] = []
    for message in reversed(messages):
        if sum(map(len, fit)) + len(message) > EARLIER:
            break
        fit.insert(0, message)
    return fit


def label_requests(labels: Sequence[HumanLabel], run: JudgeRun, journal: Journal) -> list[JudgeRequest]:
    """Return the human labels that this judge has not judged yet."""
    stored = journal.keys()
    keys = [(label_key(label, run), label) for label in labels]
    return [
        JudgeRequest(key, key, label.prompt, label.response, journal)
        for key, label in keys
        if key not in stored
    ]


def label_key(label: HumanLabel, run: JudgeRun) -> str:
    """Return the key of a judge's judgement of a labelled response."""
    return run.key(hash_of(label.prompt, label.response))


def ask_judge(
    judge: Judge, backend: Backend, requests: Sequence[JudgeRequest], progress: Progress
) -> list[BackendError]:
    """Store a judgement of each request; return why some have none.

    What cannot be parsed is judged again and stored as unparsed in the end. What failed is not stored,
    so the next run tries it again.
    """
    facts = _facts(judge, backend)
    if FOUR_BITS in facts:
        progress.warn(f"{backend.name} does not fit in memory in 16 bits: it is loaded in 4 bits")
    waiting, done, failed = list(requests), 0, []
    stage = f"judging by {judge.name}"
    if waiting:
        progress.show(stage, 0, len(requests))
    for left in reversed(range(1 if judge.model else TRIES)):
        again, round_failed = [], []
        for request, found in _judged(judge, backend, waiting):
            if isinstance(found, BackendError):
                round_failed.append(found)
            elif found.state is JudgementState.UNPARSED and left:
                again.append(request)
            else:
                request.journal.append({**record(request.key, request.completion, found), **facts})
                done += 1
                progress.show(stage, done, len(requests))
        if round_failed:
            progress.warn(
                f"{len(round_failed)} of {len(waiting)} were not judged, the last reason: {round_failed[-1]}"
            )
        failed += round_failed
        waiting = again
        if not waiting:
            break
    return failed


def _facts(judge: Judge, backend: Backend) -> dict[str, Any]:
    """Return what each judgement's line says of how a classifier ran."""
    found = backend.fingerprint
    if judge.model and found.server:
        return {ON_SERVER: found.model}
    return {FOUR_BITS: True} if found.quantised else {}


def _judged(
    judge: Judge, backend: Backend, requests: Sequence[JudgeRequest]
) -> Iterator[tuple[JudgeRequest, Judgement | BackendError]]:
    sampling = Sampling(max_new_tokens=judge.max_new_tokens, do_sample=False)
    inputs = [Request(one, _input(judge, backend, one)) for one in requests]
    for request, found in backend.complete(inputs, sampling):
        yield request, found if isinstance(found, BackendError) else parse_judgement(judge, found)


def parse_judgement(judge: Judge, completion: Completion) -> Judgement:
    """Return the judgement that a judge's answer means.

    Its reasoning may name verdicts, and only its answer counts; if it was cut in its reasoning, it has none.
    """
    trace = completion.trace
    if trace.state is TraceState.UNCLOSED:
        return Judgement(JudgementState.UNPARSED, raw=completion.text)
    return judge.parse(trace.answer)


def _input(judge: Judge, backend: Backend, request: JudgeRequest) -> Conversation | str:
    prompt = judge.ask(request.prompt, request.response)
    return CardPrompt(backend.name).filled(prompt) if isinstance(prompt, Mapping) else prompt
