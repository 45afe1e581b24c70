"""JSON Schemas of the files, from the models that read them: for editors that complete and check while one types.

Draft 2020-12, and draft-07 for what knows no other (SchemaStore); both accept the same files.
"""

from collections.abc import Mapping
from typing import Any, Literal

from authproxy.cli.words import CONFIG_WORDS, POLICY_WORDS

Draft = Literal["2020-12", "7"]
URLS: Mapping[Draft, str] = {
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
    "7": "http://json-schema.org/draft-07/schema#",
}


def policy_schema(draft: Draft = "2020-12") -> dict[str, Any]:
    """The schema of policy files, with that of the configuration in its definitions."""
    from authproxy.config.schema import Config
    from authproxy.policy.document import PolicyDocument

    policy = _described(PolicyDocument.model_json_schema(), "PolicyDocument", POLICY_WORDS)
    config = _described(Config.model_json_schema(), "Config", CONFIG_WORDS)
    # What both have is of the policies.
    policy["$defs"] = {**config.pop("$defs"), **policy["$defs"], "Configuration": config}
    return _finished(policy, "authproxy policy file", draft)


def configuration_schema(draft: Draft = "2020-12") -> dict[str, Any]:
    """The schema of `authproxy.yaml`."""
    from authproxy.config.schema import Config

    schema = _described(Config.model_json_schema(), "Config", CONFIG_WORDS)
    return _finished(schema, "authproxy.yaml", draft)


def _finished(schema: dict[str, Any], title: str, draft: Draft) -> dict[str, Any]:
    found = _without_null(schema)
    if draft == "7":
        found = _older(found)
    return {"$schema": URLS[draft], **found, "title": title}


def _described(schema: dict[str, Any], name: str, words: Mapping[str, str]) -> dict[str, Any]:
    """What each key means, beside it: of its model, else of all that have a key of this name."""
    for model, one in [*schema["$defs"].items(), (name, schema)]:
        for key, value in one.get("properties", {}).items():
            said = words.get(f"{model}.{key}", words.get(key))
            if said is not None:
                value.setdefault("description", said)
    return schema


def _without_null(value: Any) -> Any:
    """A key without a value is an error in the files, whatever Python writes for one that is absent."""
    if isinstance(value, list):
        return [_without_null(one) for one in value if one != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    found = {k: _without_null(v) for k, v in value.items() if not (k == "default" and v is None)}
    if isinstance(found.get("anyOf"), list) and len(found["anyOf"]) == 1:
        only = found.pop("anyOf")[0]
        return {**only, **found}
    return found


def _older(value: Any) -> Any:
    """The same in draft-07: other words, and nothing counts beside a `$ref` there."""
    if isinstance(value, list):
        return [_older(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {"definitions" if key == "$defs" else key: _older(one) for key, one in value.items()}
    reference = found.get("$ref")
    if not isinstance(reference, str):
        return found
    found["$ref"] = reference.replace("#/$defs/", "#/definitions/")
    return found if len(found) == 1 else {"allOf": [{"$ref": found.pop("$ref")}], **found}
