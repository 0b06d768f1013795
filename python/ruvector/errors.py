"""What ruvector raises and warns about.

Every exception raised on purpose derives from `RuVectorError`, and also from the builtin that a Python
programmer would expect: a bad value is a `ValueError`, a column of the wrong type a `TypeError`, a file that
cannot be read an `OSError`. A scalar argument of the wrong type (``k="ten"``) is Python's own `TypeError`, as
it is everywhere.

All exceptions can be pickled, so they survive the way back from a worker process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AmbiguousCollection",
    "BackendError",
    "CacheMissError",
    "ConflictWarning",
    "CopyWarning",
    "DeadlineExceeded",
    "DimensionMismatch",
    "DuplicateId",
    "EmptyIndex",
    "IndexFileNotFound",
    "InvalidBundle",
    "InvalidParameter",
    "InvalidVector",
    "InvalidVectorType",
    "LakeError",
    "MissingExtra",
    "PersistError",
    "PolicyDenied",
    "RuVectorError",
    "RuVectorWarning",
    "Superseded",
    "TooLarge",
    "UnknownBackend",
    "UnknownCollection",
    "UnknownId",
    "UnsafePath",
    "Unsettled",
    "VectorIndexError",
    "WitnessMismatch",
]


class RuVectorError(Exception):
    """Everything that ruvector raises on purpose.

    Attributes
    ----------
    code
        The kind of error in snake case, the same in every release: for logs and for callers in other
        languages.
    """

    code: ClassVar[str] = "error"
    _details: ClassVar[tuple[str, ...]] = ()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keyword arguments, which `BaseException` would forget."""
        details = {name: getattr(self, name) for name in self._details}
        return partial(type(self), **details), (str(self),), self.__dict__

    @classmethod
    def of(cls, message: str, details: dict[str, Any]) -> RuVectorError:
        """Return an error of this class by its attributes, of which some may not be known."""
        return cls(message, **{name: details.get(name, _BLANK.get(name, "")) for name in cls._details})


class VectorIndexError(RuVectorError):
    """Something is wrong with an index, its vectors or a question to it.

    Also exported as ``ruvector.IndexError``, but not by ``from ruvector import *``: it would hide the
    builtin.
    """

    code = "index_error"


class DimensionMismatch(VectorIndexError, ValueError):
    """Vectors that should have the same number of dimensions do not.

    Attributes
    ----------
    expected, actual
        The two numbers of dimensions.
    """

    code = "dimension_mismatch"
    _details = ("expected", "actual")

    def __init__(self, message: str, *, expected: int, actual: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class EmptyIndex(VectorIndexError, ValueError):
    """There is no vector to build from, or nothing that tells how many dimensions there are."""

    code = "empty_index"


class InvalidVector(VectorIndexError, ValueError):
    """One row holds something that is not a vector (NaN, infinity, a null element, a wrong length), or no id.

    Attributes
    ----------
    column
        The name of the column.
    row
        The row, counted from 0 over all chunks.
    """

    code = "invalid_vector"
    _details = ("column", "row")

    def __init__(self, message: str, *, column: str, row: int) -> None:
        super().__init__(message)
        self.column = column
        self.row = row


class InvalidVectorType(VectorIndexError, TypeError):
    """An argument is not a column of vectors, or not a column of ids.

    Attributes
    ----------
    column
        The name of the column.
    expected, actual
        The types that would do, and the type that was found.
    """

    code = "invalid_vector_type"
    _details = ("column", "expected", "actual")

    def __init__(self, message: str, *, column: str, expected: str, actual: str) -> None:
        super().__init__(message)
        self.column = column
        self.expected = expected
        self.actual = actual


class InvalidParameter(VectorIndexError, ValueError):
    """An argument has a value that cannot be meant.

    Attributes
    ----------
    name
        The name of the argument.
    expected, actual
        The values that would do, and the value that was found, as text.
    """

    code = "invalid_parameter"
    _details = ("name", "expected", "actual")

    def __init__(self, message: str, *, name: str, expected: str, actual: str) -> None:
        super().__init__(message)
        self.name = name
        self.expected = expected
        self.actual = actual


class DuplicateId(VectorIndexError, ValueError):
    """Two rows carry the same id.

    Attributes
    ----------
    id
        The id, as text.
    rows
        The two rows, the earlier one first.
    """

    code = "duplicate_id"
    _details = ("id", "rows")

    def __init__(self, message: str, *, id: str, rows: tuple[int, int]) -> None:
        super().__init__(message)
        self.id = id
        self.rows = rows


class UnknownId(VectorIndexError, KeyError):
    """No row of the index carries this id.

    Attributes
    ----------
    id
        The id, as text.
    """

    code = "unknown_id"
    _details = ("id",)

    def __init__(self, message: str, *, id: str) -> None:
        super().__init__(message)
        self.id = id

    def __str__(self) -> str:
        """Return the message as it is: `KeyError` would quote it."""
        return str(self.args[0])


Reason = Literal["io", "not_arrow", "not_an_index", "unsupported_version", "digest_mismatch", "corrupt"]


class PersistError(VectorIndexError, OSError):
    """A file cannot be read or written, or is not an index.

    Attributes
    ----------
    path
        The file.
    reason
        ``"io"`` (then `errno` says more), ``"not_arrow"``, ``"not_an_index"``, ``"unsupported_version"``,
        ``"digest_mismatch"`` or ``"corrupt"``.
    """

    code = "persist_error"
    _details: ClassVar[tuple[str, ...]] = ("path", "reason", "errno")

    def __init__(self, message: str, *, path: str, reason: Reason, errno: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason
        self.errno = errno
        self.filename = path

    def __str__(self) -> str:
        """Return the message alone: `OSError` would write its own."""
        return str(self.args[0])


class IndexFileNotFound(PersistError, FileNotFoundError):
    """There is no such file."""

    code = "index_file_not_found"
    _details = ("path", "errno")

    def __init__(self, message: str, *, path: str, errno: int | None = None) -> None:
        super().__init__(message, path=path, reason="io", errno=errno)


class LakeError(RuVectorError):
    """Something is wrong with a lake, a backend of it, a bundle, or a question to it.

    Attributes
    ----------
    retryable
        Whether the same call may succeed later without anything being changed.
    """

    code = "lake_error"
    retryable: bool = False


class UnknownBackend(LakeError, LookupError):
    """No backend of this name is registered.

    Attributes
    ----------
    backend
        The name.
    known
        The names that are registered.
    """

    code = "unknown_backend"
    _details = ("backend", "known")

    def __init__(self, message: str, *, backend: str, known: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.backend = backend
        self.known = tuple(known)


class UnknownCollection(LakeError, LookupError):
    """A backend does not have this collection, or none has.

    Attributes
    ----------
    backend
        The backend; several, with commas between them, where none was named.
    collection
        The collection.
    """

    code = "unknown_collection"
    _details = ("backend", "collection")

    def __init__(self, message: str, *, backend: str, collection: str) -> None:
        super().__init__(message)
        self.backend = backend
        self.collection = collection


class AmbiguousCollection(LakeError, ValueError):
    """Several backends have a collection of this name, and none was named.

    Attributes
    ----------
    collection
        The collection.
    backends
        Who has it.
    """

    code = "ambiguous_collection"
    _details = ("collection", "backends")

    def __init__(self, message: str, *, collection: str, backends: Sequence[str]) -> None:
        super().__init__(message)
        self.collection = collection
        self.backends = tuple(backends)


class CacheMissError(LakeError, LookupError):
    """Only the cache was asked, and it does not have the collection.

    Attributes
    ----------
    backend, collection
        The collection.
    """

    code = "cache_miss"
    retryable = True
    _details = ("backend", "collection")

    def __init__(self, message: str, *, backend: str, collection: str) -> None:
        super().__init__(message)
        self.backend = backend
        self.collection = collection


class BackendError(LakeError):
    """A backend could not do what it was asked for.

    An exception of an adapter in Python is the ``__cause__``.

    Attributes
    ----------
    backend
        The backend.
    retryable
        Whether asking again may help.
    """

    code = "backend_error"
    _details = ("backend", "retryable")

    def __init__(self, message: str, *, backend: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.backend = backend
        self.retryable = retryable


class DeadlineExceeded(LakeError, TimeoutError):
    """A backend did not answer in time. What it is doing goes on, and fills the cache.

    Attributes
    ----------
    backend, collection
        The collection.
    seconds
        The time there was.
    """

    code = "deadline_exceeded"
    retryable = True
    _details = ("backend", "collection", "seconds")

    def __init__(self, message: str, *, backend: str, collection: str, seconds: float) -> None:
        super().__init__(message)
        self.backend = backend
        self.collection = collection
        self.seconds = seconds

    def __str__(self) -> str:
        """Return the message alone: `OSError` would write its own."""
        return str(self.args[0])


class Unsettled(LakeError):
    """A collection changed during every pull.

    Attributes
    ----------
    backend, collection
        The collection.
    attempts
        How often it was pulled.
    """

    code = "unsettled"
    retryable = True
    _details = ("backend", "collection", "attempts")

    def __init__(self, message: str, *, backend: str, collection: str, attempts: int) -> None:
        super().__init__(message)
        self.backend = backend
        self.collection = collection
        self.attempts = attempts


class Superseded(LakeError):
    """The rows that were asked for are of a state that the backend does not have any more.

    Attributes
    ----------
    backend, collection
        The collection.
    expected, actual
        The states that were wanted and found, as text.
    """

    code = "superseded"
    retryable = True
    _details = ("backend", "collection", "expected", "actual")

    def __init__(self, message: str, *, backend: str, collection: str, expected: str, actual: str) -> None:
        super().__init__(message)
        self.backend = backend
        self.collection = collection
        self.expected = expected
        self.actual = actual


class WitnessMismatch(LakeError, ValueError):
    """A digest or a signature is not that of what it is said to be of.

    Attributes
    ----------
    what
        The file, and which of its fields.
    expected, actual
        What was written, and what is there.
    """

    code = "witness_mismatch"
    _details = ("what", "expected", "actual")

    def __init__(self, message: str, *, what: str, expected: str, actual: str) -> None:
        super().__init__(message)
        self.what = what
        self.expected = expected
        self.actual = actual


class InvalidBundle(LakeError, ValueError):
    """A file is no bundle, or not what a backend may read.

    Attributes
    ----------
    path
        The file.
    reason
        What is wrong with it.
    """

    code = "invalid_bundle"
    _details = ("path", "reason")

    def __init__(self, message: str, *, path: str, reason: str) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason


class UnsafePath(LakeError, ValueError):
    """A name leads out of the folder that it must stay in.

    Attributes
    ----------
    name
        The name.
    reason
        Why it is refused.
    """

    code = "unsafe_path"
    _details = ("name", "reason")

    def __init__(self, message: str, *, name: str, reason: str) -> None:
        super().__init__(message)
        self.name = name
        self.reason = reason


class TooLarge(LakeError, ValueError):
    """Something is larger than it may be.

    Attributes
    ----------
    what
        What was counted.
    limit, actual
        The largest number, and the number that was found.
    """

    code = "too_large"
    _details = ("what", "limit", "actual")

    def __init__(self, message: str, *, what: str, limit: int, actual: int) -> None:
        super().__init__(message)
        self.what = what
        self.limit = limit
        self.actual = actual


class PolicyDenied(LakeError, PermissionError):
    """The lake's policy does not allow it. An exception of the policy itself is the ``__cause__``.

    Attributes
    ----------
    principal
        Who asked; None where nobody is named.
    backend, collection
        The collection.
    action
        What was asked for: ``"search"``, ``"pull"``, ``"scan"``, ``"publish"`` or ``"save"``.
    """

    code = "policy_denied"
    _details = ("principal", "backend", "collection", "action")

    def __init__(
        self, message: str, *, principal: str | None, backend: str, collection: str, action: str
    ) -> None:
        super().__init__(message)
        self.principal = principal
        self.backend = backend
        self.collection = collection
        self.action = action

    def __str__(self) -> str:
        """Return the message alone: `OSError` would write its own."""
        return str(self.args[0])


class MissingExtra(LakeError, ImportError):
    """An optional package is needed that is not installed.

    Attributes
    ----------
    package
        The package.
    extra
        The extra of this package that brings it.
    """

    code = "missing_extra"
    _details = ("package", "extra")

    def __init__(self, message: str, *, package: str, extra: str) -> None:
        super().__init__(message)
        self.package = package
        self.extra = extra


# What stands for an attribute that a server did not tell; where nothing is said, the empty text does.
_BLANK: dict[str, Any] = {
    "known": (),
    "backends": (),
    "rows": (0, 0),
    "row": 0,
    "errno": None,
    "principal": None,
    "retryable": False,
}


def told(name: str, message: str, details: dict[str, Any]) -> RuVectorError:
    """Return what a server refused: of the class that it names, with the attributes that it tells."""
    found: object = globals().get(name)
    if not (isinstance(found, type) and issubclass(found, RuVectorError)):
        return RuVectorError(message)
    return found.of(message, details)


class RuVectorWarning(UserWarning):
    """Everything that ruvector warns about."""


class CopyWarning(RuVectorWarning):
    """A column had to be copied: its memory is not aligned to its type."""


class ConflictWarning(RuVectorWarning):
    """Another distribution that installs a package named ``ruvector`` lies in the same place."""
