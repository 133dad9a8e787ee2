"""Runs every `bench_*.py` here, one after the other, and sums up what reaches its goal.

Run `python tests/benchmarks/run.py [--quick] [--json FILE] [NAME…]`, NAME being `creates` for `bench_creates.py`. Each
script's own table and JSON object are printed, then the summary. The exit code is 0 unless a script itself fails: how
fast a machine is decides nothing. `--quick` is handed to those scripts that know it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
WITHIN = 1_200.0
CRON_GOALS = {"next": 10.0, "parse": 1.5}

Row = dict[str, Any]


def scripts(names: list[str]) -> list[Path]:
    """The benchmarks to run, all unless some are named."""
    found = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    for name in names:
        if name not in found:
            raise SystemExit(f"there is no benchmark {name}; there are {', '.join(found)}")
    return [path for name, path in found.items() if not names or name in names]


def run(script: Path, quick: bool) -> Any | None:
    """The JSON object of one benchmark, None if it failed. Its table and what it complains of go to our output."""
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
    options = ["--json"]
    if quick and "--quick" in _help(script, environment):
        options.append("--quick")
    with subprocess.Popen(
        [sys.executable, str(script), *options],
        stdout=subprocess.PIPE,
        stderr=sys.stdout,
        text=True,
        env=environment,
    ) as process:
        try:
            output, _ = process.communicate(timeout=WITHIN)
        except BaseException as error:
            # SIGTERM first: the script ends the processes that it has started.
            process.terminate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            print(f"{script.name} was not over after {WITHIN:g} s", flush=True)
            return None
    if process.returncode != 0:
        print(f"{script.name} failed with exit code {process.returncode}\n{output}", flush=True)
        return None
    return json.loads(output)


def _help(script: Path, environment: dict[str, str]) -> str:
    command = [sys.executable, str(script), "--help"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=WITHIN).stdout


def rows(name: str, result: Any) -> list[Row]:
    """The measures of a result that have a goal, as name, value, unit, goal, sense, met."""
    if name == "cron":
        ratios = [(kind, goal, result.get(kind, {}).get("median_ratio")) for kind, goal in CRON_GOALS.items()]
        return [
            {
                "name": f"cron, {kind}, times the best peer",
                "value": ratio,
                "unit": "x",
                "goal": goal,
                "sense": ">",
                "met": ratio >= goal,
            }
            for kind, goal, ratio in ratios
            if ratio is not None
        ]
    measures = result.get("measures", []) if isinstance(result, dict) else []
    return [row for row in measures if row.get("goal") is not None]


def summary(results: dict[str, Any]) -> str:
    """A line for every measure that has a goal."""
    lines = ["", "Goals", "-----"]
    for name, result in results.items():
        if result is None:
            lines.append(f"{'FAILED':8}{name}")
            continue
        for row in rows(name, result):
            sign = "≤" if row["sense"] == "<" else "≥"
            verdict = "met" if row["met"] else "MISSED"
            lines.append(f"{verdict:8}{row['name']:58}{row['value']:12,.2f} {row['unit']:4} {sign} {row['goal']:g}")
    return "\n".join(lines)


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there too")
    parser.add_argument("names", nargs="*", metavar="NAME", help="run these only")
    chosen = parser.parse_args()
    results: dict[str, Any] = {}
    for script in scripts(chosen.names):
        name = script.stem.removeprefix("bench_")
        print(f"== {name}", flush=True)
        results[name] = run(script, chosen.quick)
        print(json.dumps(results[name]), flush=True)
    if chosen.json is not None:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(summary(results))
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
