"""`alttrain chat`: chat with a model and see the sections of its completions.

The work is imported when it starts, so that help is quick.
"""

import typer

from alttrain_cli.commands.chat.options import ChatOptions
from alttrain_cli.commands.shared.options import take_options


@take_options(ChatOptions, "system", "prompt")
def chat(context: typer.Context, options: ChatOptions) -> None:
    """Chat with a model. Its understanding, assessment, reasoning and answer are shown as separate sections.

    If the output is piped, only the answer goes to standard output; the reasoning goes to standard error.
    """
    from alttrain_cli.commands.chat import steps

    steps.chat(context, options)
