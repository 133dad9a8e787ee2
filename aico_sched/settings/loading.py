"""Settings as one frozen object, made of its layers and checked as a whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from aico_sched.host_zone import host_zone
from aico_sched.paths import absolute, default_config_dir, default_data_dir
from aico_sched.settings import layers
from aico_sched.settings.errors import ENVIRONMENT, from_validation, leaves
from aico_sched.settings.execution import ClusterSettings, ExecutionSettings
from aico_sched.settings.sections import (
    BusSettings,
    DataSettings,
    PathSettings,
    SandboxSettings,
    SchedulerSettings,
    StoreSettings,
    TaskSettings,
    WebSettings,
)


class Settings(BaseModel):
    """Everything the service can be told, resolved and checked. Make one with `Settings.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheduler: SchedulerSettings
    bus: BusSettings
    execution: ExecutionSettings
    cluster: ClusterSettings
    store: StoreSettings
    sandbox: SandboxSettings
    data: DataSettings
    web: WebSettings
    paths: PathSettings
    tasks: dict[str, dict[str, TaskSettings]]

    @classmethod
    def load(
        cls,
        config_file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        **overrides: Any,
    ) -> "Settings":
        """The settings of all layers: defaults < file < environment < `overrides`.

        `config_file` must exist; without one, `core.yaml` in the configuration folder is read if it is there.
        `environ` is the process's environment unless given. Overrides are nested (`bus={"name": "x"}`) or joined
        by two underscores (`bus__name="x"`). Raises ConfigurationError, which names everything that is wrong.
        """
        environ = os.environ if environ is None else environ
        sources: dict[str, layers.Layer] = {"defaults": layers.defaults()}
        if (file := _find_file(config_file, environ)) is not None:
            sources[str(file)] = layers.from_file(file)
        sources[ENVIRONMENT] = _typed(layers.from_environment(environ), cls)
        sources["arguments"] = layers.from_arguments(overrides)
        merged: layers.Layer = {}
        for layer in sources.values():
            merged = layers.merge(merged, layer)
        paths = merged.get("paths")
        if isinstance(paths, dict) and paths.get("data_dir") is None:
            merged["paths"] = paths | {"data_dir": default_data_dir(environ)}
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise from_validation(error, cls, sources) from None

    @property
    def data_dir(self) -> Path:
        """The folder that holds everything the service keeps, absolute."""
        return self.paths.data_dir

    @property
    def database_path(self) -> Path:
        """The database file: `store.path`, else `scheduler.db` in the data folder."""
        return self.store.path or self.data_dir / "scheduler.db"

    @property
    def timezone(self) -> str:
        """The zone of tasks that name none: `scheduler.timezone`, else the host's own."""
        return self.scheduler.timezone or host_zone()

    @property
    def user_task_folder(self) -> Path:
        """Where the user's task files are: `scheduler.user_task_folder`, else `tasks` in the data folder."""
        return self.scheduler.user_task_folder or self.data_dir / "tasks"


def _find_file(named: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    if named is not None:
        return absolute(named)
    standard = default_config_dir(environ) / "core.yaml"
    return standard if standard.is_file() else None


def _typed(layer: layers.Layer, model: type[BaseModel]) -> layers.Layer:
    """The environment's texts as what their keys take; the models are strict, and an environment holds only text."""
    result: layers.Layer = {}
    for key, value in layer.items():
        field = model.model_fields.get(key)
        annotation = field.annotation if field is not None else None
        if isinstance(value, dict):
            nested = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
            result[key] = _typed(value, nested) if nested else _untyped(value)
        else:
            kinds = {get_origin(kind) or kind for kind in leaves(annotation)} if field is not None else None
            kinds = {str if kind is Literal else kind for kind in kinds} if kinds is not None else None
            result[key] = layers.parse_text(value, kinds)
    return result


def _untyped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untyped(item) for key, item in value.items()}
    return layers.parse_text(value, None)
