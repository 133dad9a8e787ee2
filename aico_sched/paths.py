"""Where the service keeps its files, decided in one place so that service, client and tools find each other."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs


def default_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The data folder when nothing else names one: `$AICO_SCHED_DATA_DIR`, else `$AICO_DATA_DIR/scheduler`, else
    `scheduler` in the user's own data folder of AICO. It is not created here."""
    return _folder(environ, "DATA_DIR", platformdirs.user_data_dir)


def default_config_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The folder whose `core.yaml` is read when no file is named: `$AICO_SCHED_CONFIG_DIR`, else
    `$AICO_CONFIG_DIR/scheduler`, else `scheduler` in the user's own configuration folder of AICO."""
    return _folder(environ, "CONFIG_DIR", platformdirs.user_config_dir)


def absolute(path: str | Path) -> Path:
    """`path` with `~` expanded, seen from the working folder; links are kept as they are."""
    return Path(path).expanduser().absolute()


def _folder(environ: Mapping[str, str] | None, variable: str, fallback: Callable[..., str]) -> Path:
    environ = os.environ if environ is None else environ
    if own := environ.get(f"AICO_SCHED_{variable}"):
        return absolute(own)
    if shared := environ.get(f"AICO_{variable}"):
        return absolute(shared) / "scheduler"
    return Path(fallback("aico", appauthor=False)) / "scheduler"
