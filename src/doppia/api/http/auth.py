"""Who sends a request: API keys, by HTTP Basic (organization_id:api_key, or the key alone as user name) or Bearer."""

import base64
import time
from typing import Final
from uuid import UUID

from doppia.accounting.errors import KeyInvalid, KeyMissing, RoleInsufficient
from doppia.engine.platform.keys import key_digest
from doppia.store.database.connections import Database
from doppia.store.platform import organizations
from doppia.store.platform.organizations import Principal, Role

CACHE_SECONDS: Final = 5
CACHE_ENTRIES_MAX: Final = 10_000

_RANK: Final = {"read": 0, "write": 1, "admin": 2}


class Authenticator:
    """Finds out who sends a request, from its Authorization header.

    What the database says of a header is remembered for CACHE_SECONDS, but only while this process hears of
    revocations, of which each makes it forget everything.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._hears_revocations = False

    def forget(self, hears_revocations: bool) -> None:
        """Forget everyone, and from now on remember answers of the database only if revocations are heard."""
        self._known = {}
        self._hears_revocations = hears_revocations

    async def principal(self, header: bytes | None) -> Principal:
        """Return who sends a request with this header.

        Raises:
            KeyMissing: no key came, or none that can be read.
            KeyInvalid: the key is unknown or revoked, or does not belong to the organization that came with it.
            Unavailable: the database can't be asked.
        """
        if header is None:
            raise KeyMissing
        known = self._known.get(header)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        organization, api_key = _credentials(header)
        remembered = self._known
        async with self._database.connection() as connection:
            principal = await organizations.find_key(connection, key_digest(api_key))
        if principal is None or (organization is not None and organization != str(principal.organization)):
            raise KeyInvalid
        if self._hears_revocations:
            if len(remembered) >= CACHE_ENTRIES_MAX:
                remembered.clear()
            # This is the dictionary as it was before the question. If a revocation came meanwhile, `forget` has
            # replaced it, and nobody reads what is written here.
            remembered[header] = (principal, time.monotonic() + CACHE_SECONDS)
        return principal


def check_role(principal: Principal, needed: Role) -> None:
    """Check that the principal's role is at least the one needed.

    Raises:
        RoleInsufficient: it is below.
    """
    if _RANK[principal.role] < _RANK[needed]:
        raise RoleInsufficient(role=principal.role, role_needed=needed)


def _credentials(header: bytes) -> tuple[str | None, str]:
    """Return the organization's id, where one was sent, and the key."""
    scheme, _, value = header.decode("latin-1").strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return None, value
    if scheme.lower() != "basic":
        raise KeyMissing
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # of base64, or of UTF-8
        raise KeyMissing from None
    if not user:
        raise KeyMissing
    if not password:
        return None, user
    try:
        return str(UUID(user)), password
    except ValueError:
        raise KeyInvalid from None
