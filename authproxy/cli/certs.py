"""`authproxy certs`: certificates to begin with. What exists is kept; an authority that exists signs what is new."""

from pathlib import Path
from typing import Annotated

import typer

from authproxy.cli.writing import Report, Unwritable

app = typer.Typer(name="certs", help="Make certificates of your own.", no_args_is_help=True)

DAYS_MOST = 825  # clients of Apple take no server certificate that is good for longer


@app.callback()
def _group() -> None:
    """Make certificates of your own."""


@app.command()
def create(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to.")] = Path("certs"),
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="One more host name or address of the server; repeatable."),
    ] = None,
    days: Annotated[
        int,
        typer.Option("--days", min=1, max=DAYS_MOST, help="How long the server's is good."),
    ] = DAYS_MOST,
) -> None:
    """Make an authority (ca.crt, ca.key) and a server certificate for localhost signed by it (server.crt, server.key).

    Nothing is overwritten. Clients that trust ca.crt trust the server: curl --cacert certs/ca.crt

    Example: authproxy certs create --name app.example.test
    """
    from authproxy.cli.certificates import CertificateProblem, alternative_name
    from authproxy.cli.provisioning import provide_certificates

    try:
        for text in name or ():
            alternative_name(text)
    except CertificateProblem as problem:
        raise typer.BadParameter(str(problem), param_hint="--name") from None
    report = Report(folder)
    try:
        provide_certificates(report, names=name or (), days=days)
    except Unwritable as problem:
        print(*report.lines, sep="\n", end="\n" if report.lines else "")
        typer.echo(f"authproxy: {problem}", err=True)
        raise typer.Exit(1) from None
    print(*report.lines, sep="\n")
