"""What can go wrong on the user's side. The hierarchy is the list of exit codes.

AlttrainError            2  bad input: one line says what, where and what to do next
├── RecipeError             a recipe is unknown, unreadable or wrong
├── DataError               a source or a data file is wrong; names file, line and key
├── RunError                a run directory exists already, is missing or is broken
├── ModelError              a model or adapter cannot be loaded
└── GateError            3  the work is done, but its result failed a quality gate
"""


class AlttrainError(Exception):
    """A user error: printed as one line, without a traceback."""

    exit_code = 2


class RecipeError(AlttrainError):
    """A recipe is unknown, unreadable or wrong."""


class DataError(AlttrainError):
    """A source or a data file is wrong."""


class RunError(AlttrainError):
    """A run directory exists already, is missing or is broken."""


class ModelError(AlttrainError):
    """A model or an adapter cannot be loaded."""


class GateError(AlttrainError):
    """The result of finished work failed a quality gate."""

    exit_code = 3
