"""One request on its way through: what a handler is given, what it gives back, and bodies read into types."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

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
from doppia.engine.posting.lanes import PostingGroups
from doppia.engine.posting.writing import Answer, Clock, Key
from doppia.proof.checkpoints import SigningKey
from doppia.store.database.connections import Database
from doppia.store.ledger import accounts, ledgers
from doppia.store.ledger.accounts import AccountFields
from doppia.store.ledger.ledgers import Owner
from doppia.store.platform.organizations import Principal
from doppia.store.posting.reading_group import ReadingGroups

BODY_BYTES_MAX: Final = 25_000_000
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
BODIES_BYTES_MAX: Final = 100_000_000
"""Of the bodies of all requests under way: what they become in memory is several times that."""
WRITES_UNDER_WAY_MAX: Final = 1_000
WAITING_SECONDS_MAX: Final = 1.0
"""For which a write beyond those waits to begin, and for which one that is refused later is held back."""
OWNERS_REMEMBERED_MAX: Final = 100_000

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode
_normalize: Final = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class Service:
    """What the handlers work with.

    Attributes:
        checkpoint_keys: that sign checkpoints, the newest first.
    """

    database: Database
    groups: PostingGroups
    clock: Clock
    authenticator: Authenticator
    checkpoint_keys: Sequence[SigningKey]
    background: Background = field(default_factory=Background)
    owners: dict[int, Owner] = field(default_factory=dict)
    body_bytes: int = 0
    accounts: ReadingGroups[AccountFields] = field(init=False)
    writes: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = ReadingGroups(self.database, accounts.get_many)
        self.writes = asyncio.Semaphore(WRITES_UNDER_WAY_MAX)

    async def begin_write(self) -> None:
        """Wait until fewer writes than the most are under way, and be one of them until `end_write`.

        Raises:
            Overloaded: that took too long.
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
        """Let the next one begin."""
        self.writes.release()

    async def owns(self, organization: UUID, ledger: int) -> bool:
        """Say whether the ledger of this number is the organization's. An answer is remembered: it never changes."""
        owner = self.owners.pop(ledger, None)
        if owner is None:
            async with self.database.connection() as connection:
                owner = await ledgers.owner(connection, ledger)
            if owner is None:
                return False
            while len(self.owners) >= OWNERS_REMEMBERED_MAX:
                del self.owners[next(iter(self.owners))]
        # Last in the dictionary is last to be forgotten, and what a request has just asked for it may rely on.
        self.owners[ledger] = owner
        return owner.organization == organization

    def ledger_id(self, ledger: int) -> str:
        """Return the id of a ledger that `owns` or `scope` has passed."""
        return self.owners[ledger].ledger_id

    async def find(self, principal: Principal, text: str, kind: str, parameter: str | None = None) -> Id:
        """Take the id of an object apart, in a ledger of the principal's organization.

        Raises:
            ObjectNotFound: it can't be an id, or its ledger is missing or another organization's.
        """
        id_ = parse_object_id(text, kind, parameter)
        owned = await self.owns(principal.organization, id_.ledger)
        if not owned or (kind == "ledger" and self.ledger_id(id_.ledger) != str(id_)):
            raise ObjectNotFound(object=kind, id=text, parameter=parameter)
        return id_

    async def scope(self, principal: Principal, named: set[int] | None) -> list[int]:
        """Return the ledgers a list spans: those of `named` that are the principal's, or all that are."""
        if named is not None:
            return [ledger for ledger in sorted(named) if await self.owns(principal.organization, ledger)]
        async with self.database.connection() as connection:
            owned = await ledgers.owned_by(connection, principal.organization)
        self.owners |= owned
        return list(owned)


@dataclass(slots=True)
class Request:
    """A request whose caller is known and whose body is read."""

    service: Service
    principal: Principal
    route: str
    path: Mapping[str, str]
    query: bytes
    content_type: str
    idempotency_key: str | None
    body: bytes

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
            body: the decoded body; two texts that say the same are the same request.

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


@dataclass(slots=True)
class Reply:
    """What a handler answers with."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def reply(answer: Answer) -> Reply:
    """Return the reply that a write's answer makes."""
    return Reply(answer.status, answer.body)


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


# Escapes of what no database stores: NUL, and halves of surrogate pairs.
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
    """Say what the decoder found; its text is the only place where it names the field."""
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
