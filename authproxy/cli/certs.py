"""`authproxy certs`: certificates to begin with. What exists is kept; an authority that exists signs what is new."""

import re
from pathlib import Path
from typing import Annotated

import typer

from authproxy.cli.writing import Report, Unwritable

app = typer.Typer(name="certs", help="Make certificates of your own.", no_args_is_help=True)

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DAYS_MOST = 825  # clients of Apple take no server certificate that is good for longer

NameOption = Annotated[list[str] | None, typer.Option("--name", metavar="NAME", help="One more host name or address of the server; repeatable.")]  # fmt: skip
DaysOption = Annotated[int, typer.Option("--days", metavar="DAYS", min=1, max=DAYS_MOST, help="How long they are good.")]  # fmt: skip
ClientOption = Annotated[str | None, typer.Option("--client", metavar="NAME", help="A client's certificate too: clients/NAME, whose CN is NAME.")]  # fmt: skip
UriOption = Annotated[list[str] | None, typer.Option("--uri", metavar="URI", help="A URI that the client's certificate names; repeatable.")]  # fmt: skip


@app.callback()
def _group() -> None:
    """Make certificates of your own."""


@app.command()
def create(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to.")] = Path("certs"),
    name: NameOption = None,
    days: DaysOption = DAYS_MOST,
    client: ClientOption = None,
    uri: UriOption = None,
) -> None:
    """Make an authority (ca.crt, ca.key) and a server certificate for localhost signed by it (server.crt, server.key).

    Nothing is overwritten. Clients that trust ca.crt trust the server: curl --cacert certs/ca.crt
    With --client the authority signs a client's certificate as well, for listeners with `client_certificates`.

    Example: authproxy certs create --name app.example.test
    Example: authproxy certs create --client robot --uri spiffe://acme.test/robot
    """
    from authproxy.cli.certificates import CertificateProblem, alternative_name, uri_name
    from authproxy.cli.provisioning import provide_certificates, provide_client

    if uri and client is None:
        raise typer.BadParameter("it is for the certificate of a --client", param_hint="--uri")
    if client is not None and not FILE_NAME.fullmatch(client):
        raise typer.BadParameter("letters, digits, `.`, `_` and `-`: it names files", param_hint="--client")  # fmt: skip
    for option, texts, read in (("--name", name, alternative_name), ("--uri", uri, uri_name)):
        try:
            for text in texts or ():
                read(text)
        except CertificateProblem as problem:
            raise typer.BadParameter(str(problem), param_hint=option) from None
    report = Report(folder)
    try:
        provide_certificates(report, names=name or (), days=days)
        if client is not None:
            provide_client(report, client, uri or (), days)
    except Unwritable as problem:
        print(*report.lines, sep="\n", end="\n" if report.lines else "")
        typer.echo(f"authproxy: {problem}", err=True)
        raise typer.Exit(1) from None
    print(*report.lines, sep="\n")
