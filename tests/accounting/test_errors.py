"""Every refusal: a code of its own, a meaning, and a sentence for the person who reads it."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import pytest

from doppia.accounting import errors
from doppia.accounting.errors import (
    AmountOutOfRange,
    ExternalIdTaken,
    LedgerError,
    NotReversible,
    ParameterInvalid,
    ParameterUnknown,
    TryAgain,
    refusal_of,
    tree,
)
from doppia.accounting.ids import LedgerId

SAMPLES: dict[Any, Any] = {
    dict[str, Any]: {"code": "unbalanced", "message": "It is not balanced."},
    str: "sample",
    int: 7,
    list[str]: ["GET", "POST"],
    LedgerId: LedgerId("sample"),
    list[LedgerId]: [LedgerId("sample"), LedgerId("other")],
    str | None: None,
}


def family(kind: type[LedgerError], depth: int = 0) -> Iterator[tuple[int, type[LedgerError]]]:
    """The class and those below it, with their depth, in the order in which they were defined."""
    yield depth, kind
    for below in kind.__subclasses__():
        if below.__module__.startswith(f"{errors.__name__}."):
            yield from family(below, depth + 1)


TREE = list(family(LedgerError))
LEAVES = [kind for _, kind in TREE if not kind.__subclasses__()]


def sample(kind: type[LedgerError]) -> LedgerError:
    return kind(**{field.name: SAMPLES[field.type] for field in fields(kind) if field.default is MISSING})


def test_no_two_refusals_share_a_code() -> None:
    codes = [kind.code for kind in LEAVES]
    assert len(codes) > 30
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", LEAVES)
def test_a_code_is_the_name_of_its_refusal(kind: type[LedgerError]) -> None:
    assert kind.code == re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@pytest.mark.parametrize("kind", [kind for _, kind in TREE])
def test_a_refusal_says_what_it_means(kind: type[LedgerError]) -> None:
    assert kind.__doc__ is not None
    assert re.match(r"[A-Z].*\.$", kind.__doc__.splitlines()[0])


@pytest.mark.parametrize("kind", LEAVES)
def test_a_refusal_reads_as_a_sentence(kind: type[LedgerError]) -> None:
    sentence = str(sample(kind))
    assert re.match(r"[A-Za-z]", sentence)
    assert sentence.endswith(".")
    assert kind.code not in sentence


@pytest.mark.parametrize("kind", LEAVES)
def test_the_details_are_the_fields_other_than_the_parameter(kind: type[LedgerError]) -> None:
    assert set(sample(kind).details()) == {field.name for field in fields(kind)} - {"parameter"}


def test_the_tree_drawn_in_the_module_is_the_tree_there_is() -> None:
    branches = re.findall(r"^    ([ │├└─]*)([A-Z]\w+)", tree.__doc__ or "", re.MULTILINE)
    drawn = [(len(indent) // 4, name) for indent, name in branches]
    assert drawn == [(depth, kind.__name__) for depth, kind in TREE]


def test_only_a_service_that_can_not_answer_asks_to_be_tried_again() -> None:
    assert {kind for kind in LEAVES if kind.retryable} == {kind for kind in LEAVES if issubclass(kind, TryAgain)}


@pytest.mark.parametrize("kind", LEAVES)
def test_a_refusal_says_its_sentence_in_one_way(kind: type[LedgerError]) -> None:
    assert ("message" in vars(kind)) != ("__str__" in vars(kind))


def test_every_refusal_can_be_imported_from_the_package() -> None:
    for _, kind in TREE:
        assert getattr(errors, kind.__name__) is kind


@pytest.mark.parametrize("kind", LEAVES)
def test_a_refusal_can_be_made_again_of_its_code_and_its_fields(kind: type[LedgerError]) -> None:
    refusal = sample(kind)
    again = refusal_of(kind.code, vars(refusal))

    assert type(again) is kind
    assert vars(again) == vars(refusal)


def test_no_refusal_is_made_of_a_code_that_none_has() -> None:
    with pytest.raises(AssertionError, match="no refusal has the code unheard_of"):
        refusal_of("unheard_of", {})


def test_a_misspelt_parameter_is_met_with_a_suggestion() -> None:
    assert str(ParameterUnknown(parameter="nmae")) == "nmae is not a parameter of this route."
    assert str(ParameterUnknown(parameter="nmae", suggestion="name")).endswith("Did you mean name?")


def test_an_amount_too_long_to_repeat_is_not_repeated() -> None:
    endless = AmountOutOfRange(parameter="amount", amount=10**5000)
    assert endless.details() == {"amount": None}
    assert str(endless).startswith("amount is a number of more than 40 digits;")
    assert AmountOutOfRange(parameter="amount", amount=-1).details() == {"amount": -1}


def test_an_invalid_body_is_named_where_no_parameter_is() -> None:
    assert str(ParameterInvalid(reason="is empty")) == "The body is empty."
    assert str(ParameterInvalid(parameter="name", reason="is empty")) == "name is empty."


def test_what_can_not_be_reversed_is_told_what_can_be_done() -> None:
    assert "archive it instead" in str(NotReversible(status="pending"))
    assert "it never counted" in str(NotReversible(status="archived"))


def test_a_taken_external_id_names_its_holder_where_the_caller_may_know() -> None:
    assert str(ExternalIdTaken(external_id="a", taken_by="t-1")).endswith("is already used in this ledger by t-1.")
    assert str(ExternalIdTaken(external_id="a", taken_by=None)).endswith("is already used in this ledger.")
