"""Balance monitors over HTTP."""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from doppia.accounting.errors import ObjectNotFound, ParameterInvalid
from doppia.accounting.ledger.monitors import AlertOperator, MonitoredField, MonitorState, condition_holds
from doppia.accounting.money import BOUND_MAX
from doppia.accounting.texts import check_metadata
from doppia.api.http.lists import kinds_of
from doppia.api.http.pages import answer_list
from doppia.api.http.request import BodyDecoder, Reply, Request, encode
from doppia.api.http.wire import (
    BalancesObject,
    Description,
    LockVersion,
    Metadata,
    Object,
    Time,
    UuidText,
    balances,
    given,
    in_order,
    new_metadata,
)
from doppia.engine.ledger.monitors import CreateMonitor, DiscardMonitor, UpdateMonitor
from doppia.store.database.listing import Place
from doppia.store.ledger import monitors as store

_KIND: Final = "ledger_account_balance_monitor"


class AlertCondition(Struct, forbid_unknown_fields=True):
    """A condition on an account: its balance, on its normal side, or its lock_version, compared with `value`."""

    field: MonitoredField
    operator: AlertOperator
    value: Annotated[
        int,
        Meta(
            description="Of a balance in minor units.",
            extra_json_schema={"minimum": -BOUND_MAX, "maximum": BOUND_MAX},
        ),
    ]


class MonitorCreate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A monitor to create."""

    example: ClassVar = {
        "ledger_account_id": "65a1b2c3-0000-8000-8400-000000000800",
        "alert_condition": {"field": "available_balance_amount", "operator": "less_than", "value": 50_000},
        "description": "The float runs low",
    }

    ledger_account_id: UuidText
    alert_condition: AlertCondition
    description: Description | None = None
    metadata: Metadata | None = None


class MonitorUpdate(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a monitor; metadata is merged in, and a key set to null or "" is removed."""

    example: ClassVar = {"metadata": {"pager": "treasury"}}

    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class BalanceState(Struct):
    """The account as it stands now, and whether the condition holds for it."""

    balances: BalancesObject
    ledger_account_lock_version: LockVersion
    triggered: bool


class MonitorObject(Object, kw_only=True):
    """A monitor: triggered when its condition comes to hold, resolved when it ceases to, each an event of its own."""

    object: Literal["ledger_account_balance_monitor"] = "ledger_account_balance_monitor"
    ledger_account_id: UuidText
    description: str | None
    alert_condition: AlertCondition
    current_ledger_account_balance_state: BalanceState
    metadata: dict[str, str]
    discarded_at: Time | None


_CREATE: Final = BodyDecoder(MonitorCreate)
_UPDATE: Final = BodyDecoder(MonitorUpdate)

FILTERS: Final = kinds_of(store.PARAMETERS)


def to_object(state: MonitorState) -> MonitorObject:
    """Return a monitor as the wire shows it. A discarded one shows the account as it stands, too."""
    fields, account = state
    monitor = fields.monitor
    return MonitorObject(
        id=fields.id,
        ledger_account_id=account.id,
        description=fields.description,
        alert_condition=AlertCondition(monitor.field, monitor.operator, monitor.value),
        current_ledger_account_balance_state=BalanceState(
            balances(account),
            account.lock_version,
            condition_holds(monitor.field, monitor.operator, monitor.value, account),
        ),
        metadata=in_order(fields.metadata),
        created_at=fields.created_at,
        updated_at=fields.updated_at,
        discarded_at=fields.discarded_at,
    )


async def create(request: Request) -> Reply:
    """Create a monitor of an account."""
    body = request.decode(_CREATE)
    condition = body.alert_condition
    if abs(condition.value) > BOUND_MAX:
        raise ParameterInvalid(parameter="alert_condition.value", reason="is beyond 10^45")
    metadata = new_metadata(body.metadata)
    account = await request.find(body.ledger_account_id, "ledger_account", "ledger_account_id")
    command = CreateMonitor(
        ledger=request.scope.ledger(account.ledger),
        account=account,
        monitored=condition.field,
        operator=condition.operator,
        value=condition.value,
        description=body.description,
        metadata=metadata,
    )
    return Reply(201, encode(to_object(await request.perform(command, body))))


async def get(request: Request) -> Reply:
    """Get a monitor with its account's balances."""
    id_ = await request.find(request.path["id"], _KIND)
    async with request.scope.connection() as connection:
        found = await store.get(connection, id_.ledger, id_.sequence)
    if found is None or found.fields.id != str(id_):
        raise ObjectNotFound(object=_KIND, id=request.path["id"])
    return Reply(200, encode(to_object(found)))


async def list_(request: Request) -> Reply:
    """List monitors, the newest first."""
    return await answer_list(request, "ledger_account_balance_monitors", FILTERS, store.list_page, _place, to_object)


def _place(state: MonitorState) -> Place:
    fields = state.fields
    return Place(fields.created_at, fields.ledger, fields.monitor.sequence)


async def update(request: Request) -> Reply:
    """Update a monitor's description or metadata; its condition is fixed."""
    body = request.decode(_UPDATE)
    id_ = await request.find(request.path["id"], _KIND)
    changes = given(body, "description", "metadata")
    check_metadata(changes.get("metadata") or {})
    command = UpdateMonitor(ledger=request.scope.ledger(id_.ledger), target=id_, **changes)
    return Reply(200, encode(to_object(await request.perform(command, body))))


async def delete(request: Request) -> Reply:
    """Discard a monitor."""
    id_ = await request.find(request.path["id"], _KIND)
    command = DiscardMonitor(ledger=request.scope.ledger(id_.ledger), target=id_)
    return Reply(200, encode(to_object(await request.perform(command))))
