"""Random bytes for the texts that a log commits to, so that nobody can guess them from their hashes."""

import os
from typing import Final

from doppia.proof.sealing import SALT_BYTES

_SALTS_AT_ONCE: Final = 256
"""The system is asked for this many at once: one system call for each would take longer than all else of a salt."""

_unused: list[bytes] = []
os.register_at_fork(after_in_child=_unused.clear)  # two processes never use the same


def new_salt() -> bytes:
    """Return 16 random bytes that were never returned before."""
    try:
        return _unused.pop()
    except IndexError:
        random = os.urandom(SALT_BYTES * _SALTS_AT_ONCE)
        _unused.extend(random[at : at + SALT_BYTES] for at in range(0, len(random), SALT_BYTES))
        return _unused.pop()
