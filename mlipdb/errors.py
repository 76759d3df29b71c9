"""Every error mlipdb raises on purpose, in one tree.

::

    MlipdbError
    |-- UsageError                    wrong arguments of a command or call        (exit 2)
    |   |-- SettingsError             mlipdb.yaml or MLIPDB_* is wrong
    |   |-- NotFoundError             no document, collection or project of that name
    |-- DatabaseError                 the database cannot be used                 (exit 3)
    |   |-- DatabaseUnreachableError
    |   |-- EmbeddedError             the embedded server cannot start or answer
    |   `-- LockedError               somebody else is building                   (exit 4)
    |-- ArtifactError                 a stored file is missing or damaged         (exit 1)
    |-- DataError                     an input document or file is not usable     (exit 1)
    |   |-- IngestError               a file or record cannot be read as a task
    |   |-- ConfigurationError        a task cannot become a configuration
    |   |-- RecipeError               a training-set recipe cannot be fulfilled
    |   `-- PhononError               forces cannot become phonons
    |       `-- IncompleteDisplacementSetError
    `-- FrameworkError                an MLIP framework failed                    (exit 1)
        |-- FrameworkNotInstalledError
        |-- FitError
        |   `-- FitTimeoutError
        `-- CalculatorError

A message says what was wrong with what, and what would be right.  ``reason`` is
a short stable name (``"no_forces"``) that documents keep and queries use.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "CalculatorError",
    "ConfigurationError",
    "DataError",
    "DatabaseError",
    "DatabaseUnreachableError",
    "EmbeddedError",
    "FitError",
    "FitTimeoutError",
    "FrameworkError",
    "FrameworkNotInstalledError",
    "IncompleteDisplacementSetError",
    "IngestError",
    "LockedError",
    "MlipdbError",
    "NotFoundError",
    "PhononError",
    "RecipeError",
    "SettingsError",
    "UsageError",
]


class MlipdbError(Exception):
    """Base of all errors of mlipdb.

    Parameters
    ----------
    message
        One sentence: what was wrong with what, and what would be right.
    reason
        A short stable name of the cause, kept in documents.
    log_tail
        The end of the log of an external program, where one was running.
    """

    exit_code = 1
    default_reason = "error"

    def __init__(self, message: str, *, reason: str | None = None, log_tail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross process pools.
        return (_rebuild, (type(self), self.message, self.reason, self.log_tail))


def _rebuild(cls: type[MlipdbError], message: str, reason: str, log_tail: str | None) -> MlipdbError:
    return cls(message, reason=reason, log_tail=log_tail)


class UsageError(MlipdbError):
    """A command or call was given arguments that make no sense."""

    exit_code = 2
    default_reason = "usage"


class SettingsError(UsageError):
    """``mlipdb.yaml`` or an ``MLIPDB_*`` variable is wrong."""

    default_reason = "settings"


class NotFoundError(UsageError):
    """No document, collection or project of that name."""

    default_reason = "not_found"


class DatabaseError(MlipdbError):
    """The database cannot be used as asked."""

    exit_code = 3
    default_reason = "database"


class DatabaseUnreachableError(DatabaseError):
    """No answer from the database."""

    default_reason = "unreachable"


class EmbeddedError(DatabaseError):
    """The embedded server cannot start, or its files cannot be used."""

    default_reason = "embedded"


class LockedError(DatabaseError):
    """Somebody else is building."""

    exit_code = 4
    default_reason = "locked"


class ArtifactError(MlipdbError):
    """A stored file is missing, or its bytes are not those that were stored."""

    default_reason = "artifact"


class DataError(MlipdbError):
    """An input cannot be used."""

    default_reason = "bad_data"


class IngestError(DataError):
    """A file or record cannot be read as a DFT task."""

    default_reason = "unreadable"


class ConfigurationError(DataError):
    """A task cannot become a labelled configuration."""

    default_reason = "unusable_task"


class RecipeError(DataError):
    """A training-set recipe cannot be fulfilled with the configurations there are."""

    default_reason = "recipe"


class PhononError(DataError):
    """A set of forces cannot become phonons."""

    default_reason = "phonons"


class IncompleteDisplacementSetError(PhononError):
    """Displacements are missing from a set."""

    default_reason = "incomplete_displacements"


class FrameworkError(MlipdbError):
    """An MLIP framework failed."""

    default_reason = "framework"


class FrameworkNotInstalledError(FrameworkError):
    """The package behind a framework is not installed."""

    exit_code = 2
    default_reason = "not_installed"


class FitError(FrameworkError):
    """A fit did not give a usable potential."""

    default_reason = "fit_failed"


class FitTimeoutError(FitError):
    """A fit did not end in the time it was given."""

    default_reason = "fit_timeout"


class CalculatorError(FrameworkError):
    """A potential cannot be loaded, or gives unusable numbers."""

    default_reason = "calculator"
