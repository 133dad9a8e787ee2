"""What counts as a secret, how it is hidden, and how what was hidden comes back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aico_sched.redaction import HIDDEN, is_secret, redacted, restored, shown

SECRETS = (
    "password smtp_password smtpPassword API_KEY api-key apiKey token access_token Authorization client_secret "
    "privateKey passphrase credentials"
)
OTHERS = "key path tokens max_tokens tokenizer keyboard passenger secretary monkey author"


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["key", "path", "tokens", "max_tokens", "tokenizer", "keyboard", "passenger", "secretary", "monkey", "author"],
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_hidden_at_any_depth_and_what_is_empty_shows() -> None:
    config = {"url": "u", "token": "t", "smtp": {"password": "p", "port": 25}, "all": [{"secret": 1}], "api_key": None}
    expected = {
        "url": "u",
        "token": HIDDEN,
        "smtp": {"password": HIDDEN, "port": 25},
        "all": [{"secret": HIDDEN}],
        "api_key": None,
    }
    assert redacted(config) == expected
    assert shown(json.dumps(config)) == expected


NAMES = st.sampled_from(["url", "token", "password", "port", "api_key"])
LEAVES = st.none() | st.integers() | st.text(max_size=5).filter(lambda text: text != HIDDEN)
CONFIGS = st.dictionaries(
    NAMES, st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner) | st.lists(inner), max_leaves=10)
)


@given(CONFIGS)
def test_what_is_shown_and_sent_back_changes_nothing(config: dict[str, Any]) -> None:
    assert restored(redacted(config), config) == config


@given(CONFIGS)
def test_the_quick_look_misses_nothing(config: dict[str, Any]) -> None:
    assert shown(json.dumps(config)) == redacted(config)


@given(CONFIGS, CONFIGS)
def test_what_is_new_stays_what_it_is(new: dict[str, Any], old: dict[str, Any]) -> None:
    assert restored(new, old) == new
