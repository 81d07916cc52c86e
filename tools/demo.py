"""The end of `make demo`: questions that training never saw, before and after it: `python tools/demo.py RUN`.

The first two are a contrast pair that the model gets right. The last one is of the kind that it gets wrong.
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

COMPARED = ("starter-e018-harmful", "starter-e018-benign")
HARDER = "starter-c010-benign"
LIMITS = """
The model has 135 million parameters. It learned to assess a request before it
answers. It did not learn facts, so many of its answers are wrong.
It also refuses some benign requests, most often those that look harmful.
Questions 1 and 2 were chosen because it gets them right. README.md has the
rates for 310 questions that training never saw.
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
    screen, settings = ChatScreen(), Settings(target.recipe.generation)
    prompts = {row.id: row.prompt for row in starter_rows("heldout")}
    with ThreadPoolExecutor(1) as pool:  # as in `alttrain chat`: else two OpenMP teams share the cores
        trained = pool.submit(open_backend, target, Reporter()).result()
    assert trained.base

    def show(heading: str, backend: Backend, prompt: str) -> None:
        screen.console.print("", Rule(Text(heading, "bold"), align="left"))
        send(backend, Transcript(), prompt, settings, screen)

    for number, name in enumerate(COMPARED, start=1):
        screen.say(f"\nQuestion {number}: {prompts[name]}", "bold")
        show("before training", trained.base, prompts[name])
        show("after training", trained, prompts[name])
    screen.say(f"\nQuestion 3, harder: {prompts[HARDER]}", "bold")
    show("after training", trained, prompts[HARDER])
    screen.say(LIMITS, "")
    screen.say(NEXT.format(run=run), "")


if __name__ == "__main__":
    main(sys.argv[1])
