"""From a method and a path to the route that serves them, in a tree of paths that is built once."""

from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import unquote

from doppia.accounting.errors import MethodNotAllowed, RouteNotFound

T = TypeVar("T")

_PARAMETER: Final = "{}"
"""The name under which a node holds what follows a parameter; a segment that is written so is a parameter's value."""


class _Route(NamedTuple, Generic[T]):
    """A route, and at which segment of the path each of its parameters stands."""

    target: T
    parameters: tuple[tuple[str, int], ...]


class _Node(Generic[T]):
    """The paths with one beginning: those that go on, by their next segment, and the one that ends here, by method."""

    __slots__ = ("below", "routes")

    def __init__(self) -> None:
        self.below: dict[str, _Node[T]] = {}
        self.routes: dict[str, _Route[T]] = {}


class Router(Generic[T]):
    """Finds what serves a request.

    A segment that a path names wins over a parameter in its place, method by method: what only the path with the
    parameter serves is found there, with the segment as the parameter's value.
    """

    def __init__(self, routes: Sequence[tuple[str, str, T]]) -> None:
        """Build the tree from method, path and target of each route; a parameter is a segment written `{name}`."""
        self._root = _Node[T]()
        for method, path, target in routes:
            _insert(self._root, method, path, target)
        _share(self._root)
        # Paths without a parameter are found whole, as most requests are.
        self._whole = {
            path: (segments, self._routes_at(segments))
            for path, segments in ((path, path.split("/")) for _, path, _ in routes if "{" not in path)
        }

    def find(self, method: str, path: str, raw_path: bytes) -> tuple[T, dict[str, str]]:
        """Return the target of a request and its parameters by name; HEAD is served by what serves GET.

        Args:
            method: of the request.
            path: decoded.
            raw_path: the same path as it was sent. A slash that is encoded there is part of a segment, not its end.

        Raises:
            RouteNotFound: no route has this path.
            MethodNotAllowed: one has, but not with this method.
        """
        if b"%2F" in raw_path or b"%2f" in raw_path:
            path = raw_path.decode("latin-1")
            segments = [unquote(segment) for segment in path.split("/")]
            routes = self._routes_at(segments)
        elif (whole := self._whole.get(path)) is not None:
            segments, routes = whole
        else:
            segments = path.split("/")
            routes = self._routes_at(segments)
        route = routes.get("GET" if method == "HEAD" else method)
        if route is not None:
            parameters = {name: segments[position] for name, position in route.parameters} if route.parameters else {}
            return route.target, parameters
        if routes:
            raise MethodNotAllowed(method=method[:20], allowed=sorted(routes))
        raise RouteNotFound(path=path[:200])

    def _routes_at(self, segments: Sequence[str]) -> dict[str, _Route[T]]:
        """Return the routes of a path by method; none where no route has it."""
        node = self._root
        for segment in segments:
            below = node.below.get(segment)
            if below is None and segment:
                below = node.below.get(_PARAMETER)
            if below is None:
                return {}
            node = below
        return node.routes


def _insert(root: _Node[T], method: str, path: str, target: T) -> None:
    parameters = []
    node = root
    for position, segment in enumerate(path.split("/")):
        if segment.startswith("{"):
            parameters.append((segment[1:-1], position))
            segment = _PARAMETER  # noqa: PLW2901
        node = node.below.setdefault(segment, _Node())
    assert method not in node.routes, f"two routes are {method} {path}"
    node.routes[method] = _Route(target, tuple(parameters))


def _share(node: _Node[T]) -> None:
    """Let each named segment lead also to where the parameter in its place leads, so that a search never goes back."""
    parameter = node.below.get(_PARAMETER)
    for below in node.below.values():
        if parameter is not None and below is not parameter:
            _add(below, parameter)
        _share(below)


def _add(node: _Node[T], other: _Node[T]) -> None:
    """Add the routes of another node, and of those below it, where the node has none of its own."""
    for method, route in other.routes.items():
        node.routes.setdefault(method, route)
    for segment, below in other.below.items():
        _add(node.below.setdefault(segment, _Node()), below)
