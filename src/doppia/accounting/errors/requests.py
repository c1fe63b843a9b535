"""Refusals that any request can meet: they are about its form, its sender, and its parameters."""

from typing import Any

from doppia.accounting.errors.tree import Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unreadable


class InvalidJson(Unreadable, code="invalid_json"):
    """The body is no JSON. Send one JSON object in UTF-8."""

    message = "The body is not valid JSON: {reason}."
    reason: str


class WrongContentType(Unreadable, code="wrong_content_type"):
    """The body is declared as something other than JSON. Send `Content-Type: application/json`."""

    message = "The body is declared as {content_type!r}; send it as application/json."
    content_type: str


class BodyTooLarge(Unreadable, code="body_too_large"):
    """The body is over the limit. Split the request."""

    message = "The body is larger than {size_bytes_max:,} bytes, the limit for one request."
    size_bytes_max: int


class MethodNotAllowed(Unreadable, code="method_not_allowed"):
    """The route exists, but not with this method."""

    method: str
    allowed: list[str]

    def __str__(self) -> str:
        return f"This route does not take {self.method}; it takes {', '.join(self.allowed)}."


class KeyMissing(Unauthorized, code="key_missing"):
    """No API key came with the request, or none that can be read."""

    message = (
        "No API key was sent. Send HTTP Basic with organization_id:api_key, Basic with the key as user name, "
        "or 'Authorization: Bearer' with the key."
    )


class KeyInvalid(Unauthorized, code="key_invalid"):
    """The API key is unknown, revoked, or of another organization than the one named."""

    message = "The API key is unknown or revoked, or does not belong to the organization named with it."


class RoleInsufficient(Forbidden, code="role_insufficient"):
    """The key's role does not allow this. Use a key with the role named."""

    message = "This needs a key with the role {role_needed!r}; yours has {role!r}."
    role: str
    role_needed: str


class ParameterMissing(Invalid, code="parameter_missing"):
    """A required parameter is missing."""

    message = "{parameter} is required and missing."


class ParameterUnknown(Invalid, code="parameter_unknown"):
    """The route has no parameter or filter of this name. Most often the name is misspelt."""

    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f" Did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{self.parameter} is not a parameter of this route.{hint}"


class ParameterInvalid(Invalid, code="parameter_invalid"):
    """A parameter has a value that it can't have."""

    reason: str

    def __str__(self) -> str:
        return f"{self.parameter or 'The body'} {self.reason}."


class AmountOutOfRange(Invalid, code="amount_out_of_range"):
    """An amount is below 0 or above 10^36. The direction of an entry carries the sign."""

    nullable = frozenset({"amount"})
    amount: int

    def details(self) -> dict[str, Any]:
        """Return the amount, or None where it is too long to repeat."""
        return {"amount": self.amount if abs(self.amount) < 10**40 else None}

    def __str__(self) -> str:
        shown = self.details()["amount"] or "a number of more than 40 digits"
        return f"{self.parameter} is {shown}; an amount is a whole number of minor units from 0 to 10^36."


class InvalidCurrency(Invalid, code="invalid_currency"):
    """The currency's code or exponent is malformed, or differs from what ISO 4217 says."""

    message = "The currency {currency!r} is refused: {reason}."
    currency: str
    reason: str
    parameter: str | None = "currency"


class InvalidText(Invalid, code="invalid_text"):
    """A text is too long, or holds a NUL or a lone surrogate, which no database stores."""

    reason: str

    def __str__(self) -> str:
        return f"{self.parameter or 'The body'} {self.reason}."


class MetadataTooLarge(Invalid, code="metadata_too_large"):
    """Metadata holds too many pairs, or a key or value is too long."""

    message = (
        "{parameter} {reason}; metadata is at most 100 pairs, with keys of up to 100 "
        "and values of up to 1,000 characters."
    )
    reason: str


class InvalidCursor(Invalid, code="invalid_cursor"):
    """The cursor was not made by this service, or belongs to a list with other filters."""

    message = "after_cursor {reason}; take it from the X-After-Cursor header of a page with the same filters."
    reason: str
    parameter: str | None = "after_cursor"


class RouteNotFound(NotFound, code="route_not_found"):
    """No route has this path."""

    message = "There is no route {path}; /docs lists them."
    path: str


class ObjectNotFound(NotFound, code="object_not_found"):
    """No object of this kind has this id, among those the key may see."""

    message = "There is no {object} with the id {id!r} in this organization."
    object: str
    id: str


class IdempotencyKeyReused(Conflict, code="idempotency_key_reused"):
    """The idempotency key was consumed by a request with another body. Use a new key for a new request."""

    message = "This idempotency key was used before on this route with another body; nothing was done."
