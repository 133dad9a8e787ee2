"""The contract as a document, for people who write a client in another language."""

from typing import Annotated

import typer

from aico_sched.cli.session import Session, offline

app = typer.Typer()


@offline(app)
def contract(
    on: Session,
    host: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where publishers connect, as the document says it.")
    ] = "127.0.0.1:5565",
) -> None:
    """Print every topic and message as an AsyncAPI 3 document (YAML; JSON with --json)."""
    from aico_sched import __version__
    from aico_sched.topics.asyncapi import document

    described = document(__version__, host)
    if on.out.as_json:
        on.out.json(described)
        return
    import yaml

    typer.echo(yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120), nl=False)
