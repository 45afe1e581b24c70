"""`authproxy policy`: explain a decision, run the policies' own tests, print the schema. No server is needed.

All of it asks the decision function that the server asks.
"""

import json
from typing import Any

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
app.command()(policy_diff.diff)
app.command()(policy_reach.who)
app.command()(policy_reach.what)


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy files and of the configuration.

    Example: authproxy policy schema > authproxy.schema.json
    """
    from authproxy.config.schema import Config
    from authproxy.policy.document import PolicyDocument

    policy = PolicyDocument.model_json_schema()
    policy["$defs"]["Configuration"] = _inlined(Config.model_json_schema(), policy["$defs"])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "authproxy policy file",
    }
    print(json.dumps({**policy, **document}, indent=2))


def _inlined(other: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    definitions.update(other.pop("$defs", {}))
    return other


app.command()(policy_test.test)
app.command()(policy_explain.explain)
app.command()(policy_replay.replay)
app.command()(policy_replay.shadow_report)
