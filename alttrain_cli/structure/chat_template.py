"""The chat template that was trained: the model's own, with the recipe's system prompt as its default."""

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"}


def with_system(chat_template: str, system: str | None) -> str:
    """Return a chat template that puts `system` first where a conversation has no system message.

    None changes nothing. A template engine elsewhere then renders the same prompts as training did.
    """
    if system is None:
        return chat_template
    text = "".join(_ESCAPES.get(character, character) for character in system)
    return (
        "{%- if messages[0]['role'] != 'system' %}"
        f"{{%- set messages = [{{'role': 'system', 'content': '{text}'}}] + messages %}}"
        "{%- endif %}"
    ) + chat_template
