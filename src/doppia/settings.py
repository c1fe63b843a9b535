"""Every setting: its name, type, unit, default and meaning. A flag wins over the environment, that over the file.

The file is TOML, `doppia.toml` in the data folder, with the names below as keys; in the environment a name is in
capitals with DOPPIA_ before it.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class SettingsError(Exception):
    """A setting has a value that it can't have; the text says which, from where, and what would be right."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the service.

    Attributes:
        data: folder of the embedded database and of credentials.json.
        host: address to listen at. The service speaks plain HTTP: put TLS in front of it before it leaves the machine.
        port: TCP port to listen at; 0 takes a free one.
        database_url: of a PostgreSQL 15 or newer; without it the embedded one is run.
        database_user: operating system user that runs the embedded database when the service is started as root.
        stop_timeout_seconds: how long requests under way may take when the service stops.
    """

    data: str = "data"
    host: str = "127.0.0.1"
    port: int = 8420
    database_url: str | None = None
    database_user: str | None = None
    stop_timeout_seconds: int = 10

    @property
    def data_folder(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data).expanduser().absolute()


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings in force.

    Args:
        flags: from the command line by name; None where one was not given.
        environment: the process's.

    Raises:
        SettingsError: an unknown name in the file, or a value of the wrong type anywhere.
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
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"The settings are not right: {error}. See docs/reference/settings.md.") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} can't be read as TOML: {error}.") from None
