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
"""The most that the bodies of all requests under way have together; decoded, they take several times that memory."""
WRITES_UNDER_WAY_MAX: Final = 1_000
WAITING_SECONDS_MAX: Final = 1.0
"""A write beyond WRITES_UNDER_WAY_MAX waits this long to begin before it is refused. A write that its ledger's queue
refuses is answered this much later, so that its caller does not ask again at once."""
OWNERS_REMEMBERED_MAX: Final = 100_000

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode
_normalize: Final = msgspec.json.Encoder(order="sorted").encode


@dataclass(slots=True)
class Service:
    """What the handlers work with.

    Attributes:
        groups: post what is submitted to each ledger, in groups.
        checkpoint_keys: the keys that sign checkpoints, the newest first.
        owners: who owns a ledger, by the ledger's number, as far as it has been asked for.
        body_bytes: the size of the bodies of all requests under way.
        accounts: reads accounts in groups.
        writes: how many more writes may begin.
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

    async def owns(self, organization: UUID, ledger: int) -> bool:
        """Say whether the ledger of this number is the organization's, and remember it: the answer never changes."""
        owner = self.owners.pop(ledger, None)
        if owner is None:
            async with self.database.connection() as connection:
                owner = await ledgers.owner(connection, ledger)
            if owner is None:
                return False
            while len(self.owners) >= OWNERS_REMEMBERED_MAX:
                del self.owners[next(iter(self.owners))]
        # What stands first in the dictionary is forgotten first. A request relies on what it has just asked for: that
        # goes to the end.
        self.owners[ledger] = owner
        return owner.organization == organization

    def ledger_id(self, ledger: int) -> str:
        """Return the id of a ledger of which `owns` or `scope` has just said that it is the organization's."""
        return self.owners[ledger].ledger_id

    async def find(self, principal: Principal, text: str, kind: str, parameter: str | None = None) -> Id:
        """Read the id of an object, whose ledger is one of the principal's organization.

        Raises:
            ObjectNotFound: the text can't be an id, or its ledger is missing or another organization's.
        """
        id_ = parse_object_id(text, kind, parameter)
        owned = await self.owns(principal.organization, id_.ledger)
        if not owned or (kind == "ledger" and self.ledger_id(id_.ledger) != str(id_)):
            raise ObjectNotFound(object=kind, id=text, parameter=parameter)
        return id_

    async def scope(self, principal: Principal, named: set[int] | None) -> list[int]:
        """Return the numbers of the ledgers that a list spans.

        These are ledgers of the principal's organization: those that `named` holds, or all where it is None.
        """
        if named is not None:
            return [ledger for ledger in sorted(named) if await self.owns(principal.organization, ledger)]
        async with self.database.connection() as connection:
            owned = await ledgers.owned_by(connection, principal.organization)
        self.owners |= owned
        return list(owned)


@dataclass(slots=True)
class Request:
    """A request whose caller is known and whose body is read.

    Attributes:
        route: the method and the path as they stand in the table of routes.
        path: the parameters in the path, by name.
        content_type: the header's value; empty where there was none.
        idempotency_key: the header's value; None where there was none, or where the route writes nothing.
    """

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


@dataclass(slots=True)
class Reply:
    """What a handler answers with."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def reply(answer: Answer) -> Reply:
    """Return the reply that tells a write's answer."""
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
