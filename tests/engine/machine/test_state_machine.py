"""The engine on a real database against a small model, through random lives of a ledger."""

from collections import Counter
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.engine.closing.sellers import take_small_steps
from tests.engine.machine.machine_chart import ChartMachine
from tests.engine.machine.machine_monitors import MonitorsMachine
from tests.engine.machine.machine_settlements import SettlementsMachine
from tests.servers import Server

STEPS: Final = Counter(
    open_an_account=2, discard_an_account=1, send_several_at_once=4, send_batches_and_singles=3, post_several_at_once=3,
    change_what_is_there=4, archive_what_has_expired=1, send_a_consumed_key_again=1, create_a_category=3,
    discard_a_category=1, change_the_chart=4, create_a_monitor=3, change_a_monitor=1, begin_a_settlement=5,
    change_a_settlement=4, pick_entries=4, work_off_what_is_left_to_do=3, hold_what_is_to_be_settled_and_end_it=2,
)  # fmt: skip
"""How often each is taken, beside the others."""


class Ledger(ChartMachine, MonitorsMachine, SettlementsMachine):
    """Random commands of every kind; what is refused, and all that is stored, must be as the model says."""

    @rule(step=st.sampled_from(list(STEPS.elements())))
    def live(self, step: str) -> None:
        getattr(self, step)()


def test_a_ledger_lives_as_the_model_says(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    take_small_steps(monkeypatch)

    class OnThisServer(Ledger):
        server = postgres

    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=20,
            stateful_step_count=110,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],  # a shrink would take longer than a test may
            suppress_health_check=list(HealthCheck),
        ),
    )
