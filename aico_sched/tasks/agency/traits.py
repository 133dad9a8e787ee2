"""How traits of the personality move, how far they may, and what must hold of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

FULL_TRUST: Final = 20.0
"""So many signals count half as much as endlessly many would: a few say little."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait from 0 to 1 and where it began; it never strays further from there than the rules allow."""

    name: str
    value: float
    baseline: float


@dataclass(frozen=True, slots=True)
class DriftRules:
    """`rate` is the step for a month of unanimous signals; `max_step` bounds a month, `max_total` the way from the
    baseline. Each pair of `opposites` may add up to at most `opposites_limit`. `influences` says how an interaction of
    some kind moves traits: kind → trait → weight, -1 to 1."""

    rate: float
    max_step: float
    max_total: float
    opposites: Sequence[tuple[str, str]]
    opposites_limit: float
    influences: Mapping[str, Mapping[str, float]]


@dataclass(slots=True)
class Evidence:
    """The signals for one trait: how many, and their sum; each is weight × feedback, -1 to 1."""

    count: int = 0
    total: float = 0.0


def gather(evidence: dict[str, Evidence], kind: str, feedback: float, rules: DriftRules) -> None:
    """Take in one interaction; feedback beyond -1 to 1 counts as the end of that range."""
    for trait, weight in rules.influences.get(kind, {}).items():
        found = evidence.setdefault(trait, Evidence())
        found.count += 1
        found.total += weight * min(1.0, max(-1.0, feedback))


def drifted(trait: Trait, evidence: Evidence | None, rules: DriftRules) -> Trait:
    """The trait after a month with this evidence."""
    if evidence is None or not evidence.count:
        return trait
    signal = evidence.total / evidence.count * evidence.count / (evidence.count + FULL_TRUST)
    step = min(rules.max_step, max(-rules.max_step, rules.rate * signal))
    low, high = max(0.0, trait.baseline - rules.max_total), min(1.0, trait.baseline + rules.max_total)
    return Trait(trait.name, round(min(high, max(low, trait.value + step)), 6), trait.baseline)


def violations(traits: Sequence[Trait], before: Mapping[str, float], rules: DriftRules) -> list[str]:
    """What does not hold of `traits`, in words; `before` are the values a month ago, as far as they are known."""
    found, slack = [], 1e-6
    values = {trait.name: trait.value for trait in traits}
    for trait in traits:
        if not 0.0 <= trait.value <= 1.0:
            found.append(f"{trait.name} is {trait.value:g}, not from 0 to 1")
        if abs(trait.value - trait.baseline) > rules.max_total + slack:
            found.append(f"{trait.name} is {trait.value:g}, further than {rules.max_total:g} from {trait.baseline:g}")
        if abs(trait.value - before.get(trait.name, trait.value)) > rules.max_step + slack:
            found.append(f"{trait.name} moved from {before[trait.name]:g} to {trait.value:g} in one step")
    found += [f"{name} is gone" for name in before if name not in values]
    for a, b in rules.opposites:
        if a in values and b in values and values[a] + values[b] > rules.opposites_limit + slack:
            found.append(f"{a} and {b} together are {values[a] + values[b]:.3f}, more than {rules.opposites_limit:g}")
    return found


def picture(history: Mapping[str, Sequence[tuple[str, float]]]) -> str:
    """The history of each trait, `(period, value)` in order, as an SVG document with a text alternative."""
    periods = sorted({period for points in history.values() for period, _ in points})
    width, height, left, top = max(320, 60 * len(periods)), 240, 40, 20
    spots = {period: left + at * width / max(1, len(periods) - 1) for at, period in enumerate(periods)}
    lines = []
    for number, (name, points) in enumerate(sorted(history.items())):
        hue = number * 360 // max(1, len(history))
        path = " ".join(f"{spots[period]:.1f},{top + (1 - value) * height:.1f}" for period, value in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="hsl({hue} 60% 45%)" stroke-width="2"/>')
        last = points[-1][1]
        lines.append(
            f'<text x="{left + width + 8}" y="{top + (1 - last) * height + 4:.1f}" fill="hsl({hue} 60% 35%)">'
            f"{escape(name)} {last:.2f}</text>"
        )
    marks = [
        f'<text x="4" y="{top + (1 - value) * height + 4:.1f}" fill="#777">{value:.1f}</text>'
        f'<line x1="{left}" x2="{left + width}" y1="{top + (1 - value) * height:.1f}" '
        f'y2="{top + (1 - value) * height:.1f}" stroke="#ddd"/>'
        for value in (0.0, 0.5, 1.0)
    ]
    ends = [
        f'<text x="{spots[p]:.1f}" y="{top + height + 18}" fill="#777">{escape(p)}</text>'
        for p in {*periods[:1], *periods[-1:]}
    ]
    said = f"{len(history)} traits from {periods[0]} to {periods[-1]}" if periods else "no history"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 160} {top + height + 30}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(said)}</title>{"".join(marks + lines + ends)}</svg>\n'
    )
