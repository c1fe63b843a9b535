"""Lints the migrations with squawk; what `make check` runs. Fails on any finding that is not excluded here, by name."""

import subprocess
import sys
from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).parent.parent / "src" / "doppia" / "store" / "migrations"

EXCLUDED: Final = (
    # Of what the 16-bit and 32-bit columns hold (exponents to 30, HTTP statuses, versions of one transaction) nothing
    # comes near their limits. Whatever counts records, entries or lock versions is a bigint.
    "prefer-bigint-over-smallint",
    "prefer-bigint-over-int",
    # `minor_units` says once, for every amount and sum, what an amount is. Changing it would scan every table that has
    # one; it is what it must be from the first migration on.
    "ban-create-domain-with-constraint",
)
EXCLUDED_IN_THE_FIRST: Final = (
    # Nobody reads or writes a schema that is being created: there is no lock to wait for, and no query to hold up.
    "require-lock-timeout",
    "require-statement-timeout",
)


def main() -> None:
    """Lint every migration; the first has the fresh schema to itself."""
    first, *later = sorted(MIGRATIONS.glob("*.sql"))
    status = _lint([first], (*EXCLUDED, *EXCLUDED_IN_THE_FIRST))
    if later:
        status = max(status, _lint(later, EXCLUDED))
    sys.exit(status)


def _lint(paths: list[Path], excluded: tuple[str, ...]) -> int:
    squawk = Path(sys.executable).with_name("squawk")
    # store/database/migrate.py runs each file in a database transaction, on PostgreSQL 15 or newer.
    command: list[str | Path] = [
        squawk,
        "--assume-in-transaction",
        "--pg-version=15.0",
        f"--exclude={','.join(excluded)}",
        *paths,
    ]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    main()
