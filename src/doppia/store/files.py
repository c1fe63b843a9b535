"""Files beside the database, each of which is whole when it is there."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, is_private: bool = False) -> None:
    """Write a file that is durable, and whole under its name or not there; one that is there is replaced.

    Args:
        path: the file; its folder is made where it is missing.
        text: all that is to be in it.
        is_private: whether only its owner may read it, from its first byte on.

    Raises:
        OSError.
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
