"""The chain of the audit trail: whatever is done to a stored line shows, and where."""

from hypothesis import given
from hypothesis import strategies as st

from aico_sched.audit_chain import GENESIS, TRIMMED, Line, Link, Verifier, extended

START = Link(0, GENESIS.hex())
Rows = list[tuple[int, Line, str]]


def trail(count: int) -> Rows:
    lines = [
        Line(f"t{number}", "bob", "module", "scheduler.task.create", "user.x", "ok", "") for number in range(count)
    ]
    return [(row[0], Line(*row[1:8]), row[8].hex()) for row in extended(START, lines)]


def found(rows: Rows, head: Link, anchor: Link = START) -> int | None:
    """The number of the first broken line."""
    verifier = Verifier(anchor)
    broken = verifier.check(rows) or verifier.finish(head)
    return None if broken is None else broken.id


def head_of(rows: Rows) -> Link:
    return Link(rows[-1][0], rows[-1][2])


def test_an_untouched_trail_is_whole_however_it_is_cut_into_pages() -> None:
    rows = trail(7)
    verifier = Verifier(START)
    for row in rows:
        assert verifier.check([row]) is None
    assert verifier.finish(head_of(rows)) is None
    assert found([], START) is None


@given(st.integers(0, 6), st.sampled_from(Line._fields))
def test_a_changed_field_is_found_at_its_line(index: int, field: str) -> None:
    rows = trail(7)
    head = head_of(rows)
    number, line, digest = rows[index]
    rows[index] = (number, line._replace(**{field: "forged"}), digest)
    assert found(rows, head) == number


@given(st.integers(0, 6))
def test_a_removed_line_is_found_at_its_place(index: int) -> None:
    rows = trail(7)
    head = head_of(rows)
    del rows[index]
    assert found(rows, head) == index + 1


@given(st.integers(0, 5))
def test_lines_in_another_order_are_found(index: int) -> None:
    rows = trail(7)
    head = head_of(rows)
    (a, first, hash_a), (b, second, hash_b) = rows[index : index + 2]
    rows[index : index + 2] = [(a, second._replace(at=second.at), hash_b), (b, first, hash_a)]
    assert found(rows, head) == index + 1


def test_a_forged_line_with_a_fitting_hash_breaks_the_one_after_it() -> None:
    rows = trail(5)
    forged = rows[2][1]._replace(source="alice")
    rows[2] = (3, forged, extended(Link(2, rows[1][2]), [forged])[0][-1].hex())
    assert found(rows, head_of(rows)) == 4


def test_a_shortened_trail_is_whole_from_where_its_own_line_says() -> None:
    rows = trail(6)
    anchor = Link(rows[1][0], rows[1][2])
    said = Line("t", "aico-sched", "service", TRIMMED, anchor.format(), "ok", "")
    (row,) = extended(head_of(rows), [said])
    rest = [*rows[2:], (row[0], said, row[8].hex())]
    head = Link(row[0], row[8].hex())
    assert found(rest, head, anchor) is None
    # More was cut off than that line says, with an anchor that fits.
    assert found(rest[1:], head, Link(rows[2][0], rows[2][2])) == 4
    # Cut off without a word.
    assert found(rows[2:], head_of(rows), anchor) == 3
