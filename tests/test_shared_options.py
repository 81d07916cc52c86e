"""Options of every command mean the same before and after its name; the shell completes what there is."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alttrain_cli import __version__, console, network
from alttrain_cli.backends.address import is_here
from alttrain_cli.backends.base import BackendError
from alttrain_cli.backends.server import ServerBackend
from alttrain_cli.cli import COMMANDS, app
from alttrain_cli.library_output import capture_output, show_libraries
from alttrain_cli.recipe.layers import shipped_recipes
from tests.run_folders import make
from tests.warm import Warm


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (network.ALL, network.HUB, "WANDB_MODE"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)


def alttrain(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in COMMANDS), ("runs", "show"), ("eval", "judge")]
)
def test_every_command_shows_its_version_with_the_same_option(command: tuple[str, ...]) -> None:
    assert alttrain(*command, "--version").output == f"alttrain {__version__}\n"
    assert {"--json", "--offline"} <= {*alttrain(*command, "--help").output.split()}


@pytest.mark.parametrize(
    "words",
    [("--quiet", "runs", "show", "x"), ("runs", "--quiet", "show", "x"), ("runs", "show", "--quiet", "x"), ("runs", "show", "x", "--quiet"), ("--json", "runs", "show", "x"), ("runs", "show", "x", "--json")],
)  # fmt: skip
def test_an_option_of_every_command_may_stand_anywhere(words: tuple[str, ...]) -> None:
    shown = alttrain(*words)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr == "Error: x: no such run. To list the runs: alttrain runs\n"


def test_quiet_leaves_the_result_and_errors_and_ends_with_the_command(
    capfd: pytest.CaptureFixture[str],
) -> None:
    make("runs/a")
    loud, still = (CliRunner().invoke(app, ["runs", "--json", *more]) for more in ((), ("--quiet",)))
    assert still.stdout == loud.stdout
    console.keep_quiet(True)
    console.print_warning("unheard")
    with console.status("unheard"):
        console.print_error("heard")
    console.Reporter().say("unheard")
    console.keep_quiet(False)
    console.print_warning("heard again")
    assert capfd.readouterr().err == "Error: heard\nWarning: heard again\n"
    alttrain("runs", "--quiet")
    console.print_warning("heard")
    assert "heard" in capfd.readouterr().err


def test_a_library_that_prints_a_path_with_bytes_that_are_no_text_is_not_ended(tmp_path: Path) -> None:
    with capture_output(tmp_path / "log.txt"):
        print("writing to \udcff")  # noqa: T201
    assert (tmp_path / "log.txt").read_text() == "writing to \\udcff\n"


def test_verbose_shows_what_libraries_say_and_the_log_has_it_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for wanted, shown in ((False, ""), (True, "said\nwarned\n")):
        show_libraries(wanted)
        log = tmp_path / f"{wanted}.txt"
        with capture_output(log):
            print("said")  # noqa: T201
            print("warned", file=sys.stderr)  # noqa: T201
        show_libraries(False)
        assert log.read_text() == "said\nwarned\n"
        assert capfd.readouterr().err == shown


def test_offline_reaches_no_hub_and_no_server_beyond_this_machine() -> None:
    result = alttrain("chat", "https://example.com/v1 model", "-p", "Hi", "--offline")
    assert result.exit_code == 2
    assert "https://example.com/v1: not contacted, because of --offline" in result.output
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["WANDB_MODE"] == "offline"
    assert "not contacted: offline" in " ".join(alttrain("doctor").output.split())
    with pytest.raises(BackendError, match="cannot be reached"):  # tried
        ServerBackend.find("http://127.0.0.1:9/v1", "model")


def test_the_hubs_own_switch_means_the_same() -> None:
    code = "import sys; from alttrain_cli.cli import main; main()"
    words = ("chat", "https://example.com/v1 model", "-p", "Hi")
    environment = {**os.environ, "HF_HUB_OFFLINE": "TRUE"}
    environment.pop("ALTTRAIN_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert "not contacted, because of --offline or HF_HUB_OFFLINE" in done.stderr


def test_a_model_on_this_machine_switches_off_the_hub_and_no_server() -> None:
    network.leave_hub()
    assert network.is_offline()
    assert not network.is_isolated()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/v1", True), ("http://127.0.0.1/v1", True), ("http://127.8.8.8", True), ("http://[::1]:1/v1", True),
        ("http://localhost.example.com", False), ("http://10.0.0.1", False), ("http://0.0.0.0:80", False), ("https://api.example.com", False),
        ("http://127.0.0.1@example.com/", False), ("http://[::1", False), ("", False),
    ],
)  # fmt: skip
def test_an_address_on_this_machine_is_told_from_others(url: str, expected: bool) -> None:
    assert is_here(url) is expected


def offered(light: Warm, line: str) -> list[str]:
    """What the shell offers after a line that ends where the cursor is."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_ALTTRAIN_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return light.run(cwd=Path.cwd(), env=environment).stdout.split()


def test_the_shell_completes_commands_recipes_and_runs(light: Warm) -> None:
    completions = partial(offered, light)
    make("runs/smollm2-135m-1")
    make("demo/run")
    assert set(completions("alttrain ")) == set(COMMANDS)
    assert completions("alttrain tr") == ["train"]
    recipes = [path.stem for path in shipped_recipes()]
    assert completions("alttrain train --recipe ") == recipes
    assert completions("alttrain recipes show r1-0") == ["r1-0528-8b"]
    assert set(completions("alttrain chat ")) == {"runs/smollm2-135m-1", "demo/run", *recipes}
    assert completions("alttrain chat runs/") == ["runs/smollm2-135m-1"]
    assert set(completions("alttrain runs show ")) == {"runs/smollm2-135m-1", "demo/run"}
    assert set(completions("alttrain runs ")) == {"list", "show", "compare", "rm", "prune"}
    assert {"judge", "report", "demo/run", "r1-7b"} <= set(completions("alttrain eval "))
    assert completions("alttrain eval runs/") == ["runs/smollm2-135m-1"]
    assert "--quiet" in completions("alttrain chat --qu")
