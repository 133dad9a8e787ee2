"""This project and its peers, side by side: every measure by everybody in turns, in one run on one machine.

Run `make bench`, or `python tests/benchmarks/compare.py [--quick] [--out FOLDER] [--images FOLDER] [RUN…]`, RUN being a
key of `measures.RUNS`. Prints one table, writes `compare.json` into FOLDER (`build/bench`) and, when all runs were
made, draws the README's chart. The quick form only shows that all of it works: its figures are for nobody, and its
chart goes into FOLDER. The peers are installed into environments of the bench's own under `build/peers`, Redis and
PostgreSQL run on 127.0.0.1 while they are needed. What cannot be had is reported as missing, never as beaten. The exit
code is 0 whatever the figures are; only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chart import draw_ratios
from contestants import CONTESTANTS, OURS, Contestant, Field, Result
from harness import ROOT
from measures import ROWS, RUNS, Run
from peers.environments import PEERS, Missing
from proxy import measured
from report import judged, table

from aico_sched import __version__

SLOW = 25.0
"""A peer that takes longer than this for a round, besides the wait for the instant, makes one only."""

LEAP = "leap day"
BARE = Contestant("bare proxy", None, True, "CURVE, no access checks (libzmq's zmq_proxy)")

Figures = dict[str, dict[str, list[Result]]]
"""What each contestant answered in each run, round by round."""


def main() -> int:
    """Measure, print, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: shows that it works")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--images", type=Path, help="where to draw; docs/images, and with --quick as --out")
    parser.add_argument("runs", nargs="*", metavar="RUN", choices=[*(run.key for run in RUNS), []], help="these only")
    chosen = parser.parse_args()
    runs = [run for run in RUNS if (not chosen.runs or run.key in chosen.runs) and not (chosen.quick and not run.quick)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aico-sched-bench-", ignore_cleanup_errors=True) as place:
        field = Field(Path(place))
        print("Making the environments of:", flush=True)
        field.prepare()
        figures: Figures = {}
        failures: dict[str, dict[str, str]] = {}
        for run in runs:
            figures[run.key], failures[run.key] = in_turns(field, run, chosen.quick)
    sizes = {run.key: f"{_arguments(run, chosen.quick).get('count', 0):,}" for run in runs}
    rows = [judged(row, sizes, figures[row.run], failures[row.run], {**CONTESTANTS, BARE.name: BARE})
            for row in ROWS if row.run in figures]  # fmt: skip
    result = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "command": "make bench" + (" QUICK=1" if chosen.quick else ""),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "versions": {"aico-sched": __version__, **{name: PEERS[name].version for name in field.pythons}},
        "missing": field.missing,
        "guarantees": {each.name: each.guarantees for each in (*CONTESTANTS.values(), BARE)},
        "rows": rows,
        "rounds": figures,
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "compare.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result), flush=True)
    if not chosen.runs:
        draw_ratios(result, chosen.images or (chosen.out if chosen.quick else ROOT / "docs" / "images"))
    return 0


def _arguments(run: Run, quick: bool) -> dict[str, Any]:
    return (run.quick or {}) if quick else run.arguments


def in_turns(field: Field, run: Run, quick: bool) -> tuple[dict[str, list[Result]], dict[str, str]]:
    """Ours, peer A, peer B, ours, …: what each answered in each round, and why who has no figure has none."""
    found: dict[str, list[Result]] = {}
    failed: dict[str, str] = {}
    slow: set[str] = set()
    peers = run.quick_peers if quick and run.quick_peers else run.peers
    for number in range(1 if quick else run.rounds):
        for name in (OURS.name, *peers):
            if name in failed or name in slow:
                continue
            started = time.monotonic()
            try:
                result = once(field, run, name, quick)
            except Missing as error:
                failed[name] = f"missing: {error}"
            except Exception as error:
                failed[name] = f"failed: {type(error).__name__}: {error}"
            else:
                found.setdefault(name, []).append(result)
                if name != OURS.name and time.monotonic() - started > SLOW + run.peer_arguments.get("ahead", 0.0):
                    slow.add(name)
            took = time.monotonic() - started
            said = failed.get(name) or brief(found[name][-1])
            print(f"{run.key:14} round {number + 1}  {name:16} {took:6.1f} s  {said}", flush=True)
    return found, failed


def once(field: Field, run: Run, name: str, quick: bool) -> Result:
    """One contestant's turn."""
    arguments = _arguments(run, quick)
    if run.measure == "broker":
        folder = Path(tempfile.mkdtemp(dir=field.place))
        return measured(folder, arguments["seconds"], name == BARE.name)
    contestant = CONTESTANTS[name]
    if contestant.peer is not None:
        arguments = {**arguments, **(run.peer_quick if quick else run.peer_arguments)}
    result = field.measure(contestant, run.measure, arguments)
    if run.measure == "cron":
        return {kind: statistics.median(result[kind].values()) for kind in ("next", "parse")} | {
            "leap": result["next"][LEAP]
        }
    if result.get("ran", arguments.get("count")) < arguments.get("count", 0):
        raise RuntimeError(f"only {result['ran']:,} of {arguments['count']:,} had run after a minute")
    return result


def brief(result: Result) -> str:
    """A few figures, to see that something happens."""
    return "  ".join(
        f"{name} {value:.4g}" for name, value in list(result.items())[:5] if isinstance(value, int | float)
    )


if __name__ == "__main__":
    sys.exit(main())
