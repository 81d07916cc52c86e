"""The only code that draws. Model and data text is never markup, and hidden characters are escaped.

Its files are imported when a name of theirs is first used, so that a command's help needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alttrain_cli.console.calibration import print_calibration
    from alttrain_cli.console.catalogue import print_judges, print_suites
    from alttrain_cli.console.chat import ChatScreen, print_answers
    from alttrain_cli.console.data import print_audit, print_build, print_built
    from alttrain_cli.console.dialogue import print_end, print_reply
    from alttrain_cli.console.doctor import print_findings
    from alttrain_cli.console.export import print_export_end, print_exports, print_planned_exports
    from alttrain_cli.console.overview import print_overview
    from alttrain_cli.console.pairs import print_lines
    from alttrain_cli.console.preview import print_previews
    from alttrain_cli.console.recipes import print_differences, print_recipe_fits
    from alttrain_cli.console.reporter import Reporter
    from alttrain_cli.console.result import (
        answer_in_json,
        name_command,
        print_result,
        result_list,
        wants_json,
    )
    from alttrain_cli.console.runs import print_comparison, print_run, print_runs, print_sizes
    from alttrain_cli.console.scorecard import print_report
    from alttrain_cli.console.serving import ServerView, print_server
    from alttrain_cli.console.streams import OutputError, accept_loss, protect_streams, summary
    from alttrain_cli.console.study import (
        StudyView,
        print_studies,
        print_study_plan,
        print_study_table,
        print_submitted,
    )
    from alttrain_cli.console.terminal import (
        THEME,
        duration,
        end_commands_with,
        err,
        keep_quiet,
        out,
        plain,
        print_error,
        print_next,
        print_table,
        print_text,
        print_warning,
        status,
    )
    from alttrain_cli.console.training import TrainingView, print_plan, print_run_summary

_FILES = {
    "calibration": "print_calibration",
    "catalogue": "print_judges print_suites",
    "chat": "ChatScreen print_answers",
    "data": "print_audit print_build print_built",
    "dialogue": "print_end print_reply",
    "doctor": "print_findings",
    "export": "print_export_end print_exports print_planned_exports",
    "overview": "print_overview",
    "pairs": "print_lines",
    "preview": "print_previews",
    "recipes": "print_differences print_recipe_fits",
    "reporter": "Reporter",
    "result": "answer_in_json name_command print_result result_list wants_json",
    "runs": "print_comparison print_run print_runs print_sizes",
    "scorecard": "print_report",
    "serving": "ServerView print_server",
    "streams": "OutputError accept_loss summary protect_streams",
    "study": "StudyView print_studies print_study_plan print_study_table print_submitted",
    "terminal": (
        "THEME duration end_commands_with err keep_quiet out plain print_error print_next print_table "
        "print_text print_warning status"
    ),
    "training": "TrainingView print_plan print_run_summary",
}
_HOMES = {name: file for file, names in _FILES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    module = import_module(f"{__name__}.{_HOMES[name]}")
    value = globals()[name] = getattr(module, name)
    return value
