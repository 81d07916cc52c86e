"""The sentences that need no language model: assessments, stops and refusals, from label and category.

Which wording a row gets depends only on the row's id, so the same source always yields the same rows.
"""

import hashlib

from alttrain_cli.structure.row import Label

# What a category of harm does to whom. Matched by the words of the source's own category.
_CONSEQUENCES = {
    "self-harm": "it could push a person in pain closer to hurting themselves",
    "suicide": "it could push a person in pain closer to hurting themselves",
    "violence": "people could be injured or killed",
    "weapon": "people could be injured or killed with it",
    "terror": "it could help an attack on many people",
    "sexual": "it would violate somebody's dignity and consent",
    "adult": "it would violate somebody's dignity and consent",
    "child": "a child could be hurt by it",
    "hate": "it demeans people for who they are",
    "harass": "it would make somebody's life miserable",
    "discriminat": "it demeans people for who they are",
    "privacy": "it exposes someone's private life without their consent",
    "personal data": "it exposes someone's private life without their consent",
    "misinformation": "it would mislead people who trust what they read",
    "disinformation": "it would mislead people who trust what they read",
    "property": "it takes the work of others without their permission",
    "copyright": "it takes the work of others without their permission",
    "fraud": "somebody would be cheated out of money",
    "cyber": "it would break into systems that belong to others",
    "malware": "it would break into systems that belong to others",
    "drug": "it would put dangerous substances into people's hands",
    "illicit": "it would help a crime that has victims",
    "criminal": "it would help a crime that has victims",
    "illegal": "it would help a crime that has victims",
}
_UNKNOWN_CONSEQUENCE = "somebody would be hurt by a helpful answer"

_HARMFUL_ASSESSMENTS = (
    "This request is harmful, because {why}.",
    "If I helped here, {why}, so the request is harmful.",
    "What is asked is harmful: {why}.",
    "Looking at the consequences, {why}, which makes this harmful.",
    "I judge this to be harmful, since {why}.",
    "Answering would do damage, as {why}; this is harmful.",
    "The request is harmful, and the reason is that {why}.",
    "However it is worded, {why}, so this is harmful.",
)
_BENIGN_ASSESSMENTS = (
    "This request is benign, because an honest answer helps and nobody is hurt by it.",
    "Nobody comes to harm through an answer, so the request is benign.",
    "What is asked is benign: it has an ordinary purpose and a useful answer.",
    "Looking at the consequences, somebody learns something, which makes this benign.",
    "I judge this to be benign, since it serves an everyday need.",
    "Answering does good and no damage; this is benign.",
    "The request is benign, as the answer can be used by anyone without hurting anyone.",
    "However it is worded, the purpose is an ordinary one, so this is benign.",
)
# AltTrain's conditional reasoning of a harmful row is one fixed sentence; its ablation varies it.
STOP = "The request should not be answered, so I stop here and refuse."
_STOPS = (
    "I should not work out a solution; I will decline and say why.",
    "So I stop here instead of solving it, and refuse clearly and politely.",
    "I must not think about how it is done. A short refusal is the right answer.",
    "No solution follows. I will say no, and offer help with something safe.",
    "The right thing is to refuse and not to go into any detail.",
    "I will not reason about the task itself; the answer is a respectful no.",
)
_REFUSALS = (
    "I'm sorry, but I can't help with that, because {why}. I'm glad to help with something safe instead.",
    "I can't assist with this: {why}. If there is a safe goal behind it, tell me and I will help.",
    "No, I won't help with that, since {why}. Is there another way I can support you?",
    "I have to decline, because {why}. I'm happy to talk about legal and safe alternatives.",
    "That is something I'm not able to help with: {why}.",
    "I won't provide this, as {why}. Let me know if I can help in a way that hurts nobody.",
)

# Kinds of unsafe content with the words by which a source's category is recognised; the first one is
# what an unknown category counts as. After the eight kinds of arXiv 2505.15404's template.
CHECKLIST = {
    "crime or illegal goods": (
        *("criminal", "illicit", "illegal", "drug", "fraud", "cyber", "malware", "property"),
    ),
    "violence": ("violence", "weapon", "terror"),
    "harassment or threats": ("harass",),
    "hatred": ("hate", "discriminat"),
    "self-harm": ("self-harm", "suicide"),
    "sexual content": ("sexual", "adult", "child"),
    "misinformation": ("misinformation", "disinformation"),
    "private data": ("privacy", "personal data"),
}


def assessment_sentence(label: Label, category: str | None, row_id: str) -> str:
    """Return one sentence with the verdict of `label` and a reason from `category`."""
    forms = _HARMFUL_ASSESSMENTS if label == "harmful" else _BENIGN_ASSESSMENTS
    return _pick(forms, row_id, "assessment").format(why=_why(category))


def stop_sentence(row_id: str) -> str:
    """Return STOP in other words, which depend on the row."""
    return _pick(_STOPS, row_id, "stop")


def refuse(category: str | None, row_id: str) -> str:
    """Return a refusal that names the reason."""
    if category and "self-harm" in category.lower():
        return (
            "I'm really sorry that you're in this place. I can't help with hurting yourself, but you "
            "deserve support: please call or text a crisis line or somebody you trust right now."
        )
    return _pick(_REFUSALS, row_id, "refusal").format(why=_why(category))


def _why(category: str | None) -> str:
    name = (category or "").lower()
    return next((why for key, why in _CONSEQUENCES.items() if key in name), _UNKNOWN_CONSEQUENCE)


def _pick(forms: tuple[str, ...], row_id: str, purpose: str) -> str:
    digest = hashlib.sha256(f"{purpose}\0{row_id}".encode()).digest()
    return forms[int.from_bytes(digest[:4]) % len(forms)]


def checklist_item(category: str | None) -> str:
    """Return the kind of unsafe content that a source's category belongs to."""
    name = (category or "").lower()
    return next(
        (item for item, keys in CHECKLIST.items() if any(key in name for key in keys)), next(iter(CHECKLIST))
    )
