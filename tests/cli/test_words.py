"""The words of keys: each is of a key that there is."""

from authproxy.cli.words import CONFIG_WORDS, POLICY_WORDS
from authproxy.config.schema import Config
from authproxy.policy.document import PolicyDocument


def test_no_words_are_left_of_keys_that_are_gone() -> None:
    """A key that is renamed takes its words with it."""
    for model, words in ((PolicyDocument, POLICY_WORDS), (Config, CONFIG_WORDS)):
        schema = model.model_json_schema()
        models = {**schema["$defs"], model.__name__: schema}
        known = {
            f"{name}.{key}" for name, one in models.items() for key in one.get("properties", ())
        }
        known |= {name.partition(".")[2] for name in known}
        assert set(words) - known == set()
