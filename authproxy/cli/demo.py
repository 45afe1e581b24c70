"""`authproxy demo`: a proxy with a backend in a directory that is gone when the demo ends. `demo_stage.py` does the work."""

import sys
from typing import Annotated

import typer


def demo(
    check: Annotated[
        bool, typer.Option("--check", help="Run the lines here, say what each came to, and leave.")
    ] = False,
) -> None:
    """Start a proxy with a backend in a temporary directory, and print curl lines to try it with. Ctrl-C ends it.

    Example: authproxy demo
    """
    import asyncio

    from authproxy.cli.demo_stage import DemoFailure, run_demo
    from authproxy.cli.writing import Unwritable

    try:
        passed = asyncio.run(run_demo(check=check))
    except (DemoFailure, Unwritable) as failure:
        print(f"authproxy: {failure}", file=sys.stderr)
        raise typer.Exit(1) from None
    if not passed:
        raise typer.Exit(1)
