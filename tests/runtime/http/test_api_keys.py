"""Keys: made, listed in a setting, found again; and the command that makes them."""

import hashlib
import subprocess
import sys

import pytest

from runtime.environment import read_settings
from runtime.http.api_keys import MAX_KEYS, ApiKeys, entry, make_key
from runtime.setting_fields import SettingsError
from tests.waiting import WAIT_S


def test_a_made_key_is_found_by_its_entry():
    key, other = make_key(), make_key()
    keys = ApiKeys.parse(f" {entry('feed', 'read', key)} , {entry('agents', 'read+write', other)},")
    assert len(keys) == 2
    assert (keys.find(key).name, keys.find(key).scopes) == ("feed", {"metrics", "read"})
    assert keys.find(other).scopes == {"metrics", "read", "write"}
    assert ApiKeys.parse(entry("ops", "admin", key)).find(key).scopes == {"metrics", "read", "write", "admin"}
    assert ApiKeys.parse(entry("prometheus", "metrics", key)).find(key).scopes == {"metrics"}
    assert keys.find(make_key()) is None
    assert keys.find("") is None


def test_nothing_but_the_digest_is_kept():
    key = make_key()
    assert key not in entry("feed", "read", key)
    assert hashlib.sha256(key.encode()).hexdigest() in entry("feed", "read", key)
    assert len(key) > 43  # 256 bits


@pytest.mark.parametrize(
    "text",
    [
        "feed",
        "feed:read",
        "feed:root:" + "0" * 64,
        "feed:write+read:" + "0" * 64,
        "a name:read:" + "0" * 64,
        "feed:read:" + "0" * 63,
        "feed:read:vows_this-is-the-key-itself",
        f"a:read:{'0' * 64},b:write:{'0' * 64}",
        ",".join(f"a:read:{n:064x}" for n in range(MAX_KEYS + 1)),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_without_being_repeated(text):
    with pytest.raises(SettingsError) as error:
        read_settings({"VOWS_API_KEYS": text})
    assert "VOWS_API_KEYS" in str(error.value)
    assert "this-is-the-key-itself" not in str(error.value)


def test_the_command_makes_a_key_and_its_entry():
    command = [sys.executable, "-m", "runtime", "key", "--name", "feed", "--scopes", "read"]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True).stdout.splitlines()
    made = dict(line.split(maxsplit=1) for line in lines)
    assert ApiKeys.parse(made["entry"]).find(made["key"]).name == "feed"


def test_the_command_refuses_a_name_that_the_setting_cannot_hold():
    command = [sys.executable, "-m", "runtime", "key", "--name", "a,b"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    assert result.returncode == 1
    assert "'a,b'" in result.stderr
