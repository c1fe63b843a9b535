"""The language of the stories: what it reads, what it refuses to read, and that a story that goes wrong is told."""

import asyncio
from datetime import timedelta

import pytest

from doppia.accounting.ledger.transaction_life import Revision
from doppia.accounting.ledger.transactions import Draft, Guard, Leg
from doppia.accounting.money import Currency
from doppia.stories.language import Check, Create, Lapse, Open, Reverse, Revise, Story, StoryError, Take, parse
from doppia.stories.runners import ExpectationFailed, PureRunner, play

BOOKS = """\
# A title
unit    PTS 3
account cash   PHP debit  "Cash in hand"
account wallet PHP credit
account points PTS credit
"""


def read(lines: str) -> Story:
    return parse("story", BOOKS + lines)


def play_through(lines: str) -> None:
    async def run() -> None:
        async for _ in play(read(lines), PureRunner()):
            pass

    asyncio.run(run())


def test_an_account_has_its_unit_and_its_normal_side() -> None:
    story = read("")
    opened = [event for event in story.events if isinstance(event, Open)]
    assert (story.name, story.title) == ("story", "A title")
    assert [(each.account.id, each.account.currency, each.account.normal_balance) for each in opened] == [
        ("cash", Currency("PHP", 2), "debit"),
        ("wallet", Currency("PHP", 2), "credit"),
        ("points", Currency("PTS", 3), "credit"),
    ]
    assert [each.description for each in opened] == ["Cash in hand", None, None]


def test_an_event_may_go_on_over_indented_lines_and_its_words_come_in_any_order() -> None:
    told = Draft(
        [
            Leg(1, "cash", "debit", 100000),
            Leg(
                2, "wallet", "credit", 100000,
                lock_version=3,
                guards=(Guard("available", "gte", -500), Guard("posted", "not_eq", 0)),
            ),
        ],
        "posted",
        "Order #7 (paid)",
        metadata={"order": "7", "note": "two words"},
    )  # fmt: skip
    story = read(
        """
post pay "Order #7 (paid)" order=7 -> posted   # the outcome may stand anywhere
     Dr cash   1,000.00
     # a comment between
     Cr wallet 1,000.00 (available >= -5.00) (posted != 0.00) (lock_version = 3)
     note="two words"
"""
    )
    event = story.events[-1]
    assert isinstance(event, Create)
    assert (event.line, event.handle, event.key, event.expected) == (7, "pay", "pay", "posted")
    assert event.draft == told
    assert event.text.startswith('post pay "Order #7 (paid)" order=7 Dr cash 1,000.00')


def test_a_hold_is_created_amended_captured_and_released() -> None:
    events = read(
        """
hold    a  Dr cash 1.00  Cr wallet 1.00   -> pending
amend   a  Dr cash 2.00  Cr wallet 2.00   -> pending
capture a                                 -> posted
release a                                 -> refused transaction_final
"""
    ).events[3:]
    assert isinstance(events[0], Create)
    assert events[0].draft.status == "pending"
    revisions = [event.revision for event in events if isinstance(event, Revise)]
    legs = [Leg(1, "cash", "debit", 200), Leg(2, "wallet", "credit", 200)]
    assert revisions == [
        Revision(status="pending", legs=legs), Revision(status="posted"), Revision(status="archived")
    ]  # fmt: skip
    assert len({event.key for event in events if isinstance(event, Revise)}) == 3


def test_a_part_is_taken_of_a_hold_and_is_a_transaction_of_its_own() -> None:
    hold, part, again, rest = read(
        """
hold    a  Dr cash 3.00  Cr wallet 3.00                  -> pending
take    a as b "First"  Dr cash 1.00  Cr wallet 1.00     -> posted
repeat  b                                                -> replayed
capture a                                                -> posted
"""
    ).events[3:]
    assert isinstance(hold, Create)
    assert isinstance(part, Take)
    assert isinstance(again, Take)
    assert isinstance(rest, Revise)
    legs = [Leg(1, "cash", "debit", 100), Leg(2, "wallet", "credit", 100)]
    assert (part.original, part.handle, part.key) == ("a", "b", "b")
    assert part.draft == again.draft == Draft(legs, "posted", "First")
    assert (again.original, again.key, rest.handle) == ("a", "b", "a")


def test_a_hold_is_told_how_long_it_lasts_and_lapses() -> None:
    hold, end = read(
        """
hold    a for 30s  Dr cash 3.00  Cr wallet 3.00  -> pending
lapse   a                                        -> archived
"""
    ).events[3:]
    assert isinstance(hold, Create)
    assert isinstance(end, Lapse)
    assert hold.lasts == end.lasts == timedelta(seconds=30)
    assert hold.draft.expires_at is None


def test_what_was_resolved_before_its_time_does_not_lapse() -> None:
    play_through(
        """
hold    a for 30s  Dr cash 3.00  Cr wallet 3.00  -> pending
capture a                                        -> posted
lapse   a                                        -> posted
balance cash posted 3.00
hold    b for 30s  Dr cash 3.00  Cr wallet 3.00  -> pending
hold    c for 60s  Dr cash 3.00  Cr wallet 3.00  -> pending
lapse   b                                        -> archived
capture c                                        -> posted
"""
    )


def test_a_repeat_is_the_same_request_unless_it_says_something_else() -> None:
    events = read(
        """
post    a  Dr cash 1.00  Cr wallet 1.00  x=1   -> posted
repeat  a                                      -> replayed
repeat  a  Dr cash 2.00  Cr wallet 2.00        -> refused idempotency_key_reused
reverse a as b held                            -> pending
repeat  b                                      -> replayed
"""
    ).events[3:]
    first, same, other, reversal, again = events
    assert isinstance(first, Create)
    assert isinstance(same, Create)
    assert isinstance(other, Create)
    assert (same.key, same.draft, same.expected) == (first.key, first.draft, "replayed")
    assert (other.key, other.draft.metadata) == (first.key, first.draft.metadata)
    assert [leg.amount for leg in other.draft.legs] == [200, 200]
    assert isinstance(reversal, Reverse)
    assert isinstance(again, Reverse)
    assert (reversal.original, reversal.handle, reversal.draft) == ("a", "b", Draft((), "pending"))
    assert (again.key, again.original) == ("b", "a")


def test_balances_are_read_in_the_unit_of_the_account() -> None:
    check = read("balance points posted 1.5 available -0.001").events[-1]
    assert isinstance(check, Check)
    assert check.amounts == {"posted": 1500, "available": -1}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("pay a", "'pay' is not what an event begins with"),
        ("post", "'post' stands alone"),
        ("unit MILES", "a unit is written 'unit CODE DECIMALS'"),
        ("unit USD 3", "ISO 4217 gives it the exponent 2"),
        ("account cash PHP debit", "there is another account called cash"),
        ("account tips PHP left", "an account is written 'account NAME UNIT debit'"),
        ("account tips MILES debit", "a custom unit needs a currency_exponent"),
        ("post a Dr cash 1.00 Cr wallet 1.00", "what must come of it is missing"),
        ("post a Dr cash 1.00 Cr wallet 1.00 -> done", "what must come of it is missing"),
        ("post a Dr cash 1.00 Cr wallet 1.00 ->", "what must come of it is missing"),
        ("post a Dr till 1.00 -> posted", "there is no account till"),
        ("post a Dr cash 1.001 -> posted", "'1.001' has 3 decimals; this unit has 2"),
        ("post a Dr cash -> posted", "'' is not a decimal number"),
        ("post a Dr cash 1.00 (balance >= 0) -> posted", "is no guard such as (available >= 0.00)"),
        ("post a (available >= 0.00) Dr cash 1.00 -> posted", "'(available >= 0.00)' can't be read here"),
        ("post a Dr cash 1.00 perhaps -> posted", "'perhaps' can't be read here"),
        ('post a "Dr cash 1.00 -> posted', "a quote or bracket from column 8 on is not closed"),
        ("post a Dr cash 1.00 (available -> posted", "a quote or bracket from column 21 on is not closed"),
        ("capture a -> posted", "no transaction called a was accepted before it"),
        ("reverse a as b -> posted", "no transaction called a was accepted before it"),
        ("take a as b Dr cash 1.00 Cr wallet 1.00 -> posted", "no transaction called a was accepted before it"),
        ("lapse a -> archived", "no transaction called a was accepted before it"),
        ("hold a for Dr cash 1.00 Cr wallet 1.00 -> pending", "how long a hold lasts is written in seconds"),
        ("hold a for 0s Dr cash 1.00 Cr wallet 1.00 -> pending", "how long a hold lasts is written in seconds"),
        ("post a for 1s Dr cash 1.00 Cr wallet 1.00 -> posted", "'for' can't be read here"),
        ("repeat a -> replayed", "nothing before it created a"),
        ("balance cash", "balances are written 'posted AMOUNT'"),
        ("balance cash posted", "balances are written 'posted AMOUNT'"),
        ("balance cash free 1.00", "balances are written 'posted AMOUNT'"),
        ("balance till posted 1.00", "there is no account till"),
    ],
)
def test_a_line_that_can_not_be_read_is_named_with_the_reason(line: str, sentence: str) -> None:
    with pytest.raises(StoryError) as error:
        read(line)
    assert str(error.value).startswith("story, line 6: ")
    assert sentence in str(error.value)
    assert str(error.value).endswith(".")


def test_a_transaction_must_have_been_accepted_to_be_followed_by_another_and_named_once() -> None:
    declared = "post a Dr cash 1.00 Cr wallet 1.00 -> refused balance_lock_failed\n"
    with pytest.raises(StoryError, match="no transaction called a was accepted"):
        read(declared + "reverse a as b -> posted")
    with pytest.raises(StoryError, match="there is another transaction called a"):
        read(declared + declared)
    accepted = "post a Dr cash 1.00 Cr wallet 1.00 -> posted\n"
    with pytest.raises(StoryError, match="a reversal is written 'reverse ORIGINAL as NAME'"):
        read(accepted + "reverse a -> posted")
    with pytest.raises(StoryError, match="a reversal moves back what its original moved, and is written without legs"):
        read(accepted + "reverse a as b Dr cash 1.00 Cr wallet 1.00 -> posted")
    with pytest.raises(StoryError, match="a partial post is written 'take ORIGINAL as NAME'"):
        read(accepted + "take a Dr cash 0.50 Cr wallet 0.50 -> posted")
    with pytest.raises(StoryError, match="there is another transaction called a"):
        read(accepted + "take a as a Dr cash 0.50 Cr wallet 0.50 -> posted")
    with pytest.raises(StoryError, match="what lapses is a hold with 'for 1s' behind its name"):
        read(accepted + "lapse a -> archived")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            "post a Dr cash 1.00 Cr wallet 1.00 -> refused unbalanced",
            "story, line 6: 'post a Dr cash 1.00 Cr wallet 1.00' was to be refused unbalanced and was posted.",
        ),
        (
            "post a Dr cash 1.00 Cr wallet 1.01 -> posted",
            "was to be posted and was refused unbalanced. Debits and credits must be equal in each currency; in PHP",
        ),
        (
            "post a Dr cash 1.00 Cr wallet 1.00 -> posted\nrepeat a Dr cash 2.00 Cr wallet 2.00 -> replayed",
            "line 7: 'repeat a Dr cash 2.00 Cr wallet 2.00' was to be replayed and was refused idempotency_key_reused.",
        ),
        (
            "post a Dr cash 1.00 Cr wallet 1.00 -> posted\nbalance cash posted 1.00 available 2.00",
            "story, line 7: the available balance of cash was to be 2.00 and is 1.00.",
        ),
    ],
)
def test_a_story_that_goes_another_way_is_told_with_line_and_reason(lines: str, sentence: str) -> None:
    with pytest.raises(ExpectationFailed) as failure:
        play_through(lines)
    assert sentence in str(failure.value)
