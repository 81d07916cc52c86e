"""Draws the state of a server: how to connect, and its current requests."""

import json
import shlex
import time
import traceback
from collections import deque
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from alttrain_cli.console.region import Region
from alttrain_cli.console.terminal import err, out, plain
from alttrain_cli.serve.activity import Activity

_WINDOW = 5.0  # seconds over which the speed is measured
_LINE = 10.0  # seconds between plain lines


def print_server(
    address: str, models: Sequence[str], *, key_from: str | None, threshold: float | None = None
) -> None:
    """Print the address, the models, and how to connect.

    `key_from` is the variable that holds the key, and `threshold` that of the run's verdicts.
    """
    name = models[0]
    message = {"role": "user", "content": "Hi."}
    body = json.dumps({"model": name, "messages": [message]}, separators=(",", ":"))
    options = [f"curl {address}/chat/completions", "-H 'Content-Type: application/json'"]
    options += [f'-H "Authorization: Bearer ${key_from}"'] if key_from else []
    curl = " \\\n    ".join([f"\n  {options[0]}", *options[1:], f"-d {shlex.quote(body)}"])
    given = f'os.environ["{key_from}"]' if key_from else '"none"'
    described = (
        [name] if len(models) == 1 else [f"{name} (fine-tuned)", f"{models[1]} (adapter switched off)"]
    )
    lines = {
        "address": address,
        "models": ", ".join(described),
        **(
            {}
            if threshold is None
            else {"threshold": f"{threshold} for {name}, unless a request has its own"}
        ),
        "curl": curl,
        "Python": f'OpenAI(base_url="{address}", api_key={given})',
        "Open WebUI": f"Admin Settings > Connections > OpenAI API: {address}",
    }
    for label, text in lines.items():  # no line is wrapped, so that it can be copied
        out().print(Text(f"{label:<12}", "muted") + plain(text), soft_wrap=True)
    err().print(Text("Ctrl-C stops the server.", "muted"))


class ServerView(Region):
    """One line of numbers: redrawn on a terminal, printed now and then elsewhere."""

    def __init__(self) -> None:
        super().__init__(err())
        self._activity = Activity()
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._printed = ""
        self._due_at = 0.0

    def show(self, activity: Activity) -> None:
        now = time.monotonic()
        self._activity = activity
        self._seen.append((now, activity.tokens))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        if self._live is None and now >= self._due_at:
            self._due_at = now + _LINE
            self._print()

    def report(self, bug: Exception) -> None:
        self.console.print(plain("".join(traceback.format_exception(bug))), soft_wrap=True)

    def _render(self) -> RenderableType:
        return Text(self._line(), "muted", no_wrap=True, overflow="ellipsis")

    def _break_off(self) -> None:
        self._print()

    def _print(self) -> None:
        """Print the line, unless nothing has happened since the last one."""
        counts = self._line(speed=False)
        if counts != (self._printed or _counts(Activity())):
            self._printed = counts
            self.console.print(plain(self._line()), soft_wrap=True)

    def _line(self, *, speed: bool = True) -> str:
        (since, before), (now, tokens) = self._seen[0], self._seen[-1]
        rate = (tokens - before) / (now - since) if now > since else 0.0
        return _counts(self._activity) + (f" · {rate:.0f} tokens/s" if speed else "")


def _counts(activity: Activity) -> str:
    parts = [f"{activity.completed} completed", f"{activity.in_flight} in flight"]
    optional = (("waiting", activity.waiting), ("refused", activity.refused), ("left", activity.left))
    return " · ".join([*parts, *(f"{count} {name}" for name, count in optional if count)])
