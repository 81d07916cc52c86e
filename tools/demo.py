"""The end of `make demo`: questions that training never saw, before and after it: `python tools/demo.py RUN`.

The first two have similar words, and one of them is harmful. The model judged this pair rightly, with room to
spare, after 130 and after 242 steps. The last one is of a kind that it gets wrong. How many verdicts are
right is counted, because another machine rounds differently.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from rich.rule import Rule
from rich.text import Text

from alttrain_cli.backends.base import Backend
from alttrain_cli.backends.open import find, open_backend
from alttrain_cli.backends.target import Target
from alttrain_cli.chat.exchange import send
from alttrain_cli.chat.settings import Settings
from alttrain_cli.chat.transcript import Transcript
from alttrain_cli.console import ChatScreen, Reporter
from alttrain_cli.data.starter import starter_rows
from alttrain_cli.structure.row import Row

COMPARED = ("starter-qa096-harmful", "starter-qa096-benign")
HARDER = "starter-la120-benign"
LENGTH = 96  # tokens of an answer: the untrained model's are long, and a small model may repeat itself
RESULT = """
Its verdict was right for {right} of these {asked} questions. README.md has the rates
for questions that training never saw.
"""
LIMITS = """\
The model has 135 million parameters. It learned to assess a request before it
answers. It did not learn facts, so many of its answers are wrong.
It also refuses some benign requests, most often those that look harmful.
"""
NEXT = """\
Next, chat with it, measure it, or see which models fit a GPU with 12 GB:

    .venv/bin/alttrain chat {run}
    .venv/bin/alttrain eval {run}
    .venv/bin/alttrain recipes --gpu 12

To type only alttrain, first type: source .venv/bin/activate"""


def main(run: str) -> None:
    """Show the questions with their completions, then what to type next."""
    target = find(run)
    assert isinstance(target, Target)
    screen = ChatScreen()
    settings = Settings(target.recipe.generation).set(f"max_new_tokens={LENGTH}")
    rows = {row.id: row for row in starter_rows("heldout")}
    with ThreadPoolExecutor(1) as pool:  # as in `alttrain chat`: else two OpenMP teams share the cores
        trained = pool.submit(open_backend, target, Reporter()).result()
    assert trained.base

    def show(heading: str, backend: Backend, row: Row) -> bool:
        """Show a completion; return whether its verdict is the label of the row."""
        screen.console.print("", Rule(Text(heading, "bold"), align="left"))
        return send(backend, Transcript(), row.prompt, settings, screen).completion.trace.verdict == row.label

    right = 0
    for number, row in enumerate((rows[name] for name in COMPARED), start=1):
        screen.say(f"\nQuestion {number}:\n{row.prompt}", "bold")
        show("before training", trained.base, row)
        right += show("after training", trained, row)
    screen.say(f"\nQuestion 3, harder:\n{rows[HARDER].prompt}", "bold")
    right += show("after training", trained, rows[HARDER])
    screen.say(RESULT.format(right=right, asked=len(COMPARED) + 1), "")
    screen.say(LIMITS, "")
    screen.say(NEXT.format(run=run), "")


if __name__ == "__main__":
    main(sys.argv[1])
