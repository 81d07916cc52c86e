"""A request for a chat completion: every field is checked, and none that changes its meaning is ignored."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from alttrain_cli.backends.conversation import Conversation, Message, MessageRole
from alttrain_cli.problems import in_words, key_of
from alttrain_cli.recipe.model import Sampling
from alttrain_cli.recipe.strict import MOST
from alttrain_cli.serve.api_error import ApiError
from alttrain_cli.strict_json import parse_json
from alttrain_cli.text import escape_hidden, quoted

# Fields that would change the completion and are not supported, each with the values that change nothing:
# OpenAI's own, and those of vLLM, llama.cpp and hosted models.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("n", "best_of", "length_penalty", "repeat_penalty", "typical_p"), (1,)),
    **dict.fromkeys(("tools", "functions", "stop_token_ids", "bad_words", "documents"), ([],)),
    **dict.fromkeys(("allowed_token_ids", "logits_processors"), ([],)),
    **dict.fromkeys(("tool_choice", "function_call"), ("none", "auto")),
    "response_format": ({"type": "text"},),
    **dict.fromkeys(("logprobs", "echo", "ignore_eos", "use_beam_search"), (False,)),
    "include_stop_str_in_output": (False,),
    **dict.fromkeys(("top_logprobs", "presence_penalty", "frequency_penalty", "min_p", "min_tokens"), (0,)),
    **dict.fromkeys(("prompt_logprobs", "mirostat"), (0,)),
    **dict.fromkeys(("logit_bias", "chat_template_kwargs"), ({},)),
    **dict.fromkeys(("include_reasoning", "enable_thinking"), (True,)),
    "modalities": (["text"],),
    **dict.fromkeys(("audio", "suffix", "chat_template", "reasoning_effort", "web_search_options"), ()),
    **dict.fromkeys(("thinking", "thinking_budget", "verbosity", "truncate_prompt_tokens"), ()),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar"), ()),
    **dict.fromkeys(("structured_outputs", "json_schema", "grammar"), ()),
    **dict.fromkeys(("top_a", "xtc_probability", "dry_multiplier", "dynatemp_range"), (0,)),
    "top_n_sigma": (-1, 0),
}
_SAMPLING = {"temperature", "top_p", "top_k", "repetition_penalty", "threshold"}
_NEAR = 0.78  # likeness of an unknown field that was meant as one of ours; `store` is to 0.73 like `stream`


class ChatRequest(NamedTuple):
    """A client's request."""

    model: str | None  # None: the client leaves it to the server
    conversation: Conversation
    sampling: Sampling
    seed: int | None
    stop: tuple[str, ...]  # texts that end the answer
    budget: int | None  # thinking tokens
    stream: bool
    include_usage: bool


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class _Part(_Lenient):
    type: Literal["text"]
    text: str


class _Message(_Lenient):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        """The content; several parts are joined."""
        return self.content if isinstance(self.content, str) else "".join(one.text for one in self.content)


class _StreamOptions(_Lenient):
    include_usage: bool = False


_Stop = Annotated[str, Field(min_length=1, max_length=1000)]


class _Body(_Lenient):
    model: str | None = None
    messages: list[_Message]
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    max_tokens: int | None = Field(default=None, gt=0, le=MOST)
    max_completion_tokens: int | None = Field(default=None, gt=0, le=MOST)
    thinking_token_budget: int | None = Field(default=None, gt=0, le=MOST)
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, le=MOST)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100)
    threshold: float | None = Field(default=None, ge=0, le=1)  # of the verdict's score
    seed: int | None = None
    stop: list[_Stop] = Field(default_factory=list, max_length=16)
    continue_final_message: bool = False
    add_generation_prompt: bool | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop


def read_chat_request(data: bytes, defaults_of: Callable[[str | None], Sampling]) -> ChatRequest:
    """Return a client's request; the defaults of its model apply to the fields that it leaves out.

    Raises:
        ApiError: naming the field that is wrong or not supported.
    """
    values = _object(data)
    for name, value in values.items():
        _check_field(name, value)
    try:
        body = _Body.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        raise ApiError(400, f"{key_of(problem)}: {in_words(problem)}.", param=key_of(problem)) from None
    seed = None if body.seed == -1 else body.seed  # as in vLLM and llama.cpp: another one each time
    return ChatRequest(
        body.model, _conversation(body), _sampling(body, defaults_of(body.model)), seed,
        tuple(body.stop), body.thinking_token_budget, body.stream, body.stream_options.include_usage,
    )  # fmt: skip


def _check_field(name: str, value: Any) -> None:
    """Refuse a field that would change the completion elsewhere, and one with nearly the name of ours.

    Others are ignored, as vLLM does: clients send many that mean nothing here, such as `user`.
    """
    if value is not None and value not in _UNSUPPORTED.get(name, (value,)):
        raise ApiError(400, f"{name} is not supported here. Leave it out.", param=name)
    if value is None or name in _UNSUPPORTED or name in _Body.model_fields:
        return
    lower = name[:100].lower()
    near = get_close_matches(lower, _Body.model_fields, n=1, cutoff=_NEAR)
    # A name with ours as a part is another program's (temperature_last), and so is a list of models.
    is_anothers = lower == "models" or any(f"_{one}_" in f"_{lower}_" for one in near)
    if near and (lower == near[0] or not is_anothers):
        sent = escape_hidden(name)[:100]
        raise ApiError(400, f"{quoted(name)} is not known here. Did you mean {near[0]}?", param=sent)


def _object(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ApiError(400, "The request is not UTF-8.") from None
    try:
        value = parse_json(text)
    except ValueError as error:
        raise ApiError(400, f"The request is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"The request must be a JSON object, not {quoted(value)}.")
    return value


def _conversation(body: _Body) -> Conversation:
    messages: list[Message] = []
    if not body.messages:
        raise ApiError(400, "messages: the list is empty.", param="messages")
    for position, one in enumerate(body.messages):
        if any("\ud800" <= character <= "\udfff" for character in one.text):
            name = f"messages.{position}.content"
            raise ApiError(400, f"{name}: half a surrogate pair is not text.", param=name)
        role: MessageRole = "system" if one.role == "developer" else one.role
        messages.append(Message(role, one.text, one.reasoning_content))
    conversation = Conversation(tuple(messages))
    continues = body.continue_final_message
    if continues != bool(conversation.started):
        last = "The last message is not text of the assistant, so there is nothing to continue."
        if not continues:
            last = (
                "The last message is the assistant's. Add a user's message, or continue it with "
                '"continue_final_message": true.'
            )
        raise ApiError(400, last, param="messages")
    if continues and len(messages) == 1:
        raise ApiError(400, "messages: there is no message before the assistant's.", param="messages")
    if body.add_generation_prompt not in (None, not continues):
        name = "add_generation_prompt"
        raise ApiError(400, f"{name} is not supported here. Leave it out.", param=name)
    return conversation


def _sampling(body: _Body, defaults: Sampling) -> Sampling:
    """Return every field: the client's, or else the default. A temperature of 0 is greedy decoding."""
    values = defaults.model_dump() | body.model_dump(include=_SAMPLING, exclude_none=True)
    values["max_new_tokens"] = body.max_completion_tokens or body.max_tokens or defaults.max_new_tokens
    if body.temperature is not None:
        values["do_sample"] = body.temperature > 0
    if not values["do_sample"]:
        values |= {"temperature": None, "top_p": None, "top_k": None}
    elif values["top_k"] in (0, -1):  # off
        values["top_k"] = None
    return Sampling(**values)
