"""The comparison in words: which peer is the best, how many times better or worse we are, and one table of it all.

A ratio above 1 says that we are better, below 1 that the peer is, whichever way the measure counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Protocol

from measures import Row

Result = dict[str, Any]
OURS = "aico-sched"


class Known(Protocol):
    """What is asked of a contestant here."""

    @property
    def durable(self) -> bool: ...


def judged(
    row: Row,
    sizes: Mapping[str, str],
    figures: Mapping[str, list[Result]],
    failures: Mapping[str, str],
    known: Mapping[str, Known],
) -> Result:
    """One line: everybody's median and spread, the best peers, the ratios and whether what is to be reached is."""
    values = {
        name: sorted(result[row.figure] * row.factor for result in rounds if row.figure in result)
        for name, rounds in figures.items()
    }
    medians = {name: statistics.median(found) for name, found in values.items() if found}
    peers = {name: value for name, value in medians.items() if name != OURS}
    like = {name: value for name, value in peers.items() if known[name].durable or not row.durable}
    spreads = {
        name: {"median": value, "low": values[name][0], "high": values[name][-1], "rounds": len(values[name])}
        for name, value in medians.items()
    }
    found: Result = {
        "title": row.title.format(**sizes),
        "unit": row.unit,
        "less": row.less,
        "figures": spreads,
        "failures": dict(failures),
        "comparable": _best(row, medians, like),
        "best": _best(row, medians, peers),
        "reach": row.reach,
        "times": row.times,
        "met": None,
    }
    ours = medians.get(OURS)
    if ours is None:
        return found
    if row.reach is not None:
        found["met"] = ours <= row.reach if row.less else ours >= row.reach
    elif row.times is not None and found["comparable"]["ratio"] is not None:
        found["met"] = found["comparable"]["ratio"] >= row.times
    return found


def _best(row: Row, medians: Mapping[str, float], among: Mapping[str, float]) -> Result:
    """The best of some peers, and how many times as good we are; None for what there is not, or what is divided by
    nothing."""
    if not among:
        return {"name": None, "value": None, "ratio": None}
    name = (min if row.less else max)(among, key=lambda each: among[each])
    theirs, ours = among[name], medians.get(OURS)
    over, under = (theirs, ours) if row.less else (ours, theirs)
    return {"name": name, "value": theirs, "ratio": over / under if over and under else None}


def number(value: float | None, unit: str = "") -> str:
    """Three significant digits, thousands with commas."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def times(ratio: float | None) -> str:
    """A ratio for people."""
    return "–" if ratio is None else f"{number(ratio)}×" if ratio < 100 else f"{ratio:,.0f}×"


def aim(row: Result) -> str:
    """What is to be reached."""
    if row["times"] is not None:
        return f"{number(row['times'])}× the best" if row["times"] >= 1 else f"{number(1 / row['times'])}× its time"
    if row["reach"] is not None:
        return f"{'≤' if row['less'] else '≥'} {number(row['reach'], row['unit'])}"
    return ""


def table(result: Result) -> str:
    """The whole comparison as text."""
    head = (
        "Measure",
        "ours: median",
        "low–high",
        "best comparable peer",
        "ratio",
        "best of all",
        "ratio",
        "to reach",
        "",
    )
    lines = [head]
    for row in result["rows"]:
        ours = row["figures"].get(OURS, {})
        cells = [row["title"], number(ours.get("median"), row["unit"])]
        cells.append(f"{number(ours['low'])}–{number(ours['high'])}" if ours else row["failures"].get(OURS, "–"))
        for kind in ("comparable", "best"):
            best = row[kind]
            cells += [
                f"{best['name']} {number(best['value'], row['unit'])}" if best["name"] else "–",
                times(best["ratio"]),
            ]
        lines.append((*cells, aim(row), {None: "", True: "met", False: "MISSED"}[row["met"]]))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join(["", *text, "", *everybody(result), *notes(result)])


def everybody(result: Result) -> list[str]:
    """Every contestant's figure in every row."""
    lines = ["Everybody: median (low–high; rounds)", ""]
    for row in result["rows"]:
        lines.append(row["title"])
        for name, found in sorted(
            row["figures"].items(), key=lambda each: each[1]["median"] * (1 if row["less"] else -1)
        ):
            spread = f"{number(found['low'])}–{number(found['high'])}; {found['rounds']}"
            lines.append(f"    {name:18}{number(found['median'], row['unit']):>16}  ({spread})")
        lines += [f"    {name:18}{reason}" for name, reason in row["failures"].items()]
    return lines


def notes(result: Result) -> list[str]:
    """Who guarantees what, in which version, on which machine."""
    machine = result["machine"]
    shown = {name for row in result["rows"] for name in (*row["figures"], *row["failures"])}
    lines = ["", "What each guarantees"]
    lines += [f"    {name:18}{text}" for name, text in result["guarantees"].items() if name in shown]
    lines += ["", "Versions: " + ", ".join(f"{name} {version}" for name, version in result["versions"].items())]
    lines += [f"Missing: {name}: {reason}" for name, reason in result["missing"].items()]
    lines.append(
        f"Machine: {machine['cpus']} processors, Python {machine['python']}, load {machine['load']:.1f} at the end"
    )
    lines.append(f"Made by `{result['command']}` in {result['minutes']} minutes, {result['made']}")
    return lines
