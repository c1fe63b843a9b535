"""A lane by itself, without a database: who is in which group, when the next one is due, and what becomes of each."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doppia.accounting.ids import Id, LedgerNumber, LedgerRef, ledger_id
from doppia.accounting.ledger.transactions import Draft
from doppia.engine.posting import stages
from doppia.engine.posting.commands import Asked, CreateTransaction, ExpireTransaction, TransactionCommand
from doppia.engine.posting.group import Decided
from doppia.engine.posting.stages import GroupUnderWay, Lane, OtherWriters, Stage, Waiter
from doppia.engine.posting.writing import Caller
from doppia.proof.tree import Frontier
from doppia.store.posting.groups import Group

LEDGER = LedgerRef(LedgerNumber(7), ledger_id(0, 7))
DECIDED = Decided([], Group(7, datetime(2026, 1, 1, tzinfo=UTC), 0, Frontier()), Frontier(), (), is_one_statement=True)


class Seat:
    """A lane, and those who come to it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.lane = Lane(7, began=100.0)

    def come(self, *commands: TransactionCommand[Any]) -> None:
        self.lane.waiting.extend(Waiter(Asked(Caller(), command), self.loop.create_future()) for command in commands)

    def group(self) -> GroupUnderWay:
        group = self.lane.begin()
        self.lane.fill(group)
        return group

    def recording(self, now: float = 100.0) -> GroupUnderWay:
        group = self.group()
        self.lane.record(group, DECIDED, now)
        return group


@pytest.fixture
def seat() -> Iterator[Seat]:
    found = Seat()
    yield found
    found.loop.close()


def commands_of(group: GroupUnderWay) -> list[TransactionCommand[Any]]:
    return [asked.command for asked in group.asked()]


def new(size_bytes: int = 0) -> TransactionCommand[Any]:
    return CreateTransaction(ledger=LEDGER, size_bytes=size_bytes, draft=Draft(()))


def change(sequence: int) -> TransactionCommand[Any]:
    return ExpireTransaction(ledger=LEDGER, target=Id(0, 7, sequence, 0))


def test_who_comes_first_is_in_a_group_of_its_own_and_the_group_before_it_is_none(seat: Seat) -> None:
    assert not seat.lane.is_due()
    seat.come(new())
    assert seat.lane.is_due()

    group = seat.group()

    assert len(group.waiters) == 1
    assert (group.before, group.stage, group.decided) == (None, Stage.DECIDING, None)
    assert seat.lane.following is group
    assert not seat.lane.is_due()


def test_a_group_takes_all_who_wait_up_to_a_number_in_the_order_in_which_they_came(seat: Seat) -> None:
    commands = [new() for _ in range(stages.GROUP_MAX + 10)]
    seat.come(*commands)

    assert commands_of(seat.group()) == commands[: stages.GROUP_MAX]
    assert [waiter.asked.command for waiter in seat.lane.waiting] == commands[stages.GROUP_MAX :]


def test_a_group_is_full_once_its_requests_are_large_but_takes_one_of_any_size(seat: Seat) -> None:
    seat.come(new(stages.GROUP_BYTES_MAX * 3), new(1))
    first = seat.group()
    assert len(first.waiters) == 1
    seat.lane.record(first, DECIDED, 100.0)
    seat.lane.leave(first)
    seat.come(new(stages.GROUP_BYTES_MAX - 2), new(1), new(1))

    assert len(seat.group().waiters) == 3


def test_a_second_change_to_a_transaction_waits_for_the_group_after_in_its_old_place(seat: Seat) -> None:
    commands = [change(1), new(), change(1), change(2), change(1), change(2), new()]
    seat.come(*commands)

    assert commands_of(seat.group()) == [commands[index] for index in (0, 1, 3, 6)]
    assert [waiter.asked.command for waiter in seat.lane.waiting] == [commands[index] for index in (2, 4, 5)]


def test_those_who_come_while_a_void_group_waits_join_it(seat: Seat) -> None:
    seat.come(change(1))
    group = seat.group()
    seat.lane.void(group)
    seat.lane.post_anew(group, 101.0)
    seat.come(change(1), change(2))

    seat.lane.fill(group)

    assert [command.target.sequence for command in commands_of(group) if isinstance(command, ExpireTransaction)] == [
        1,
        2,
    ]
    assert len(seat.lane.waiting) == 1


def test_the_next_group_is_due_once_as_many_wait_as_are_recorded_and_takes_half_of_all(seat: Seat) -> None:
    seat.come(*(new() for _ in range(5)))
    current = seat.recording()
    seat.come(*(new() for _ in range(4)))
    assert not seat.lane.is_due()
    seat.come(*(new() for _ in range(4)))
    assert seat.lane.is_due()

    group = seat.group()

    assert group.before is current
    assert len(group.waiters) == 7
    assert len(seat.lane.waiting) == 1


def test_no_group_is_begun_beside_one_whose_outcome_is_not_foreseen(seat: Seat) -> None:
    seat.come(new())
    group = seat.group()
    seat.come(new())
    assert not seat.lane.is_due()
    seat.lane.void(group)
    assert not seat.lane.is_due()
    seat.lane.post_anew(group, 101.0)
    assert not seat.lane.is_due()
    seat.lane.leave(group)
    assert seat.lane.is_due()


@pytest.mark.parametrize("is_recorded_before", [True, False])
def test_a_group_is_decided_upon_one_that_is_recorded_or_will_be(seat: Seat, is_recorded_before: bool) -> None:
    seat.come(new())
    first = seat.recording()
    seat.come(new(), new())
    if is_recorded_before:
        seat.lane.recorded(first)
    assert seat.lane.is_due()
    second = seat.group()
    assert second.before is first
    assert first.decided is DECIDED
    if not is_recorded_before:
        seat.lane.recorded(first)

    seat.lane.record(second, DECIDED, 103.0)
    seat.lane.leave(first)

    assert (seat.lane.current, seat.lane.following) == (second, None)
    assert (first.stage, second.stage) == (Stage.RECORDED, Stage.RECORDING)
    assert first.answered.is_set()
    assert not second.outcome_known.is_set()
    seat.come(*(new() for _ in second.waiters))
    assert seat.lane.is_due()


def test_what_was_decided_upon_a_void_group_has_to_wait_for_its_answers_and_is_then_alone(seat: Seat) -> None:
    seat.come(new())
    first = seat.recording()
    seat.come(new())
    second = seat.group()

    seat.lane.void(first)

    assert first.outcome_known.is_set()
    assert first.decided is None
    with pytest.raises(AssertionError, match="what it was decided upon is there"):
        seat.lane.record(second, DECIDED, 101.0)
    seat.lane.void(second)
    with pytest.raises(AssertionError, match="it is alone"):
        seat.lane.post_anew(second, 101.0)
    seat.lane.leave(first)
    seat.lane.post_anew(second, 102.0)
    assert seat.lane.current is second
    seat.lane.leave(second)
    assert seat.lane.is_empty()


def at(stage: Stage) -> tuple[Seat, GroupUnderWay]:
    """Return a group that has come to a stage."""
    seat = Seat()
    seat.come(new())
    group = seat.recording() if stage in (Stage.RECORDING, Stage.RECORDED) else seat.group()
    if stage is Stage.RECORDED:
        seat.lane.recorded(group)
    if stage is Stage.VOID:
        seat.lane.void(group)
    assert group.stage is stage
    return seat, group


WAYS: dict[str, tuple[Callable[[Lane, GroupUnderWay], None], dict[Stage, Stage]]] = {
    "record": (lambda lane, group: lane.record(group, DECIDED, 101.0), {Stage.DECIDING: Stage.RECORDING}),
    "recorded": (lambda lane, group: lane.recorded(group), {Stage.RECORDING: Stage.RECORDED}),
    "void": (
        lambda lane, group: lane.void(group),
        {Stage.DECIDING: Stage.VOID, Stage.RECORDING: Stage.VOID, Stage.VOID: Stage.VOID},
    ),
    "post_anew": (lambda lane, group: lane.post_anew(group, 101.0), {Stage.VOID: Stage.VOID}),
    "leave": (
        lambda lane, group: lane.leave(group),
        {**dict.fromkeys(Stage, Stage.VOID), Stage.RECORDED: Stage.RECORDED},
    ),
}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("way", WAYS)
def test_a_group_goes_the_ways_that_are_drawn_and_no_other(way: str, stage: Stage) -> None:
    seat, group = at(stage)
    go, becomes = WAYS[way]

    if stage in becomes:
        go(seat.lane, group)
        assert group.stage is becomes[stage]
        assert group.outcome_known.is_set() == (group.stage in (Stage.RECORDED, Stage.VOID))
        assert (group.decided is None) == (group.stage in (Stage.DECIDING, Stage.VOID))
    else:
        with pytest.raises(AssertionError):
            go(seat.lane, group)
        assert group.stage is stage
    seat.loop.close()


@pytest.mark.parametrize("stage", Stage)
def test_whoever_leaves_is_answered_keeps_nobody_and_leaves_its_place(stage: Stage) -> None:
    seat, group = at(stage)
    assert not group.answered.is_set()

    seat.lane.leave(group)

    assert group.answered.is_set()
    assert group.before is None
    assert seat.lane.is_empty()
    seat.loop.close()


def test_a_lane_is_full_when_who_comes_would_wait_longer_than_a_second_behind_full_groups(seat: Seat) -> None:
    lane = seat.lane
    seat.come(new())
    seat.recording(now=100.4)
    seat.come(*(new() for _ in range(stages.GROUP_MAX - 1)))
    assert not lane.is_full(1000.0)
    seat.come(new())
    # Two are under way since 0.4 seconds, and one full group waits, which will take as long as the last one did: 0.4.
    assert not lane.is_full(100.9)
    assert lane.is_full(101.1)
    seat.come(*(new() for _ in range(stages.GROUP_MAX)))
    assert not lane.is_full(100.59)
    assert lane.is_full(100.7)
    # Those in the group that is decided have to be waited for as well.
    lane.following = GroupUnderWay(None, [lane.waiting[0]] * stages.GROUP_MAX)
    assert lane.is_full(100.4)


def test_a_lane_takes_no_more_than_memory_allows_however_fast_it_is(
    seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "WAITING_MAX", 3)
    seat.come(new(), new())
    assert not seat.lane.is_full(100.0)
    seat.come(new())
    assert seat.lane.is_full(100.0)


def test_others_are_known_to_write_for_a_second_after_they_came_in_between_twice_in_a_row() -> None:
    others = OtherWriters()
    others.note(7, 0.05)
    assert not others.write_to(7, 0.05)
    others.note(7, 0.2)
    assert not others.write_to(7, 0.2)
    others.note(8, 0.25)
    assert not others.write_to(8, 0.25)

    others.note(7, 0.29)

    assert others.write_to(7, 0.29)
    assert others.write_to(7, 1.28)
    assert not others.write_to(7, 1.29)
    assert not others.write_to(8, 0.29)
    others.note(8, 2.0)
    assert not others.write_to(7, 0.3), "what was long ago is forgotten"


class Walk:
    """A lane to which things happen in any order in which they can, and all groups that it ever had."""

    def __init__(self) -> None:
        self.seat = Seat()
        self.lane = self.seat.lane
        self.came = 0
        self.met: list[GroupUnderWay] = []

    def under_way(self, *stages_: Stage) -> list[GroupUnderWay]:
        return [group for group in self.met if not group.answered.is_set() and group.stage in stages_]

    def come(self) -> None:
        self.seat.come(change(self.came))
        self.came += 1

    def begin(self) -> None:
        if self.lane.is_due():
            self.met.append(self.seat.group())

    def record(self) -> None:
        for group in self.under_way(Stage.DECIDING):
            if group.before is None or group.before.stage is Stage.RECORDED:
                self.lane.record(group, DECIDED, 100.0)

    def recorded(self) -> None:
        for group in self.under_way(Stage.RECORDING):
            self.lane.recorded(group)

    def void(self) -> None:
        for group in self.under_way(Stage.DECIDING, Stage.RECORDING)[:1]:
            self.lane.void(group)

    def post_anew(self) -> None:
        for group in self.under_way(Stage.VOID):
            if group.before is None or group.before.answered.is_set():
                self.lane.post_anew(group, 100.0)

    def leave(self) -> None:
        for group in self.under_way(*Stage)[:1]:
            self.lane.leave(group)

    def check(self) -> None:
        places = [group for group in (self.lane.current, self.lane.following) if group is not None]
        assert len(self.under_way(Stage.RECORDING)) <= 1
        assert all(any(group is place for place in places) for group in self.under_way(Stage.DECIDING, Stage.RECORDING))
        assert len(self.under_way(Stage.DECIDING, Stage.RECORDING, Stage.VOID)) <= 2
        assert all(group.before is None for group in self.met if group.answered.is_set())

    def told(self) -> list[int]:
        """Return the numbers of all who came, those in groups first."""
        in_groups = [command for group in self.met for command in commands_of(group)]
        waiting = [waiter.asked.command for waiter in self.lane.waiting]
        return [command.target.sequence for command in (*in_groups, *waiting) if isinstance(command, ExpireTransaction)]


@given(
    st.lists(
        st.sampled_from(
            [Walk.come, Walk.come, Walk.begin, Walk.record, Walk.recorded, Walk.void, Walk.post_anew, Walk.leave]
        ),
        max_size=200,
    )
)
def test_whatever_happens_two_groups_are_on_their_way_at_most_and_each_caller_is_in_one(
    happenings: list[Callable[[Walk], None]],
) -> None:
    walk = Walk()
    for happen in happenings:
        happen(walk)
        walk.check()
    assert walk.told() == list(range(walk.came))
    walk.seat.loop.close()
