"""The language of stories: plain text that an accountant can read, and that a ledger must follow.

Each line is an event, `#` begins a comment, and an indented line continues the event above it. Amounts are decimals in
the account's currency. What an event must lead to stands after the arrow.

    unit     PTS 0                                     a custom unit, with its decimals
    account  maria   PHP credit "Maria's wallet"       an account, with its currency and its normal side

    post     top-up  Dr cash  500.00  Cr maria  500.00                          -> posted
    hold     ride    Dr maria 200.00 (available >= 0.00)  Cr driver 200.00      -> pending
    amend    ride    Dr maria 190.00  Cr driver 190.00                          -> pending
    take     ride as first-half  Dr maria 90.00  Cr driver 90.00                -> posted
    capture  ride    Dr maria 85.00  Cr driver 85.00                            -> posted
    release  ride                                                               -> refused transaction_final
    reverse  top-up as mistake                                                  -> posted
    repeat   top-up                                                             -> replayed

    balance  maria   posted -175.00  pending -175.00  available -175.00

- `post` and `hold` create a transaction, posted or pending. `capture` posts a pending one, `release` archives it, and
  `amend` leaves it pending with new legs; `capture` takes new legs too, or posts those it has.
- `take` posts a part of a pending transaction as a transaction of its own, whose name stands after `as`; the rest stays
  pending.
- A hold with `for 1s` behind its name expires after that many seconds. `lapse` waits until it has expired.
- `reverse` undoes a posted transaction by a new one, whose name stands after `as`. With `held` behind the name, the new
  one is pending.
- `repeat` sends the request that created a transaction once more, with the same idempotency key. With legs or a
  description of its own it is another request with that key. A refused request consumed no key, so to repeat it is a
  new attempt.
- A leg may carry guards in brackets: (available >= 0.00), also on `posted` and `pending`, with > >= = != <= <. It may
  ask for a lock version: (lock_version = 3). A quoted text is the description, and name=value is metadata.
- The outcome is `posted`, `pending`, `archived`, `replayed`, or `refused` with the refusal's code.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypedDict

from doppia.accounting.errors import LedgerError
from doppia.accounting.ledger.accounts import Account
from doppia.accounting.ledger.balances import NOTHING, BalanceName, Direction
from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import Comparison, Draft, Guard, Leg, Status
from doppia.accounting.money import Currency, currency, parse_amount


class StoryError(Exception):
    """The text of a story can't be read; the sentence says where and why."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a story.

    Attributes:
        line: the number of the event's first line, from 1.
        text: the words of the event, without its outcome.
    """

    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Open(Event):
    """An account is opened. Its id is the name that the story gives it."""

    account: Account
    description: str | None


@dataclass(frozen=True, kw_only=True)
class Act(Event):
    """An event that creates or changes a transaction.

    Attributes:
        handle: the name that the story gives the transaction.
        key: the idempotency key of the request.
        expected: the outcome that the story says.
    """

    handle: str
    key: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class Create(Act):
    """A new transaction; it expires after the time `lasts`, or never where that is None."""

    draft: Draft
    lasts: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Revise(Act):
    """A change to a pending transaction."""

    revision: Revision


@dataclass(frozen=True, kw_only=True)
class Reverse(Act):
    """A new transaction that reverses the one called `original`."""

    original: str
    draft: Draft


@dataclass(frozen=True, kw_only=True)
class Take(Act):
    """A new transaction that posts a part of the pending one called `original`."""

    original: str
    draft: Draft


@dataclass(frozen=True, kw_only=True)
class Lapse(Act):
    """The end of a pending transaction that expires; `lasts` is the time after which it was to expire."""

    lasts: timedelta


@dataclass(frozen=True, kw_only=True)
class Check(Event):
    """A test of an account: its balances must be these amounts, in minor units."""

    account: Account
    amounts: Mapping[BalanceName, int]


AnyAct = Create | Revise | Reverse | Take | Lapse
AnyEvent = Open | AnyAct | Check


class Story(NamedTuple):
    """A story with its events in order. The title is the story's first comment."""

    name: str
    title: str
    events: tuple[AnyEvent, ...]


BALANCES: Final[tuple[BalanceName, ...]] = ("posted", "pending", "available")

_TOKEN: Final = re.compile(r'\s+|#.*|(?P<word>[^\s"()=]+="[^"]*"|"[^"]*"|\([^()]*\)|[^\s"()]+)')
_GUARD: Final = re.compile(r"\((posted|pending|available|lock_version) +(>=|>|=|!=|<=|<) +(\S+)\)")
_COMPARISONS: Final[Mapping[str, Comparison]] = {
    ">": "gt",
    ">=": "gte",
    "=": "eq",
    "!=": "not_eq",
    "<=": "lte",
    "<": "lt",
}
_OUTCOME: Final = re.compile(r"posted|pending|archived|replayed|refused [a-z_]+")
_SIDES: Final[Mapping[str, Direction]] = {"Dr": "debit", "Cr": "credit"}
_CREATED_AS: Final[Mapping[str, Status]] = {"post": "posted", "hold": "pending"}
_REVISED_TO: Final[Mapping[str, Status]] = {"amend": "pending", "capture": "posted", "release": "archived"}
_ACTS: Final = {*_CREATED_AS, *_REVISED_TO, "reverse", "repeat", "take", "lapse"}
_SECONDS: Final = re.compile(r"([1-9]\d*)s", re.ASCII)


def parse(name: str, text: str) -> Story:
    """Read a story.

    Raises:
        StoryError: at the first line that can't be read.
    """
    title = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), name)
    reader = _Reader()
    for line, words in _sentences(name, text):
        try:
            reader.read(line, words)
        except (ValueError, LedgerError) as error:
            raise StoryError(f"{name}, line {line}: {str(error).rstrip('.')}.") from error
    return Story(name, title, tuple(reader.events))


def _sentences(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each event with the number of its first line."""
    line, words = 0, list[str]()
    for number, row in enumerate(text.splitlines(), 1):
        found = []
        place = 0
        while place < len(row):
            token = _TOKEN.match(row, place)
            if token is None:
                raise StoryError(f"{name}, line {number}: a quote or bracket from column {place + 1} on is not closed.")
            if token["word"]:
                found.append(token["word"])
            place = token.end()
        if found and not row[0].isspace():
            if words:
                yield line, words
            line, words = number, []
        words += found
    if words:
        yield line, words


class _Said(TypedDict, total=False):
    """What the words of an act say about a transaction; what they don't mention is missing."""

    legs: list[Leg]
    description: str
    metadata: dict[str, str]


class _Reader:
    """The reader reads one event after the other, and knows what the events before have declared."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self._units: dict[str, Currency] = {}
        self._accounts: dict[str, Account] = {}
        self._asked: dict[str, Create | Reverse | Take] = {}
        self._accepted: set[str] = set()

    def read(self, line: int, words: list[str]) -> None:
        words, expected = _split_outcome(words)
        if len(words) == 1:
            raise ValueError(f"{words[0]!r} stands alone")
        verb, name, *rest = words
        place = {"line": line, "text": " ".join(words)}
        if verb == "unit":
            self._declare(name, rest)
        elif verb == "account":
            self.events.append(self._open(place, name, rest))
        elif verb == "balance":
            self.events.append(self._check(place, name, rest))
        elif verb in _ACTS:
            if expected is None or not _OUTCOME.fullmatch(expected):
                raise ValueError("what must come of it is missing, such as '-> posted' or '-> refused unbalanced'")
            act = self._act(verb, {**place, "handle": name, "expected": expected}, rest)
            self.events.append(act)
            if expected in ("posted", "pending", "archived"):
                self._accepted.add(act.handle)
        else:
            raise ValueError(f"{verb!r} is not what an event begins with")

    def _declare(self, code: str, rest: list[str]) -> None:
        if len(rest) != 1 or not rest[0].isdecimal():
            raise ValueError("a unit is written 'unit CODE DECIMALS'")
        self._units[code] = currency(code, int(rest[0]))

    def _open(self, place: dict[str, Any], name: str, rest: list[str]) -> Open:
        if name in self._accounts:
            raise ValueError(f"there is another account called {name}")
        if len(rest) not in (2, 3) or rest[1] not in ("debit", "credit"):
            raise ValueError("an account is written 'account NAME UNIT debit', or 'credit', with a quoted description")
        code, side, *description = rest
        declared = self._units.get(code)
        normal_balance: Direction = "debit" if side == "debit" else "credit"
        sequence = len(self._accounts) + 1
        account = Account(name, sequence, declared or currency(code, None), normal_balance, True, 0, NOTHING)
        self._accounts[name] = account
        return Open(**place, account=account, description=description[0].strip('"') if description else None)

    def _check(self, place: dict[str, Any], name: str, rest: list[str]) -> Check:
        account = self._account(name)
        names, amounts = rest[::2], rest[1::2]
        if not rest or len(names) != len(amounts) or not set(names) <= set(BALANCES):
            raise ValueError("balances are written 'posted AMOUNT', 'pending AMOUNT', 'available AMOUNT'")
        exponent = account.currency.exponent
        expected: Any = {name: parse_amount(amount, exponent) for name, amount in zip(names, amounts, strict=True)}
        return Check(**place, account=account, amounts=expected)

    def _act(self, verb: str, fields: dict[str, Any], rest: list[str]) -> AnyAct:
        handle = fields["handle"]
        if verb == "repeat":
            return self._repeat(fields, self._said(rest))
        if verb in _REVISED_TO:
            self._check_accepted(handle)
            revision = Revision(status=_REVISED_TO[verb], **self._said(rest))
            return Revise(**fields, key=f"{verb}-{handle}-{fields['line']}", revision=revision)
        if verb == "lapse":
            return self._lapse(fields, rest)
        asked = self._create(verb, fields, rest) if verb in _CREATED_AS else self._follow(verb, fields, rest)
        if asked.handle in self._asked:
            raise ValueError(f"there is another transaction called {asked.handle}")
        self._asked[asked.handle] = asked
        return asked

    def _create(self, verb: str, fields: dict[str, Any], rest: list[str]) -> Create:
        lasts = None
        if verb == "hold" and rest[:1] == ["for"]:
            lasts, rest = _seconds(rest[1:2]), rest[2:]
        draft = Draft([], _CREATED_AS[verb])._replace(**self._said(rest))
        return Create(**fields, key=fields["handle"], draft=draft, lasts=lasts)

    def _follow(self, verb: str, fields: dict[str, Any], rest: list[str]) -> Reverse | Take:
        """Read an act that makes a new transaction of another one."""
        original = fields["handle"]
        self._check_accepted(original)
        if len(rest) < len(("as", "NAME")) or rest[0] != "as":
            what = "reversal" if verb == "reverse" else "partial post"
            raise ValueError(f"a {what} is written '{verb} ORIGINAL as NAME'")
        _, handle, *rest = rest
        fields = {**fields, "handle": handle, "key": handle, "original": original}
        if verb == "take":
            return Take(**fields, draft=Draft([], "posted")._replace(**self._said(rest)))
        held = rest[:1] == ["held"]
        said = self._said(rest[held:])
        if "legs" in said:
            raise ValueError("a reversal moves back what its original moved, and is written without legs")
        return Reverse(**fields, draft=Draft((), "pending" if held else "posted")._replace(**said))

    def _lapse(self, fields: dict[str, Any], rest: list[str]) -> Lapse:
        handle = fields["handle"]
        self._check_accepted(handle)
        hold = self._asked[handle]
        if not isinstance(hold, Create) or hold.lasts is None or rest:
            raise ValueError("what lapses is a hold with 'for 1s' behind its name, and is written 'lapse NAME'")
        return Lapse(**fields, key=f"lapse-{handle}-{fields['line']}", lasts=hold.lasts)

    def _repeat(self, fields: dict[str, Any], said: _Said) -> Create | Reverse | Take:
        first = self._asked.get(fields["handle"])
        if first is None:
            raise ValueError(f"nothing before it created {fields['handle']}")
        return replace(first, **fields, draft=first.draft._replace(**said))

    def _check_accepted(self, handle: str) -> None:
        if handle not in self._accepted:
            raise ValueError(f"no transaction called {handle} was accepted before it")

    def _account(self, name: str) -> Account:
        if name not in self._accounts:
            raise ValueError(f"there is no account {name}")
        return self._accounts[name]

    def _said(self, words: list[str]) -> _Said:
        """Return what the words say about a transaction."""
        said: _Said = {}
        rest = iter(words)
        for word in rest:
            if word in _SIDES:
                account, amount = self._account(next(rest, "")), next(rest, "")
                minor_units = parse_amount(amount, account.currency.exponent)
                leg = Leg(account.sequence, account.id, _SIDES[word], minor_units)
                said.setdefault("legs", []).append(leg)
            elif word.startswith("(") and "legs" in said:
                said["legs"][-1] = self._guarded(said["legs"][-1], word)
            elif word.startswith('"'):
                said["description"] = word.strip('"')
            elif "=" in word and "(" not in word:
                name, _, value = word.partition("=")
                said.setdefault("metadata", {})[name] = value.strip('"')
            else:
                raise ValueError(f"{word!r} can't be read here")
        return said

    def _guarded(self, leg: Leg, word: str) -> Leg:
        match = _GUARD.fullmatch(word)
        if match is None:
            raise ValueError(f"{word} is no guard such as (available >= 0.00) or (lock_version = 3)")
        subject, sign, bound = match.groups()
        if subject == "lock_version":
            return leg._replace(lock_version=int(bound))
        exponent = self._account(leg.account_id).currency.exponent
        guard = Guard(subject, _COMPARISONS[sign], parse_amount(bound, exponent))  # type: ignore[arg-type] # the pattern knows three
        return leg._replace(guards=(*leg.guards, guard))


def _seconds(words: list[str]) -> timedelta:
    match = _SECONDS.fullmatch("".join(words))
    if match is None:
        raise ValueError("how long a hold lasts is written in seconds, such as 'for 1s'")
    return timedelta(seconds=int(match[1]))


def _split_outcome(words: list[str]) -> tuple[list[str], str | None]:
    """Return an event's words without the arrow and the outcome, and the outcome; None where there is no arrow."""
    if "->" not in words:
        return words, None
    arrow = words.index("->")
    end = arrow + (3 if words[arrow + 1 : arrow + 2] == ["refused"] else 2)
    return words[:arrow] + words[end:], " ".join(words[arrow + 1 : end])
