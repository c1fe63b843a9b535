"""Files that are kept beside the database. Each is there whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, is_private: bool = False) -> None:
    """Write a file durably. Under its name stands the whole text, or what was there before, and never a part.

    Args:
        path: the file; its folder is created if it is missing.
        text: the whole text of the file.
        is_private: whether only the owner may read the file, from its first byte on.

    Raises:
        OSError: the file can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if is_private else 0o666)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
