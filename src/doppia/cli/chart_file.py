"""Charts of accounts as YAML files.

    ledger: Wallets                       the ledger's name or id, unless `--ledger` names another one
    currency: EUR                         the currency of all that names no other

    categories:
      - external_id: assets
        name: Assets
        normal_balance: debit             holds for what stands below as well, unless that names another
        categories:
          - external_id: cash
            name: Cash and banks
            accounts:
              - external_id: bank-1
                name: House bank
                metadata: {iban: DE02120300000000202051}
                in: [liquid]              further categories, by external_id
      - external_id: liquid
        name: Liquid funds
        normal_balance: debit

    accounts: []                          accounts in no category, or only in those that `in` names

Every value is a text, whatever YAML would take it for: `name: 2026` and `currency: NO` mean what they show.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import yaml

from doppia.accounting.errors import LedgerError
from doppia.accounting.ledger.balances import Direction
from doppia.accounting.ledger.categories import check_categories_of_account, check_nesting
from doppia.accounting.money import Currency, currency
from doppia.accounting.texts import EXTERNAL_ID_LENGTH_MAX, NAME_LENGTH_MAX, check_metadata, check_text
from doppia.cli import CommandError

Kind = Literal["category", "account"]


class ChartError(CommandError):
    """A chart can't be read or applied; the sentence says where in the file, and what would be right."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A category or an account that a file describes.

    Attributes:
        where: its place in the file, as error messages begin.
        fields: name, description and metadata, as far as they are given.
        parents: external ids of the categories that it is directly in.
    """

    where: str
    kind: Kind
    external_id: str
    currency: Currency
    normal_balance: Direction
    fields: Mapping[str, Any]
    parents: Sequence[str]


class ChartFile(NamedTuple):
    """What a file describes: the ledger's name or id, and categories and accounts by external id."""

    ledger: str | None
    categories: Mapping[str, Entry]
    accounts: Mapping[str, Entry]


class _Inherited(NamedTuple):
    """What holds for an entry where it names no value of its own: the values of its category, or of the file."""

    currency: str | None
    currency_exponent: str | None
    normal_balance: str | None
    parents: tuple[str, ...]


_UNIT: Final = ("currency", "currency_exponent")
_FILE: Final = ("ledger", *_UNIT, "categories", "accounts")
_ACCOUNT: Final = ("external_id", "name", "description", *_UNIT, "normal_balance", "metadata", "in")
_CATEGORY: Final = (*_ACCOUNT, "categories", "accounts")


def read(path: Path) -> ChartFile:
    """Read a chart of accounts.

    Raises:
        ChartError: the file can't be read, or what it describes can't be.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ChartError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ChartError(f"{path} can't be read: it is not UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ChartError(f"{path}, line {line}: this is no YAML: {error.problem}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise ChartError(f"{path} is no YAML: {reason}.") from None
    if node is None:
        raise ChartError(f"{path} is empty; it describes a chart by `ledger`, `categories` and `accounts`.")
    return _Reader(path).chart(node)


class _Reader:
    """Reads one file; all its errors name the line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[int] = set()
        self._entries: dict[Kind, dict[str, Entry]] = {"category": {}, "account": {}}

    def chart(self, node: yaml.Node) -> ChartFile:
        """Read the whole file."""
        fields = self._mapping(node, _FILE)
        ledger = self._text(fields["ledger"], "ledger", NAME_LENGTH_MAX) if "ledger" in fields else None
        inherited = _Inherited(self._plain(fields, "currency"), self._plain(fields, "currency_exponent"), None, ())
        self._below(fields, inherited)
        self._check()
        return ChartFile(ledger, self._entries["category"], self._entries["account"])

    def _below(self, fields: Mapping[str, yaml.Node], inherited: _Inherited) -> None:
        for node in self._list(fields, "accounts"):
            self._entry(node, "account", inherited)
        for node in self._list(fields, "categories"):
            self._entry(node, "category", inherited)

    def _entry(self, node: yaml.Node, kind: Kind, above: _Inherited) -> None:
        fields = self._mapping(node, _CATEGORY if kind == "category" else _ACCOUNT)
        for name in ("external_id", "name"):
            if name not in fields:
                raise self._error(node, f"this {kind} has no {name}; it needs one")
        external_id = self._text(fields["external_id"], "external_id", EXTERNAL_ID_LENGTH_MAX)
        before = self._entries[kind].get(external_id)
        if before is not None:
            raise self._error(
                node, f"{before.where} has this external_id; what is in several categories stands once, with `in`"
            )
        own = "currency" in fields
        unit = _Inherited(
            self._plain(fields, "currency") if own else above.currency,
            self._plain(fields, "currency_exponent")
            if own or "currency_exponent" in fields
            else above.currency_exponent,
            self._plain(fields, "normal_balance") if "normal_balance" in fields else above.normal_balance,
            (external_id,),
        )
        where = f"{self._path}, line {node.start_mark.line + 1}, {kind} {external_id!r}"
        parents = [
            *above.parents,
            *(self._text(name, "in", EXTERNAL_ID_LENGTH_MAX) for name in self._list(fields, "in")),
        ]
        with _in_words(where):
            self._entries[kind][external_id] = Entry(
                where=where,
                kind=kind,
                external_id=external_id,
                currency=self._unit(unit, where),
                normal_balance=_side(unit.normal_balance, where),
                fields=self._given(fields),
                parents=list(dict.fromkeys(parents)),
            )
        if kind == "category":
            self._below(fields, unit)

    def _unit(self, unit: _Inherited, where: str) -> Currency:
        if unit.currency is None:
            raise ChartError(f"{where}: it needs a currency, its own, its category's or the file's.")
        exponent = unit.currency_exponent
        if exponent is not None and not (exponent.isascii() and exponent.isdigit() and len(exponent) <= 2):  # noqa: PLR2004
            raise ChartError(f"{where}: currency_exponent is a whole number from 0 to 30, not {exponent!r}.")
        return currency(unit.currency, None if exponent is None else int(exponent))

    def _given(self, fields: Mapping[str, yaml.Node]) -> dict[str, Any]:
        given: dict[str, Any] = {"name": self._text(fields["name"], "name", NAME_LENGTH_MAX)}
        if "description" in fields:
            given["description"] = text = self._scalar(fields["description"], "description")
            if text is not None and len(text) > NAME_LENGTH_MAX:
                raise self._error(
                    fields["description"], f"description is a text of at most {NAME_LENGTH_MAX} characters"
                )
        if "metadata" in fields:
            pairs = self._mapping(fields["metadata"], None)
            metadata = {name: self._scalar(node, f"metadata {name}") for name, node in pairs.items()}
            given["metadata"] = check_metadata(metadata)
        return given

    def _check(self) -> None:
        """Check the entries against each other, as far as that needs no ledger."""
        categories = self._entries["category"]
        numbers = {external_id: number for number, external_id in enumerate(categories)}
        children: dict[int, list[int]] = {}
        for entry in (*categories.values(), *self._entries["account"].values()):
            known = [categories[name] for name in entry.parents if name in categories]
            for parent in known:
                if parent.currency != entry.currency:
                    raise ChartError(
                        f"{entry.where}: it is in {unit_text(entry.currency)}, and the category {parent.external_id!r} "
                        f"in {unit_text(parent.currency)}; a category holds what is in its own currency."
                    )
            with _in_words(entry.where):
                if entry.kind == "account":
                    check_categories_of_account(len(entry.parents))
                    continue
                for parent in known:
                    upper, lower = numbers[parent.external_id], numbers[entry.external_id]
                    check_nesting(upper, lower, children)
                    children.setdefault(upper, []).append(lower)

    def _mapping(self, node: yaml.Node, allowed: Sequence[str] | None) -> dict[str, yaml.Node]:
        """Return the fields of a node; of any name where `allowed` is None."""
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, "here belong fields with values, such as `name: Cash`")
        self._once(node)
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._scalar(key, "the name of a field")
            if name is None or (allowed is not None and name not in allowed):
                near = difflib.get_close_matches(str(name), allowed or (), n=1)
                hint = f"; perhaps {near[0]}" if near else f"; there are {', '.join(allowed or ())}"
                raise self._error(key, f"{name!r} is no field here{hint}")
            if name in fields:
                raise self._error(key, f"{name} is given twice, first in line {fields[name].start_mark.line + 1}")
            fields[name] = value
        return fields

    def _list(self, fields: Mapping[str, yaml.Node], name: str) -> list[yaml.Node]:
        node = fields.get(name)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self._error(node, f"{name} is a list, each line of it begun with a dash")
        self._once(node)
        nodes: list[yaml.Node] = node.value
        return nodes

    def _once(self, node: yaml.Node) -> None:
        """Refuse to read a node twice: an alias can stand inside the node it names, and reading would never end."""
        if id(node) in self._seen:
            raise self._error(node, "this is used again by an alias (*); write it out there")
        self._seen.add(id(node))

    def _scalar(self, node: yaml.Node, name: str) -> str | None:
        """Return a text as it is written, None for nothing or null."""
        if not isinstance(node, yaml.ScalarNode) or node.tag.startswith("!"):
            raise self._error(node, f"{name} is a text")
        if node.tag == "tag:yaml.org,2002:null":
            return None
        text: str = node.value
        with _in_words(f"{self._path}, line {node.start_mark.line + 1}"):
            return check_text(text, name)

    def _text(self, node: yaml.Node, name: str, length_max: int) -> str:
        """Return a text that must be there."""
        text = self._scalar(node, name)
        if not text or len(text) > length_max:
            raise self._error(node, f"{name} is a text of 1 to {length_max} characters")
        return text

    def _plain(self, fields: Mapping[str, yaml.Node], name: str) -> str | None:
        return self._scalar(fields[name], name) if name in fields else None

    def _error(self, node: yaml.Node, sentence: str) -> ChartError:
        return ChartError(f"{self._path}, line {node.start_mark.line + 1}: {sentence}.")


def _side(text: str | None, where: str) -> Direction:
    if text == "credit":
        return "credit"
    if text == "debit":
        return "debit"
    if text is None:
        raise ChartError(f"{where}: it needs a normal_balance, debit or credit, its own or its category's.")
    raise ChartError(f"{where}: normal_balance is debit or credit, not {text!r}.")


def unit_text(unit: Currency) -> str:
    """Return a unit as error messages name it."""
    return f"{unit.code} with exponent {unit.exponent}"


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Turn a refusal by a rule into an error that says where in the file it was met.

    Raises:
        ChartError: a rule refused.
    """
    try:
        yield
    except LedgerError as refusal:
        raise ChartError(f"{where}: {refusal}") from None
