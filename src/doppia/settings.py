"""Every setting: its name, type, unit, default and meaning. A flag wins over the environment, that over the file.

The file is TOML, `doppia.toml` in the data folder, with the names below as keys; in the environment a name is in
capitals with DOPPIA_ before it.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec


class SettingsError(Exception):
    """A setting has a value that it can't have; the text says which, from where, and what would be right."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the service.

    Attributes:
        data: folder of the embedded database and of credentials.json.
        host: address to listen at. The service speaks plain HTTP: put TLS in front of it before it leaves the machine.
        port: TCP port to listen at; 0 takes a free one.
        database_url: URL of your own PostgreSQL 15 or newer; where it is not set, the embedded one runs.
        owner_database_url: URL of the same database for the role that owns the schema and migrates it.
        database_user: operating system user that runs the embedded database when the service is started as root.
        stop_timeout_seconds: how long requests under way may still take when the service stops.
        checkpoint_keys: file with the keys that sign checkpoints, made where there is none; by default in `data`.
        checkpoint_to: where the service writes checkpoints: "-" for standard output, a URL, or a folder.
        checkpoint_seconds: how many seconds lie between two writings of them.
    """

    data: str = "data"
    host: str = "127.0.0.1"
    port: int = 8420
    database_url: str | None = None
    owner_database_url: str | None = None
    database_user: str | None = None
    stop_timeout_seconds: int = 10
    checkpoint_keys: str | None = None
    checkpoint_to: str | None = None
    checkpoint_seconds: Annotated[int, msgspec.Meta(ge=1)] = 60

    @property
    def data_folder(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data).expanduser().absolute()

    @property
    def checkpoint_key_file(self) -> Path:
        """The file of the keys that sign checkpoints, absolute."""
        if self.checkpoint_keys is None:
            return self.data_folder / "checkpoint.keys"
        return Path(self.checkpoint_keys).expanduser().absolute()


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings in force.

    Args:
        flags: values from the command line, by name; None where a flag was not given.
        environment: the environment of the process.

    Raises:
        SettingsError: the file can't be read, or holds a name that is no setting; or a value can't be.
    """
    names = [field.name for field in msgspec.structs.fields(Settings)]
    from_environment = {
        name: environment[f"DOPPIA_{name.upper()}"] for name in names if environment.get(f"DOPPIA_{name.upper()}")
    }
    from_flags = {name: value for name, value in flags.items() if value is not None}
    data = from_flags.get("data", from_environment.get("data", Settings().data))
    file = Path(data).expanduser() / "doppia.toml"
    values = {**_read(file), **from_environment, **from_flags}
    try:
        chosen = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"The settings are not right: {error}. See docs/reference/settings.md.") from None
    if chosen.owner_database_url is not None and chosen.database_url is None:
        raise SettingsError("owner_database_url names no database of the service: set database_url as well.")
    return chosen


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} can't be read as TOML: {error}.") from None
