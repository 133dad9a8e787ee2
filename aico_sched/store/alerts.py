"""Alerts: the same one not again too soon, and the notice that one is over exactly when there was one."""

import json
from typing import Any

from aico_sched.json_text import compact
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.internal import AlertRaise

REPEAT_US = 300 * 1_000_000
"""An alert is published again after so long, if its trouble goes on or has come back."""

OPEN_ALERTS = "open_alerts"


class Alerts:
    """Publishes alerts as events. Lasting ones are remembered in the database until they are resolved: who raises them
    says `resolved` also when it starts and all is well, for it does not know what an earlier boot has raised."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._told: dict[tuple[str, str], int] = {}

    def raised(self, alert: AlertRaise) -> None:
        """Publish an alert, unless the same one (by key and severity) was published a moment ago."""
        if alert.resolved:
            self._resolved(alert)
            return
        last = self._told.get((alert.key, alert.severity))
        if last is not None and 0 <= self._unit.now_us - last < REPEAT_US:
            return
        self._told[alert.key, alert.severity] = self._unit.now_us
        if alert.lasting:
            self._keep({**self._open(), alert.key: alert.severity})
        self._publish(alert)

    def _resolved(self, alert: AlertRaise) -> None:
        for known in [known for known in self._told if known[0] == alert.key]:
            del self._told[known]
        still = self._open()
        if still.pop(alert.key, None) is not None:
            self._keep(still)
            self._publish(alert)

    def over(self, notice: AlertRaise) -> None:
        """Publish the notice that trouble is over which was told of past the database."""
        still = self._open()
        if still.pop(notice.key, None) is not None:
            self._keep(still)
        self._publish(notice)

    def reset(self) -> None:
        """After a transaction that was rolled back: at worst an alert is repeated."""
        self._told.clear()

    def _publish(self, alert: AlertRaise) -> None:
        body = {name: value for name, value in alert._asdict().items() if name != "lasting"}
        self._unit.outbox.add(names.ALERT, self._unit.now, {"at": self._unit.now, **body})

    def _open(self) -> dict[str, Any]:
        row = self._unit.database.one("get_meta", (OPEN_ALERTS,))
        found: dict[str, Any] = {} if row is None else json.loads(row[0])
        return found

    def _keep(self, alerts: dict[str, Any]) -> None:
        self._unit.database.run("set_meta", (OPEN_ALERTS, compact(alerts)))
