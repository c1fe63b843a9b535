"""Which route a method and a path lead to."""

import pytest

from doppia.accounting.errors import MethodNotAllowed, RouteNotFound
from doppia.api.http.router import Router

ROUTES = [
    ("POST", "/things", "create"),
    ("GET", "/things", "list"),
    ("POST", "/things/batch", "batch"),
    ("GET", "/things/{id}", "get"),
    ("PATCH", "/things/{id}", "update"),
    ("POST", "/things/{id}/reversal", "reverse"),
    ("PUT", "/things/{id}/parts/{part_id}", "add"),
    ("GET", "/things/batch/parts/all", "all parts of the batch"),
    ("GET", "/", "start"),
]
ROUTER = Router(ROUTES)


def found(method: str, path: str, raw_path: bytes | None = None) -> tuple[str, dict[str, str]]:
    return ROUTER.find(method, path, path.encode() if raw_path is None else raw_path)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/things", ("create", {})),
        ("GET", "/things", ("list", {})),
        ("GET", "/", ("start", {})),
        ("GET", "/things/7", ("get", {"id": "7"})),
        ("PATCH", "/things/a b", ("update", {"id": "a b"})),
        ("POST", "/things/7/reversal", ("reverse", {"id": "7"})),
        ("PUT", "/things/7/parts/8", ("add", {"id": "7", "part_id": "8"})),
        ("GET", "/things/{id}", ("get", {"id": "{id}"})),
        ("GET", "/things/{}", ("get", {"id": "{}"})),
    ],
)
def test_a_path_leads_to_its_route_with_its_parameters(
    method: str, path: str, expected: tuple[str, dict[str, str]]
) -> None:
    assert found(method, path) == expected


def test_a_segment_that_a_path_names_wins_over_a_parameter() -> None:
    assert found("POST", "/things/batch") == ("batch", {})
    assert found("GET", "/things/batch/parts/all") == ("all parts of the batch", {})


def test_what_only_the_path_with_the_parameter_serves_is_found_there() -> None:
    assert found("GET", "/things/batch") == ("get", {"id": "batch"})
    assert found("POST", "/things/batch/reversal") == ("reverse", {"id": "batch"})
    assert found("PUT", "/things/batch/parts/all") == ("add", {"id": "batch", "part_id": "all"})
    with pytest.raises(RouteNotFound):
        found("GET", "/things/7/parts")


def test_the_order_of_the_table_decides_nothing() -> None:
    backwards = Router(ROUTES[::-1])
    for method, path in (("POST", "/things/batch"), ("GET", "/things/batch"), ("GET", "/things/batch/parts/all")):
        assert backwards.find(method, path, path.encode()) == found(method, path)


def test_head_leads_where_get_does() -> None:
    assert found("HEAD", "/things/7") == ("get", {"id": "7"})
    with pytest.raises(MethodNotAllowed) as refusal:
        found("HEAD", "/things/7/reversal")
    assert refusal.value.allowed == ["POST"]


@pytest.mark.parametrize("raw_path", [b"/things/a%2Fb%20c", b"/things/a%2fb%20c", b"/thin%67s/a%2Fb%20c"])
def test_an_encoded_slash_is_part_of_its_segment(raw_path: bytes) -> None:
    assert found("GET", "/things/a/b c", raw_path) == ("get", {"id": "a/b c"})


def test_an_encoded_slash_ends_no_segment() -> None:
    assert found("GET", "/things/7/reversal", b"/things/7%2Freversal") == ("get", {"id": "7/reversal"})
    assert found("GET", "/things//", b"/things/%2F") == ("get", {"id": "/"})
    with pytest.raises(RouteNotFound) as refusal:
        found("GET", "/things/7", b"/things%2F7")
    assert refusal.value.path == "/things%2F7"


@pytest.mark.parametrize(
    "path", ["", "things", "/thing", "/Things", "/things/", "//things", "/things//reversal", "/things/7/reversal/8"]
)
def test_a_path_that_no_route_has_is_not_found(path: str) -> None:
    with pytest.raises(RouteNotFound):
        found("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/things", ["GET", "POST"]),
        ("DELETE", "/things/7", ["GET", "PATCH"]),
        ("DELETE", "/things/batch", ["GET", "PATCH", "POST"]),
        ("GET", "/things/7/reversal", ["POST"]),
    ],
)
def test_a_method_that_a_path_does_not_take_is_refused_with_those_it_takes(
    method: str, path: str, allowed: list[str]
) -> None:
    with pytest.raises(MethodNotAllowed) as refusal:
        found(method, path)
    assert (refusal.value.method, refusal.value.allowed) == (method, allowed)


def test_what_a_refusal_repeats_of_a_request_is_cut() -> None:
    with pytest.raises(RouteNotFound) as missing:
        found("GET", "/" + "x" * 5_000)
    with pytest.raises(MethodNotAllowed) as refused:
        found("X" * 5_000, "/things")
    assert (len(missing.value.path), len(refused.value.method)) == (200, 20)


def test_two_routes_with_one_method_and_path_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="two routes are GET /a/"):
        Router([("GET", "/a/{id}", 1), ("GET", "/a/{name}", 2)])
