"""The texts of the project that people read, and the words that do not belong in them."""

import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "alttrain_cli"
# Records of what was done at the time, and a table that a script writes.
RECORDS = {"log.md", "mutation.md"}
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "DESIGN.md")),
    ROOT / "benchmarks" / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in RECORDS),
]
# Their texts are for models, are programs or are data: rows, prompts, and the words that rules look for.
FOR_MODELS = {
    *("data/annotators.py", "data/phrases.py", "data/styles.py", "data/duplicates.py"),
    *("evaluation/attacks/roles.py", "evaluation/judges/programs.py", "evaluation/thinking.py"),
    "export/modelfile.py",
    *("structure/refusal.py", "structure/verdict.py", "structure/order_warnings.py", "text.py"),
    *("sandbox/confinement.py", "sandbox/probe.py", "training/curve.py"),
}


class Found(NamedTuple):
    """A text of the project."""

    place: str  # file:line
    text: str


def messages() -> Iterator[Found]:
    """Yield the texts of the code that can reach the screen: help, errors, headings, but no docstrings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name in FOR_MODELS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = _docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                skipped |= {id(part) for part in ast.walk(node)} - {id(node)}
        for node in ast.walk(tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if " " in text.strip() and not re.search(r"\\[bwds(]|\(\?|^import ", text, re.MULTILINE):
                yield Found(f"{name}:{node.lineno}", text)


def docstrings() -> Iterator[Found]:
    """Yield the docstrings of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ids = _docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) in ids:
                yield Found(f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}", str(node.value))


def _docstrings(tree: ast.AST) -> set[int]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }


def paragraphs() -> Iterator[Found]:
    """Yield the paragraphs, list items and cells of the documents, without code."""
    for path in PAGES:
        name = path.relative_to(ROOT).as_posix()
        for line, text in _paragraphs(path.read_text(encoding="utf-8")):
            yield Found(f"{name}:{line}", text)
    notebook = json.loads((ROOT / "notebooks" / "alttrain.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for line, text in _paragraphs("".join(cell["source"])):
                yield Found(f"notebook:{line}", text)


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    block: list[str] = []
    start, is_code = 0, False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        words = line.strip()
        if words.startswith("```"):
            is_code = not is_code
        indented = line.startswith("    ") and not block
        ends = not words or is_code or indented or words.startswith(("#", "|", "```", "![", "<!--"))
        starts = re.match(r"(?:[-*:]|\d+\.) +", words)
        if block and (ends or starts):
            yield start, " ".join(block)
            block = []
        if words.startswith("|"):
            yield from ((number, cell.strip()) for cell in words.strip("|").split("|"))
        elif not ends:
            start = start if block else number
            block.append(words[starts.end() :] if starts else words)


def comments() -> Iterator[Found]:
    """Yield the comments of recipes, studies and suites, and the texts of the help's examples."""
    files = [
        *(ROOT / "recipes").glob("*.yaml"),
        *(ROOT / "studies").glob("*.yaml"),
        *PACKAGE.rglob("*.yaml"),
    ]
    for path in sorted(files):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if found := re.search(r"(?:^|\s)# (?! )(.+)", line):
                yield Found(f"{path.name}:{number}", found[1])
    examples = PACKAGE / "commands" / "shared" / "examples.txt"
    for number, line in enumerate(examples.read_text(encoding="utf-8").splitlines(), start=1):
        if line and not line.startswith("    "):
            yield Found(f"{examples.name}:{number}", line.lstrip("# "))


def pages() -> Iterator[Found]:
    """Yield the texts of the HTML pages."""
    for path in sorted(PACKAGE.rglob("*.html")):
        text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", " X ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for number, line in enumerate(text.splitlines(), start=1):
            for words in re.split(r"<[^>]*>", line):
                if " " in words.strip():
                    yield Found(f"{path.name}:{number}", html.unescape(words))


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; code counts as one word, and a colon with a list does not end one."""
    plain = re.sub(r"`[^`]*`", "CODE", text)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain).replace("**", "")
    return re.split(r"(?<=[.?!:;])[\"”)]*\s+", plain)


# Old words, and what to write for readers whose first language is not English. No docstring has them either.
OLD = {
    r"\bwhom\b|\bwhoever\b|\bwhomever\b": "name the person or the program",
    r"\bupon\b": "on",
    r"\bthere(?:of|in|upon|with)\b|\bwhere(?:by|in|upon)\b|\bhence\b|\bthence\b": "write the noun again",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bset(?:s|ting)? aside\b": "drop",
    r"\bbroke off\b|\bbroken off\b": "was interrupted",
    r"\btorn\b": "incomplete",
    r"\bis had\b|\bare had\b|\bbe had\b": "name who has it",
    r"\bbut for\b": "except",
    r"\bno \w+ but\b|\bnothing but\b": "only",
    r"\b(?:anyhow|nevertheless|whilst|amongst|thus far|anew)\b": "a common word",
}
# The same for words that are clear to those who change the code.
WORDS = {
    r"\bbeside\b": "next to, or compared with",
    r"\bexists already\b": "already exists",
    r"(?<!there )(?<!There )\b(?:is|are) no (?!longer|more|such|better|worse|less)\w+": "is not a …",
    r"\bsystem text\b": "system prompt",
    r"\b(?:run|output|model) director(?:y|ies)\b": "folder",
    r"\bdata sets?\b(?! of)": "dataset",
    r"\ba text(?! file| editor|\w)\b": "text",
    r"\b(?:says|tells|wants)\b": "software is not a person: states, reports, needs",
    r"\bso (?:many|much)\b(?= (?!that|more|less))": "this many",
    r"(?<!soon )\bas (?:it|they|there|this|that) (?:has|have|had|would|cannot|does|do|is no|are no)\b": "because",
    r"\b\d+ \w+ an? (?:second|minute|hour|step|row|prompt|request|core|line|page|token|suite)\b": "per",
    r"\b(?:stands|stood|lies) (?:in|at|on|between|beside|there|here)\b": "is",
    r"\b(?:goes|go|went) on (?:with|where|until|from)\b": "continue, or resume",
    r"\bby heart\b|\bsmall hours\b|\bat the mercy\b": "no idiom",
}
# The documents are in British English. Names of code (`optimizer`) are not looked at.
_ENDED = (
    "tokeni",
    "quanti",
    "initiali",
    "normali",
    "recogni",
    "summari",
    "memori",
    "organi",
    "minimi",
    "optimi",
)
AMERICAN = {
    rf"(?i)\b(?:{'|'.join(_ENDED)})z(?:e[sd]?|ing|ation)\b": "-ise",
    r"(?i)\b(?:behavior|color|favorite|neighbor)(?:s|ed|ing)?\b": "-our",
    r"(?i)\b(?:label|cancel|model|travel)(?:ed|ing)\b": "two l's",
    r"(?i)\b(?:judgment|artifact|analyze|license)s?\b": "judgement, artefact, analyse, licence",
}
