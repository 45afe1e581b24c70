"""`authproxy policy`: explain a decision, run the policies' own tests, print the schema. No server is needed.

All of it asks the decision function that the server asks.
"""

import json
from enum import StrEnum
from typing import Annotated

import typer

from authproxy.cli import (
    policy_diff,
    policy_explain,
    policy_reach,
    policy_replay,
    policy_test,
)

app = typer.Typer(
    name="policy", help="Explain, test, compare and describe policies.", no_args_is_help=True
)
app.command()(policy_explain.explain)
app.command()(policy_test.test)
app.command()(policy_diff.diff)
app.command()(policy_reach.who)
app.command()(policy_reach.what)
app.command()(policy_replay.replay)
app.command()(policy_replay.shadow_report)


class Draft(StrEnum):
    """Of JSON Schema."""

    new = "2020-12"
    old = "7"


class Files(StrEnum):
    """What there are schemas of."""

    policies = "policies"
    configuration = "configuration"


@app.command()
def schema(
    draft: Annotated[
        Draft, typer.Option("--draft", help="7 is for what knows no other, such as SchemaStore.")
    ] = Draft.new,
    of: Annotated[
        Files, typer.Option("--of", help="Policy files, or authproxy.yaml by itself.")
    ] = Files.policies,
) -> None:
    """Print the JSON Schema of policy files and of the configuration.

    Example: authproxy policy schema --draft 7 > authproxy-policy.schema.json
    """
    from authproxy.cli.schemas import configuration_schema, policy_schema

    made = {Files.policies: policy_schema, Files.configuration: configuration_schema}[of]
    print(json.dumps(made(draft.value), indent=2, ensure_ascii=False))
