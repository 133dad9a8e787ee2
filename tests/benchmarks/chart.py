"""The charts as SVG, drawn by hand: two kinds of chart need no library. The README's is there twice, for a light and
for a dark page; the manual's plots have a ground of their own, readable on both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from report import OURS, number, times

WIDTH, ROW, LEFT, RIGHT = 900, 26, 330, 24
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


class Palette(NamedTuple):
    """Colours of one kind of page."""

    text: str
    faint: str
    grid: str
    better: str
    worse: str
    lines: tuple[str, ...]


PALETTES = {
    "light": Palette(
        "#1f2328", "#59636e", "#d1d9e0", "#1a7f64", "#b35900", ("#1a7f64", "#8250df", "#b35900", "#0969da")
    ),
    "dark": Palette(
        "#e6edf3", "#9198a1", "#3d444d", "#3fb68b", "#e0823d", ("#3fb68b", "#ab7df8", "#e0823d", "#4493f8")
    ),
}


def _text(
    x: float, y: float, content: str, colour: str, size: int = 13, anchor: str = "start", weight: str = ""
) -> str:
    bold = " font-weight='600'" if weight else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' fill='{colour}' font-size='{size}' text-anchor='{anchor}'{bold} {FONT}>"
        f"{escape(content)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' stroke-width='{width}'/>"


def _svg(height: float, title: str, parts: Sequence[str], width: float = WIDTH) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
        f"height='{height:.0f}' role='img'>\n<title>{escape(title)}</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def draw_ratios(result: dict[str, Any], folder: Path) -> None:
    """`bench-light.svg` and `bench-dark.svg`: how many times the best peer of comparable guarantees we are, by measure,
    on a logarithmic scale."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, palette in PALETTES.items():
        (folder / f"bench-{name}.svg").write_text(_ratios(result, palette), encoding="utf-8")


def _ratios(result: dict[str, Any], palette: Palette) -> str:
    rows = [row for row in result["rows"] if row["comparable"]["ratio"] is not None]
    ratios = [row["comparable"]["ratio"] for row in rows] or [1.0]
    low = math.floor(math.log10(min(0.5, *ratios)))
    high = math.ceil(math.log10(max(2.0, *ratios)))
    inner = WIDTH - LEFT - RIGHT - 190

    def x(ratio: float) -> float:
        return LEFT + (math.log10(ratio) - low) / (high - low) * inner

    top = 64
    bottom = top + ROW * len(rows)
    parts = [
        _text(12, 24, "Times as good as the best peer with comparable guarantees", palette.text, 16, weight="bold"),
        _text(
            12,
            44,
            "Logarithmic; right of 1× is better. Our figure and the peer's stand beside each bar.",
            palette.faint,
        ),
    ]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(_line(at, top - 4, at, bottom + 4, palette.grid))
        parts.append(_text(at, bottom + 20, f"{10.0**power:,g}×", palette.faint, 12, "middle"))
    parts.append(_line(x(1), top - 4, x(1), bottom + 4, palette.text, 1.5))
    for index, row in enumerate(rows):
        parts += _bar(row, top + index * ROW, x, palette)
    versions = [f"{name} {version}" for name, version in result["versions"].items()]
    half = (len(versions) + 1) // 2
    machine = result["machine"]
    made = f"{result['command']} · {result['made'][:10]} · {machine['cpus']} processors, Python {machine['python']}"
    for number_, line in enumerate((" · ".join(versions[:half]), " · ".join(versions[half:]), made)):
        parts.append(_text(12, bottom + 48 + 18 * number_, line, palette.faint, 12))
    return _svg(bottom + 98, "How this scheduler compares with its peers", parts)


def _bar(row: dict[str, Any], top: float, x: Any, palette: Palette) -> list[str]:
    best = row["comparable"]
    ratio = best["ratio"]
    colour = palette.better if ratio >= 1 else palette.worse
    left, right = sorted((x(1), x(ratio)))
    ours = number(row["figures"][OURS]["median"], row["unit"])
    words = f"{times(ratio)}  {ours} · {best['name']} {number(best['value'], row['unit'])}"
    return [
        _text(LEFT - 12, top + 17, row["title"], palette.text, 13, "end"),
        f"<rect x='{left:.1f}' y='{top + 5}' width='{max(right - left, 1.5):.1f}' height='{ROW - 10}' rx='2' "
        f"fill='{colour}'/>",
        _text(max(right, x(1)) + 6, top + 17, words, palette.text, 12),
    ]


class Series(NamedTuple):
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]


class Plot(NamedTuple):
    """Lines over a size that grows by powers of ten, on logarithmic scales."""

    name: str
    title: str
    across: str
    unit: str
    series: Sequence[Series]


def draw_plots(plots: Sequence[Plot], folder: Path) -> None:
    """`<name>.svg` of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        (folder / f"{plot.name}.svg").write_text(_plot(plot, PALETTES["light"]), encoding="utf-8")


def _decades(values: Sequence[float]) -> tuple[int, int]:
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return low, max(high, low + 1)


def _plot(plot: Plot, palette: Palette) -> str:
    width, height, left, top, right, bottom = 640.0, 360.0, 70.0, 50.0, 20.0, 60.0
    across = [point[0] for series in plot.series for point in series.points]
    up = [point[1] for series in plot.series for point in series.points]
    (x_low, x_high), (y_low, y_high) = _decades(across), _decades(up)

    def x(value: float) -> float:
        return left + (math.log10(max(value, 10.0**x_low)) - x_low) / (x_high - x_low) * (width - left - right)

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**y_low)) - y_low) / (y_high - y_low)
        return height - bottom - share * (height - top - bottom)

    parts = [f"<rect width='{width:.0f}' height='{height:.0f}' rx='6' fill='#ffffff'/>"]
    parts.append(_text(12, 24, plot.title, palette.text, 15, weight="bold"))
    for power in range(y_low, y_high + 1):
        at = y(10.0**power)
        parts += [_line(left, at, width - right, at, palette.grid)]
        parts += [_text(left - 8, at + 4, f"{10.0**power:,g} {plot.unit}", palette.faint, 11, "end")]
    for power in range(x_low, x_high + 1):
        at = x(10.0**power)
        parts += [_line(at, top, at, height - bottom, palette.grid)]
        parts += [_text(at, height - bottom + 18, f"{10.0**power:,.0f}", palette.faint, 11, "middle")]
    parts.append(_text((left + width - right) / 2, height - bottom + 36, plot.across, palette.faint, 12, "middle"))
    for index, series in enumerate(plot.series):
        colour = palette.lines[index % len(palette.lines)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in series.points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x(a):.1f}' cy='{y(b):.1f}' r='3.5' fill='{colour}'/>" for a, b in series.points]
        parts += [_text(x(a), y(b) - 9, number(b), colour, 11, "middle") for a, b in series.points]
        parts.append(_text(left + 170 * index, height - 8, f"● {series.name}", colour, 12))
    return _svg(height, plot.title, parts, width)
