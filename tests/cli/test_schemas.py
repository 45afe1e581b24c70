"""The schemas of the files: what the loader takes they take, in both drafts, and editors are told what a key means."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from authproxy.cli.schemas import Draft, configuration_schema, policy_schema
from tests.config.reading import CONFIG, POLICY

EXAMPLES = Path(__file__).parents[2] / "policies"
MORE = """\
identities: {ann: {subject: ann}}
tests:
  - request: GET https://a.test/
    cases: [{identity: ann, expect: allow}, {identity: {subject: bob}, expect: forbidden}]
  - {request: GET https://a.test/, expect: allow, limits: [fair, {name: slow, key: a}], backend_headers: {X-A: "1", X-B: false}}
"""
DRAFTS: dict[Draft, Any] = {
    "2020-12": jsonschema.Draft202012Validator,
    "7": jsonschema.Draft7Validator,
}


@pytest.mark.parametrize("draft", DRAFTS)
def test_each_is_a_schema_of_its_draft(draft: Draft) -> None:
    """By its own meta-schema; every reference leads somewhere."""
    for schema in (policy_schema(draft), configuration_schema(draft)):
        DRAFTS[draft].check_schema(schema)
        assert schema["$schema"] == DRAFTS[draft].META_SCHEMA["$id"]
        text = str(schema)
        assert ("#/$defs/" in text, "#/definitions/" in text) == (draft != "7", draft == "7")


@pytest.mark.parametrize("draft", DRAFTS)
def test_good_files_are_good(draft: Draft) -> None:
    """The examples, and files with every key."""
    policies = DRAFTS[draft](policy_schema(draft))
    texts = [POLICY, MORE, *(file.read_text() for file in EXAMPLES.glob("*.yaml"))]
    assert [list(policies.iter_errors(yaml.safe_load(text))) for text in texts] == [[]] * len(texts)
    DRAFTS[draft](configuration_schema(draft)).validate(yaml.safe_load(CONFIG))


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(
    "change",
    [
        ("mode: enforce", "mode: off"), ("upstream: orders", "upstream: 5"), ("name: orders", "nam: orders"), ("deny: [{", "deny: [{x: 1, "),
        ("[eng, ops]", "[]"), ("deny: [{groups: [suspended]}]", "deny:"), ("authenticate: none", "authenticate: nobody"), ("cost: 1", "cost: 0"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_mistakes_show_in_the_editor(draft: Draft, change: tuple[str, str]) -> None:
    """Unknown keys, types, values, empty lists and keys without a value."""
    assert change[0] in POLICY
    wrong = yaml.safe_load(POLICY.replace(*change, 1))
    assert list(DRAFTS[draft](policy_schema(draft)).iter_errors(wrong)) != []


def test_every_key_of_a_policy_file_is_described() -> None:
    """Completion without a word of meaning helps nobody; the sections of the configuration are described too."""
    schema = policy_schema()
    kinds = {"Match", "Entry", "RateLimit", "Rewrite", "HeaderChanges", "RouteDocument", "CaseIdentity", "LimitExpectation", "CaseParts", "CaseDocument"}  # fmt: skip
    models = [schema, configuration_schema(), *(schema["$defs"][kind] for kind in kinds)]
    silent = [k for m in models for k, one in m["properties"].items() if not one.get("description")]
    assert silent == []
