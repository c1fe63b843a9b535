"""Nothing of the ledger in the official client goes without a test: every method, with every parameter it has."""

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from modern_treasury import AsyncModernTreasury
from modern_treasury._resource import AsyncAPIResource

RESOURCES = ("bulk_requests", "bulk_results", "events")
"""Those of the ledger whose names do not begin with it."""

NOT_TESTED = {
    "after_cursor": "the client pages by it",
    "ledger_account_payout_id": "of an object that the format no longer has",
    "extra_headers": "",
    "extra_query": "",
    "extra_body": "",
    "timeout": "",
    "idempotency_key": "",
    "self": "",
}


def methods(resource: object, path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the methods of a resource and of those within it, by their paths, with the names of their parameters."""
    for name, value in inspect.getmembers_static(type(resource)):
        if name.startswith(("_", "with_")):
            continue
        if inspect.isfunction(value):
            parameters = [each for each in inspect.signature(value).parameters if each not in NOT_TESTED]
            yield f"{path}.{name}", parameters
        elif isinstance(inner := getattr(resource, name), AsyncAPIResource):
            yield from methods(inner, f"{path}.{name}")


CLIENT = AsyncModernTreasury(organization_id="organization", api_key="key")
METHODS = [
    method
    for name in dir(AsyncModernTreasury)
    if name.startswith("ledger") or name in RESOURCES
    for method in methods(getattr(CLIENT, name), name)
]


Function = ast.AsyncFunctionDef | ast.FunctionDef
FUNCTIONS: dict[str, Function] = {
    node.name: node
    for file in sorted(Path(__file__).parent.glob("*.py"))
    for node in ast.parse(file.read_text(encoding="utf-8")).body
    if isinstance(node, Function)
}
"""Tests, and what they call to do their work."""


def path_of(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed(parts))


def said_by(name: str, seen: set[str]) -> tuple[set[str], set[str]]:
    """Return what a function calls, as paths of attributes, and the names of arguments and the texts that it holds.

    What the functions that it uses call and hold is included.
    """
    called, words = set(), set()
    for node in ast.walk(FUNCTIONS[name]):
        if isinstance(node, ast.Attribute):
            called.add(path_of(node))
        elif isinstance(node, ast.keyword) and node.arg:
            words.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
        elif isinstance(node, ast.Name) and node.id in FUNCTIONS.keys() - seen:
            seen.add(node.id)
            calls_too, says_too = said_by(node.id, seen)
            called |= calls_too
            words |= says_too
    return called, words


def words_by_method() -> dict[str, set[str]]:
    """Return for each method that some test calls what such tests say."""
    said: defaultdict[str, set[str]] = defaultdict(set)
    for name in FUNCTIONS:
        if name.startswith("test_"):
            called, words = said_by(name, {name})
            for method, _ in METHODS:
                if method in called:
                    said[method] |= words
    return said


SAID = words_by_method()


def test_the_client_has_the_methods_that_are_expected() -> None:
    assert len(METHODS) >= 49


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=[method for method, _ in METHODS])
def test_every_method_is_called_with_every_parameter_by_some_test(method: str, parameters: list[str]) -> None:
    assert method in SAID, "no test calls it"
    # The id of a path is passed without its name.
    assert set(parameters) - {"id"} - SAID[method] == set()
