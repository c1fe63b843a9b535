"""Named queries: which of their words are parameters, who passes them, and that the server sees the same."""

import ast
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

import doppia.store
from doppia.store.database.connections import Query, load_queries

pytestmark = pytest.mark.anyio

STORE = Path(doppia.store.__file__).parent
MODULES = sorted(
    f"{path.parent.name}/{path.stem}" for path in STORE.glob("*/*.sql") if path.parent.name != "migrations"
)
ALONE = {"database/migrate", "database/grants", "embedded/server"}
"""Modules whose statements create what the others need, or run on no database that has it."""


def test_a_parameter_is_numbered_where_its_name_stands_first_and_is_the_same_wherever_it_stands_again() -> None:
    query = Query("q", "select :b, :a_1 from t where x = :b and y >= :c")

    assert query.text == "select $1, $2 from t where x = $1 and y >= $3"
    assert query.parameters == ("b", "a_1", "c")
    assert query.arguments({"a_1": 2, "b": 1, "c": 3}) == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "select x::text, '1' ::bigint, array[1]::numeric[] from t",
        "select ':a', 'it''s :a', ':a''', '' from t",
        'select ":a" from t as "x :a"',
        "-- :a\nselect 1 -- :a, and 'quoted\nfrom t",
        "select 1 /* where :a */ from t /* order\n :a */",
        "do $$ begin perform ':a', :a; end $$",
        "do $body$ begin perform $$ :a $$; end $body$",
        "select $1, $2::bigint",
    ],
)
def test_casts_texts_names_comments_and_bodies_of_functions_are_left_as_they_are(text: str) -> None:
    query = Query("q", text)

    assert query.text == text
    assert query.parameters == ()


def test_a_parameter_is_found_right_behind_and_right_before_them() -> None:
    query = Query("q", "select ':x':a, :b::text[],(:c)-:d --:e\n,:f/*:g*/+:h")

    assert query.text == "select ':x'$1, $2::text[],($3)-$4 --:e\n,$5/*:g*/+$6"
    assert query.parameters == ("a", "b", "c", "d", "f", "h")


def test_a_query_whose_parameters_are_partly_numbers_is_refused() -> None:
    with pytest.raises(AssertionError, match="all parameters have names"):
        Query("q", "select :a, $1")


def test_a_query_says_what_is_missing_and_what_it_does_not_know() -> None:
    query = Query("accounts.get", "select :ledger, :account")

    with pytest.raises(TypeError, match=r"accounts\.get is asked without 'account'"):
        query.arguments({"ledger": 7})
    with pytest.raises(TypeError, match=r"accounts\.get knows no \['acount'\]"):
        query.arguments({"ledger": 7, "account": 5, "acount": 5})
    with pytest.raises(TypeError, match=r"accounts\.get is asked without 'account'"):
        query.arguments({"ledger": 7, "acount": 5})


@pytest.mark.parametrize("module", [module for module in MODULES if module not in ALONE])
async def test_the_server_sees_as_many_parameters_as_a_query_has_names(database_url: str, module: str) -> None:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "doppia"})
    for name, query in load_queries(module).items():
        if query.parameters:
            statement = await connection.prepare(query.text)
            assert len(statement.get_parameters()) == len(query.parameters), f"{module}.{name}"
    await connection.close()


def calls(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Find the calls of named queries in a module, with the names of the values that each passes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(
                value=ast.Subscript(value=ast.Name("_SQL"), slice=ast.Constant(str(name))),
                attr="fetch" | "fetchrow" | "fetchval" | "execute",
            ):
                passed = {keyword.arg for keyword in node.keywords}
                if None not in passed:  # what is passed by `**` is seen when it runs
                    yield name, {each for each in passed if each is not None}


@pytest.mark.parametrize("module", MODULES)
def test_who_runs_a_query_passes_a_value_for_each_of_its_parameters_and_no_other(module: str) -> None:
    path = STORE / f"{module}.py"
    queries = load_queries(module)
    for name, passed in calls(path) if path.exists() else ():
        assert passed == set(queries[name].parameters), f"{module}.{name}"
