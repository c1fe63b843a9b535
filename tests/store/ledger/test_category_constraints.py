"""What the schema refuses of a chart of accounts: who writes past the service, with raw SQL, meets the same rules."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from tests.servers import Server
from tests.store.log.blank_trees import blank_tree

pytestmark = pytest.mark.anyio

# Ledger 7: accounts 2 and 3; categories 11 to 17 of their unit, 18 of another, 19 discarded; 11 > 12 > 13 > 14 > 15.
# Account 2 is in the set {13}. Ledger 8 has account 2 and category 11 too.
BEGIN = f"""
insert into organizations values ('00000000-0000-0000-0000-000000000001', 'first', now());
insert into ledgers (ledger_id, organization_id, name, created_at, updated_at)
select ledger, '00000000-0000-0000-0000-000000000001', 'books', now(), now() from unnest(array[7, 8]) as ledger;
insert into ledger_heads (ledger_id, sequence, recorded_at, root, frontier)
select ledger, 20, now(), {blank_tree(20)} from unnest(array[7, 8]) as ledger;
insert into log (ledger_id, sequence, object_sequence, recorded_at, kind, event, payload)
select ledger, sequence, sequence, now(), 1, 1, ''
  from unnest(array[7, 8]) as ledger, generate_series(1, 20) as sequence;
insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                      updated_at)
select ledger, account, 'account', 'PHP', 2, 'credit', now(), now()
  from (values (7, 2), (7, 3), (8, 2)) as a (ledger, account);
insert into categories (ledger_id, category_sequence, name, currency, currency_exponent, normal_balance, external_id,
                        created_at, updated_at, discarded_at)
select ledger, category, 'category', 'PHP', case category when 18 then 3 else 2 end, 'credit',
       case category when 16 then 'taken' when 19 then 'taken' end, now(), now(),
       case category when 19 then now() end
  from (select 7 as ledger, generate_series(11, 19) as category union all select 8, 11) c;
insert into category_edges
select 7, parent, parent + 1 from generate_series(11, 14) as parent;
insert into category_sets (ledger_id, category_set, categories) values (7, 20, '{{13}}');
insert into balances (ledger_id, account_sequence, lock_version, posted_credits, posted_debits, pending_credits,
                      pending_debits, category_set)
values (7, 2, 0, 0, 0, 0, 0, 20), (7, 3, 0, 0, 0, 0, 0, null), (8, 2, 0, 0, 0, 0, 0, null);
"""


@pytest.fixture(scope="module")
async def begun(postgres: Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with the two charts, which the tests of this module share."""
    name = f"t{uuid4().hex}"
    server = await asyncpg.connect(postgres.url)
    await server.execute(f"create database {name} template template_doppia")
    opened = await asyncpg.connect(postgres.of(name), server_settings={"search_path": "doppia"})
    await opened.execute(BEGIN)
    yield opened
    await opened.close()
    await server.execute(f"drop database {name} with (force)")
    await server.close()


@pytest.fixture
async def connection(begun: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The same; what a test does is undone."""
    transaction = begun.transaction()
    await transaction.start()
    yield begun
    await transaction.rollback()


def edge(parent: int, child: int, ledger: int = 7) -> str:
    return f"insert into category_edges values ({ledger}, {parent}, {child})"


def new_set(categories: str, ledger: int = 7, more: str = "") -> str:
    return (
        "insert into category_sets (ledger_id, category_set, categories, posted_credits) "
        f"values ({ledger}, 21, '{categories}', 0{more})"
    )


@pytest.mark.parametrize(
    ("constraint", "query"),
    [
        pytest.param("category_edges_check", edge(16, 16), id="a category in itself"),
        pytest.param("categories_form_a_graph", edge(12, 11), id="a cycle of two"),
        pytest.param("categories_form_a_graph", edge(15, 11), id="a cycle of five"),
        pytest.param("categories_form_a_graph", edge(15, 16), id="six deep, below"),
        pytest.param("categories_form_a_graph", edge(16, 11), id="six deep, above"),
        pytest.param(
            "categories_form_a_graph",
            "insert into category_edges values (7, 14, 16), (7, 16, 17)",
            id="six deep, at once",
        ),
        pytest.param(
            "categories_form_a_graph",
            "insert into category_edges values (7, 16, 17), (7, 17, 16)",
            id="a cycle at once",
        ),
        pytest.param("categories_form_a_graph", edge(11, 18), id="two units"),
        pytest.param("categories_form_a_graph", edge(18, 11), id="two units, the other way round"),
        pytest.param("categories_form_a_graph", edge(19, 16), id="into one that is discarded"),
        pytest.param("categories_form_a_graph", edge(16, 19), id="of one that is discarded"),
        pytest.param("category_edges_pkey", edge(11, 12), id="an edge twice"),
        pytest.param("category_edges_ledger_id_child_sequence_fkey", edge(11, 12, 8), id="to another ledger's"),
        pytest.param("category_edges_ledger_id_parent_sequence_fkey", edge(12, 11, 8), id="from another ledger's"),
        pytest.param("identity_is_final", "update category_edges set child_sequence = 11", id="an edge bent"),
    ],
)
async def test_categories_form_a_graph_of_five_levels(
    connection: asyncpg.Connection, constraint: str, query: str
) -> None:
    await refused(connection, constraint, query)


async def refused(connection: asyncpg.Connection, constraint: str, query: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refusal:
        async with connection.transaction():
            await connection.execute(query)
    assert refusal.value.constraint_name == constraint


@pytest.mark.parametrize("query", [edge(14, 16), edge(16, 12), edge(11, 13), edge(11, 15), edge(16, 17), edge(17, 15)])
async def test_an_edge_that_keeps_to_the_rules_passes(connection: asyncpg.Connection, query: str) -> None:
    await connection.execute(query)


@pytest.mark.parametrize(
    ("constraint", "query"),
    [
        pytest.param(
            "category_sets_follow_balances", "update category_sets set posted_credits = 1", id="a sum changed"
        ),
        pytest.param("category_sets_follow_balances", "update category_sets set pending_debits = 1", id="another"),
        pytest.param("minor_units_check", "update category_sets set posted_debits = -1", id="a negative sum"),
        pytest.param("category_sets_follow_balances", new_set("{11}", more=" + 1"), id="a sum from the start"),
        pytest.param("category_sets_categories_check", new_set("{}"), id="of no category"),
        pytest.param("category_sets_categories_check", new_set("{12,11}"), id="out of order"),
        pytest.param("category_sets_categories_check", new_set("{11,11}"), id="of one category twice"),
        pytest.param(
            "category_sets_categories_check",
            "insert into category_sets values (7, 21, array(select generate_series(1, 101)))",
            id="of too many categories",
        ),
        pytest.param("category_sets_ledger_id_categories_key", new_set("{13}"), id="twice"),
        pytest.param(
            "category_set_members_ledger_id_category_sequence_fkey",
            new_set("{12}", 8),
            id="of another ledger's category",
        ),
        pytest.param("identity_is_final", "update category_sets set categories = '{14}'", id="other categories"),
        pytest.param(
            "identity_is_final", "insert into category_set_members values (7, 14, 20)", id="one named besides"
        ),
        pytest.param("history_is_final", "update category_set_members set category_sequence = 14", id="another named"),
        pytest.param("history_is_final", "delete from category_set_members", id="one named no more"),
        pytest.param("history_is_final", "delete from category_sets", id="removed"),
        pytest.param("history_is_final", "truncate category_sets cascade", id="removed at once"),
        pytest.param("history_is_final", "truncate category_set_members", id="members removed at once"),
        pytest.param(
            "balances_category_set_fkey", "update balances set category_set = 99 where account_sequence = 3", id="none"
        ),
        pytest.param(
            "balances_category_set_fkey",
            "update balances set category_set = 20 where ledger_id = 8",
            id="another ledger's",
        ),
    ],
)
async def test_a_category_set_is_what_its_accounts_make_it(
    connection: asyncpg.Connection, constraint: str, query: str
) -> None:
    await refused(connection, constraint, query)


OPEN = """
with opened as (
    insert into accounts (ledger_id, account_sequence, name, currency, currency_exponent, normal_balance, created_at,
                          updated_at)
    values (7, 4, 'account', 'PHP', 2, 'credit', now(), now()))
insert into balances values (7, 4, 0, 0, 0, 0, 0, {})
"""


async def test_an_account_comes_into_no_set_of_another_unit(connection: asyncpg.Connection) -> None:
    await connection.execute(new_set("{13,18}"))
    await refused(connection, "categories_hold_one_unit", "update balances set category_set = 21 where ledger_id = 7")
    await refused(connection, "categories_hold_one_unit", OPEN.format(21))
    await connection.execute(OPEN.format(20))


async def test_the_sums_of_an_account_go_with_it_from_set_to_set(connection: asyncpg.Connection) -> None:
    await connection.execute("set session_replication_role = replica")
    await connection.execute("update balances set posted_credits = 5, pending_debits = 3 where ledger_id = 7")
    await connection.execute("update category_sets set posted_credits = 5, pending_debits = 3")
    await connection.execute("set session_replication_role = origin")
    await connection.execute(new_set("{11,13}"))

    async def sums() -> list[tuple[int, ...]]:
        rows = await connection.fetch(
            "select posted_credits, posted_debits, pending_credits, pending_debits from category_sets "
            "order by category_set"
        )
        return [tuple(map(int, row)) for row in rows]

    assert await sums() == [(5, 0, 0, 3), (0, 0, 0, 0)]
    await connection.execute("update balances set category_set = 21 where account_sequence = 2 and ledger_id = 7")
    assert await sums() == [(0, 0, 0, 0), (5, 0, 0, 3)]
    await connection.execute("update balances set category_set = 21 where ledger_id = 7")
    assert await sums() == [(0, 0, 0, 0), (10, 0, 0, 6)]
    await connection.execute(
        "update balances set category_set = case account_sequence when 2 then 20 end where ledger_id = 7"
    )
    assert await sums() == [(5, 0, 0, 3), (0, 0, 0, 0)]
    await connection.execute("update balances set category_set = null where ledger_id = 7")
    assert await sums() == [(0, 0, 0, 0), (0, 0, 0, 0)]


@pytest.mark.parametrize(
    ("constraint", "query"),
    [
        pytest.param("identity_is_final", "update categories set currency = 'USD'", id="another currency"),
        pytest.param("identity_is_final", "update categories set currency_exponent = 4", id="another exponent"),
        pytest.param("identity_is_final", "update categories set normal_balance = 'debit'", id="another side"),
        pytest.param("identity_is_final", "update categories set created_at = now() + '1 s'", id="another time"),
        pytest.param("identity_is_final", "update categories set category_sequence = 30", id="another number"),
        pytest.param(
            "identity_is_final",
            "update categories set discarded_at = null where category_sequence = 19",
            id="taken back",
        ),
        pytest.param(
            "categories_end_with_their_edges",
            "update categories set discarded_at = now() where category_sequence = 11",
            id="discarded with a category in it",
        ),
        pytest.param(
            "categories_end_with_their_edges",
            "update categories set discarded_at = now() where category_sequence = 15",
            id="discarded in a category",
        ),
        pytest.param(
            "categories_external_id_key", "update categories set external_id = 'taken'", id="an external id twice"
        ),
        pytest.param("history_is_final", "delete from categories where category_sequence = 17", id="removed"),
        pytest.param("history_is_final", "truncate categories cascade", id="removed at once"),
        pytest.param("history_is_final", "truncate category_edges", id="edges removed at once"),
    ],
)
async def test_a_category_stays_what_it_is(connection: asyncpg.Connection, constraint: str, query: str) -> None:
    await refused(connection, constraint, query)


async def test_a_category_is_renamed_and_discarded_once_it_is_joined_to_nothing(connection: asyncpg.Connection) -> None:
    await connection.execute("update categories set name = 'new', metadata = '{}', external_id = null")
    await connection.execute("update categories set discarded_at = now() where category_sequence = 16")
    await connection.execute("delete from category_edges where parent_sequence = 14")
    await connection.execute("update categories set discarded_at = now() where category_sequence = 15")
    await refused(connection, "categories_form_a_graph", edge(14, 15))
