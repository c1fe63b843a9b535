"""Refusals on the wire: the status of each, as one table, and the error object."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from doppia.accounting import errors
from doppia.accounting.errors import LedgerError

RETRY_AFTER_SECONDS: Final = 1

# The status and the format's own coarse code of a refusal are those of its class, or of the nearest class above it that
# stands here. Failed locks and reused keys are 422 and not 409: the official clients repeat a 409 by themselves.
STATUS_AND_CODE: Final[dict[type[LedgerError], tuple[int, str]]] = {
    errors.Unreadable: (400, "parameter_invalid"),
    errors.WrongContentType: (415, "header_invalid"),
    errors.BodyTooLarge: (413, "parameter_invalid"),
    errors.MethodNotAllowed: (405, "not_found"),
    errors.Unauthorized: (401, "invalid_key"),
    errors.Forbidden: (403, "forbidden"),
    errors.Invalid: (422, "parameter_invalid"),
    errors.ParameterMissing: (422, "parameter_missing"),
    errors.NotFound: (404, "resource_not_found"),
    errors.RouteNotFound: (404, "not_found"),
    errors.Conflict: (422, "conflict"),
    errors.Refused: (422, "parameter_invalid"),
    errors.TryAgain: (503, "too_many_requests"),
}


class ErrorDetail(msgspec.Struct):
    """What was wrong: `code` is the format's coarse one, `refusal` our exact one with its typed fields."""

    code: str
    message: str
    parameter: str | None
    refusal: dict[str, Any]


class ErrorBody(msgspec.Struct):
    """The body of every answer that is no success; `index` is that of the transaction that refuses an atomic batch."""

    errors: ErrorDetail
    index: int | UnsetType = UNSET


def refusals(root: type[LedgerError] = LedgerError) -> list[type[LedgerError]]:
    """Return every refusal with a code of its own, in the order of the tree."""
    leaves = [root] if "code" in vars(root) else []
    return leaves + [leaf for branch in root.__subclasses__() for leaf in refusals(branch)]


def status_and_code(kind: type[LedgerError]) -> tuple[int, str]:
    """Return the status and the coarse code of a refusal."""
    return next(STATUS_AND_CODE[branch] for branch in kind.__mro__ if branch in STATUS_AND_CODE)


def error_detail(refusal: LedgerError) -> tuple[int, ErrorDetail]:
    """Return the status of a refusal and what its error object says."""
    status, code = status_and_code(type(refusal))
    details = {"code": refusal.code, "retryable": refusal.retryable, **refusal.details()}
    return status, ErrorDetail(code, str(refusal), refusal.parameter, details)


def internal_error() -> ErrorDetail:
    """Return the error object of a fault of ours, which says nothing about the fault: the service's log does."""
    message = "The service failed to handle this request; its log says why. Whether a write happened, its key tells."
    return ErrorDetail("internal_error", message, None, {"code": "internal_error", "retryable": False})


def error_headers(status: int) -> dict[str, str]:
    """Return the headers that an error of this status must have."""
    if status == 401:  # noqa: PLR2004 - HTTP's own number
        return {"WWW-Authenticate": 'Basic realm="doppia", Bearer'}
    if status == 503:  # noqa: PLR2004
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}
