"""Reading task code for what would hold up the event loop."""

from pathlib import Path
from typing import Annotated

import typer

from aico_sched.cli.errors import REFUSED, USAGE, Failure
from aico_sched.cli.session import Session, offline

app = typer.Typer()


@offline(app)
def lint(
    on: Session,
    paths: Annotated[list[Path], typer.Argument(help="Files and folders with task code.", show_default=False)],
) -> None:
    """Find task code that blocks the loop or never lets others run. It is read, not run. Exit code 1: found some."""
    from aico_sched.lint.report import LintFailed, LintUnavailable
    from aico_sched.lint.report import lint as look

    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        raise Failure("usage", f"there is no {', '.join(absent)}", exit_code=USAGE, details={"paths": absent})
    try:
        found = look(paths)
    except LintUnavailable as error:
        hint = "Install what it needs: pip install 'aico-sched[lint]'"
        raise Failure("unavailable", str(error), exit_code=USAGE, hint=hint) from error
    except LintFailed as error:
        raise Failure("internal", str(error), exit_code=USAGE) from error
    if on.out.as_json:
        on.out.json({"findings": [each._asdict() for each in found]})
    else:
        for each in found:
            on.out.line(f"{each.file}:{each.line}:{each.column}: {each.code} {each.message}")
            if each.mend:
                on.out.line(f"    {each.mend}", "dim")
        on.out.line(f"{len(found)} found" if found else "Nothing found.", "bold")
    if found:
        raise typer.Exit(REFUSED)
