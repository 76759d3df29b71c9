"""Errors of a command, as they travel to the client."""

from __future__ import annotations

from typing import Any

from mlipdb.errors import EmbeddedError

# Names and numbers are those of MongoDB's error_codes.yml, so that drivers react as they do to a server.
BAD_VALUE = 2
FAILED_TO_PARSE = 9
TYPE_MISMATCH = 14
ILLEGAL_OPERATION = 20
NAMESPACE_NOT_FOUND = 26
INDEX_NOT_FOUND = 27
PATH_NOT_VIABLE = 28
CONFLICTING_UPDATE = 40
CURSOR_NOT_FOUND = 43
NAMESPACE_EXISTS = 48
INVALID_ID = 53
COMMAND_NOT_FOUND = 59
IMMUTABLE_FIELD = 66
CANNOT_CREATE_INDEX = 67
INVALID_OPTIONS = 72
INVALID_NAMESPACE = 73
INDEX_OPTIONS_CONFLICT = 85
INDEX_KEY_SPECS_CONFLICT = 86
DOCUMENT_VALIDATION = 121
PARALLEL_ARRAYS = 171
NOT_IMPLEMENTED = 238
OBJECT_TOO_LARGE = 10334
DUPLICATE_KEY = 11000
OUT_OF_DISK_SPACE = 14031
CHANGE_STREAM = 40573
INTERNAL = 8

_NAMES = {
    BAD_VALUE: "BadValue",
    FAILED_TO_PARSE: "FailedToParse",
    TYPE_MISMATCH: "TypeMismatch",
    ILLEGAL_OPERATION: "IllegalOperation",
    NAMESPACE_NOT_FOUND: "NamespaceNotFound",
    INDEX_NOT_FOUND: "IndexNotFound",
    PATH_NOT_VIABLE: "PathNotViable",
    CONFLICTING_UPDATE: "ConflictingUpdateOperators",
    CURSOR_NOT_FOUND: "CursorNotFound",
    NAMESPACE_EXISTS: "NamespaceExists",
    INVALID_ID: "InvalidIdField",
    COMMAND_NOT_FOUND: "CommandNotFound",
    IMMUTABLE_FIELD: "ImmutableField",
    CANNOT_CREATE_INDEX: "CannotCreateIndex",
    INVALID_OPTIONS: "InvalidOptions",
    INVALID_NAMESPACE: "InvalidNamespace",
    INDEX_OPTIONS_CONFLICT: "IndexOptionsConflict",
    INDEX_KEY_SPECS_CONFLICT: "IndexKeySpecsConflict",
    DOCUMENT_VALIDATION: "DocumentValidationFailure",
    PARALLEL_ARRAYS: "CannotIndexParallelArrays",
    NOT_IMPLEMENTED: "NotImplemented",
    OBJECT_TOO_LARGE: "Location10334",
    DUPLICATE_KEY: "DuplicateKey",
    OUT_OF_DISK_SPACE: "OutOfDiskSpace",
    CHANGE_STREAM: "Location40573",
    INTERNAL: "UnknownError",
}


class CommandError(EmbeddedError):
    """A command cannot be carried out; the client receives code and message.

    Parameters
    ----------
    code
        Number of the error in MongoDB's numbering.
    message
        What was wrong and what would be right.
    details
        Further fields of the reply, such as ``keyPattern`` of a duplicate key.
    """

    default_reason = "command"

    def __init__(self, code: int, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details or {}

    @property
    def code_name(self) -> str:
        """Name that belongs to the code."""
        return _NAMES.get(self.code, f"Location{self.code}")

    def reply(self) -> dict[str, Any]:
        """Whole reply of a failed command."""
        return {
            "ok": 0.0,
            "errmsg": self.message,
            "code": self.code,
            "codeName": self.code_name,
            **self.details,
        }

    def write_error(self, index: int) -> dict[str, Any]:
        """Entry of ``writeErrors`` for the statement of number `index`."""
        return {"index": index, "code": self.code, "errmsg": self.message, **self.details}


def unsupported(what: str) -> CommandError:
    """Refusal of something that a MongoDB server can do and this one cannot."""
    message = f"the embedded database does not support {what}; use a MongoDB server for it"
    return CommandError(NOT_IMPLEMENTED, message)
