"""Rich's console, made to behave in pipes. A module of its own, so that rich is loaded only when it is needed."""

from typing import Never

from rich.console import Console


class PatientConsole(Console):
    """A console whose reader may stop early: that ends the command, and is no error of ours."""

    def on_broken_pipe(self) -> Never:
        raise BrokenPipeError
