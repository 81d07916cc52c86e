"""One attack on the screen, turn by turn."""

from rich.text import Text

from alttrain_cli.console.pairs import print_lines
from alttrain_cli.console.sections import panel, print_trace
from alttrain_cli.console.terminal import out, plain
from alttrain_cli.evaluation.attacks.attack import HIGHEST, FinishedDialogue, Reply, Role
from alttrain_cli.evaluation.attacks.roles import DialogueResult


def print_reply(one: DialogueResult) -> None:
    """Print the reply of a role; errors are reported by the caller."""
    reply, role = one.reply, one.ask.call.role
    if not isinstance(reply, Reply):
        return
    if role is Role.TARGET and one.completion:
        turn = sum(message.role == "user" for message in one.ask.call.conversation.messages)
        _say(f"turn {turn}")
        print_trace(one.completion.trace)
    if reply.failed:
        _say(f"{role}: {reply.failed.label}")
    elif role is Role.ATTACKER:
        text = "\n".join(reply.texts) or reply.text
        out().print(panel(Text("attacker"), plain(text), "muted"))
    elif role is Role.REFUSAL and reply.refused:
        _say("refusal judge: refused")
    elif role is Role.JUDGE:
        _say(f"judge in the loop: {reply.score} of {HIGHEST}")


def print_end(done: FinishedDialogue) -> None:
    back = sum(not one.kept for one in done.attempts)
    print_lines(
        [
            ("outcome:", done.outcome.label + ", by the judge in the loop" * done.outcome.counts),
            ("answers:", f"{len(done.attempts)}, {back} of them taken back"),
        ]
    )


def _say(text: str) -> None:
    out().print(plain(text, "muted"), soft_wrap=True)
