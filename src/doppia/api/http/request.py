"""One request on its way through: what a handler is given, what it gives back, and bodies read into types."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from doppia.accounting.errors import (
    InvalidJson,
    LedgerError,
    ObjectNotFound,
    Overloaded,
    ParameterInvalid,
    ParameterMissing,
    ParameterUnknown,
    WrongContentType,
)
from doppia.accounting.ids import Id
from doppia.accounting.texts import check_text
from doppia.api.http.auth import Authenticator
from doppia.api.http.wire import parse_object_id
from doppia.engine.background.jobs import Background
from doppia.engine.performing import Engine
from doppia.engine.posting.writing import Caller, Command, Key, OrganizationCommand
from doppia.proof.checkpoints import SigningKey
from doppia.store.platform.organizations import Principal
from doppia.store.scopes import Scope, Scopes

BODY_BYTES_MAX: Final = 25_000_000
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
BODIES_BYTES_MAX: Final = 100_000_000
"""The most that the bodies of all requests under way have together; decoded, they take several times that memory."""
WRITES_UNDER_WAY_MAX: Final = 1_000
WAITING_SECONDS_MAX: Final = 1.0
"""For which a write beyond those waits to begin, and for which one that is refused later is held back."""

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode
_normalize: Final = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class Service:
    """What the handlers work with.

    Attributes:
        checkpoint_keys: the keys that sign checkpoints, the newest first.
    """

    engine: Engine
    authenticator: Authenticator
    checkpoint_keys: Sequence[SigningKey]
    background: Background = field(default_factory=Background)
    body_bytes: int = 0
    scopes: Scopes = field(init=False)
    writes: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.scopes = Scopes(self.engine.database)
        self.writes = asyncio.Semaphore(WRITES_UNDER_WAY_MAX)

    async def begin_write(self) -> None:
        """Wait until fewer than WRITES_UNDER_WAY_MAX writes are under way; then this one is, until `end_write`.

        Raises:
            Overloaded: that took longer than WAITING_SECONDS_MAX.
        """
        if not self.writes.locked():
            await self.writes.acquire()
            return
        try:
            async with asyncio.timeout(WAITING_SECONDS_MAX):
                await self.writes.acquire()
        except TimeoutError:
            raise Overloaded from None

    def end_write(self) -> None:
        """End a write, so that the next one can begin."""
        self.writes.release()


@dataclass(slots=True)
class Request:
    """A request whose caller is known and whose body is read; `scope` is what the caller may see."""

    service: Service
    principal: Principal
    route: str
    path: Mapping[str, str]
    query: bytes
    content_type: str
    idempotency_key: str | None
    body: bytes
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        self.scope = self.service.scopes.of(self.principal.organization)

    def now(self) -> datetime:
        """Return the time that the engine goes by."""
        return self.service.engine.clock()

    async def find(self, text: str, kind: str, parameter: str | None = None) -> Id:
        """Take the id of an object apart, in a ledger that the caller may see.

        Raises:
            ObjectNotFound: it can't be an id, or its ledger is missing or another organization's.
        """
        id_ = parse_object_id(text, kind, parameter)
        seen = await self.scope.sees(id_.ledger)
        if not seen or (kind == "ledger" and self.scope.ledger_id(id_.ledger) != str(id_)):
            raise ObjectNotFound(object=kind, id=text, parameter=parameter)
        return id_

    def decode(self, decoder: "BodyDecoder[T]") -> T:
        """Read the body.

        Raises:
            WrongContentType, InvalidJson, InvalidText, ParameterMissing, ParameterUnknown, ParameterInvalid.
        """
        media_type = self.content_type.partition(";")[0].strip().lower()
        if media_type != "application/json" and not (media_type == "" and not self.body):
            raise WrongContentType(content_type=self.content_type[:100] or "nothing")
        return decoder.decode(self.body)

    def key(self, body: Any = None) -> Key | None:
        """Return the idempotency key of this request, scoped to organization and route.

        Args:
            body: the decoded body. Two texts that decode to the same are the same request.

        Raises:
            ParameterInvalid: the header's value can't be a key.
        """
        if self.idempotency_key is None:
            return None
        if not 1 <= len(self.idempotency_key) <= IDEMPOTENCY_KEY_LENGTH_MAX:
            raise ParameterInvalid(
                parameter="Idempotency-Key", reason=f"must have 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} characters"
            )
        name = f"{self.principal.organization}\n{self.route}\n{self.idempotency_key}"
        request = _normalize([sorted(self.path.items()), body])
        return Key(hashlib.sha256(name.encode()).digest()[:16], hashlib.sha256(request).digest()[:16])

    def caller(self, body: Any = None) -> Caller:
        """Return in whose name a command of this request is performed; `body` as `key` takes it.

        Raises:
            ParameterInvalid.
        """
        return Caller(self.principal.key_id, self.key(body))

    async def perform(self, command: Command[T] | OrganizationCommand[T], body: Any = None) -> T:
        """Perform a command in the name of who asks, and return the object that it leaves.

        Raises:
            LedgerError: as `Engine.perform`.
        """
        return await self.service.engine.perform(self.caller(body), command)


@dataclass(slots=True)
class Reply:
    """What a handler answers with."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class BodyDecoder(Generic[T]):
    """Reads JSON bodies of one type, and says in our words what is wrong with one."""

    def __init__(self, type_: type[T], *, checks_texts: bool = True) -> None:
        """Read into `type_`; with `checks_texts` False texts are left for another decoder to check."""
        self.type = type_
        self._checks_texts = checks_texts
        self._decode = msgspec.json.Decoder(type_).decode

    def decode(self, body: bytes) -> T:
        """Read a body; an empty one counts as an empty object.

        Raises:
            InvalidJson, InvalidText, ParameterMissing, ParameterUnknown, ParameterInvalid.
        """
        body = body or b"{}"
        try:
            if self._checks_texts and b"\\u" in body and _SUSPICIOUS.search(body):
                _check_texts(json.loads(body), None)
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise _explain(str(error)) from None
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, msgspec.DecodeError) else "it is not UTF-8, or nested too deeply"
            raise InvalidJson(reason=reason.rstrip(".")) from None


# A body with an escape of what no database stores, NUL or half of a surrogate pair, is looked through text by text.
_SUSPICIOUS: Final = re.compile(
    rb"\\u0000|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}",
    re.IGNORECASE,
)


def _check_texts(value: Any, parameter: str | None) -> None:
    if isinstance(value, str):
        check_text(value, parameter)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, parameter)
            _check_texts(item, f"{parameter}.{key}" if parameter else key)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _check_texts(item, f"{parameter or ''}[{position}]")


# The decoder writes a path of field names and positions; what a caller wrote may look like one, but not end as one.
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>[\w.\[\]]*)`)?$", re.DOTALL)
_FIELD: Final = re.compile(r"Object (?P<kind>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)


def _explain(text: str) -> LedgerError:
    """Return the refusal that a message of the decoder stands for; only the message's text names the field."""
    match = _AT.match(text)
    assert match is not None, "the pattern matches every text"
    what, path = match["what"], match["path"] or None
    named = _FIELD.fullmatch(what)
    if named is not None:
        name = f"{path}.{named['name']}" if path else named["name"]
        if named["kind"] == "missing required":
            return ParameterMissing(parameter=name)
        return ParameterUnknown(parameter=name[:200])
    return ParameterInvalid(parameter=path, reason=f"is not as it should be: {what[:1].lower()}{what[1:200]}")
