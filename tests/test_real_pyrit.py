"""PyRIT's own client asks the server: opt-in, with ALTTRAIN_PYRIT_PYTHON, because PyRIT needs dozens of packages."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.scripted import ScriptedBackend
from tests.serve_here import server_here

PYTHON = os.environ.get("ALTTRAIN_PYRIT_PYTHON", "")
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON, reason="ALTTRAIN_PYRIT_PYTHON names no Python"),
]
SENT = ["Name a river.", "How do I boil an egg?", "What is two plus two?"]
SAYS = "<think>\nThey ask.\n\nThis is benign.\n\nI answer.\n</think>\n\nThe Danube."
ATTACK = """
import asyncio, json, sys
from pyrit.converter import Base64Converter
from pyrit.executor.attack import AttackConverterConfig, AttackExecutor, PromptSendingAttack
from pyrit.prompt_normalizer import ConverterConfiguration
from pyrit.prompt_target import OpenAIChatTarget
from pyrit.setup import initialize_pyrit_async

async def main(url, *sent):
    await initialize_pyrit_async("InMemory", load_defaults=False, silent=True)
    target = OpenAIChatTarget(
        endpoint=url, api_key="none", model_name="run", temperature=0.0, max_completion_tokens=48
    )
    wrapped = ConverterConfiguration.from_converters(converters=[Base64Converter()])
    attack = PromptSendingAttack(
        objective_target=target, attack_converter_config=AttackConverterConfig(request_converters=wrapped)
    )
    done = await AttackExecutor(max_concurrency=3).execute_attack_async(attack=attack, objectives=list(sent))
    print(json.dumps([one.last_response.converted_value for one in done.completed_results]))

asyncio.run(main(*sys.argv[1:]))
"""


def test_an_attack_of_pyrit_gets_its_answers(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with server_here({"run": ScriptedBackend(SAYS)}) as here:
        done = subprocess.run(
            [PYTHON, "-c", ATTACK, here.url, *SENT],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout.splitlines()[-1]) == ["The Danube."] * 3
        assert (here.activity.completed, here.activity.refused, here.activity.left) == (3, 0, 0)
