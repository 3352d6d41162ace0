from pathlib import Path

import pytest

from runtime.environment import OF_OTHER_COMMANDS, read_settings, settings_notices, settings_table
from runtime.setting_fields import SettingsError
from runtime.settings import Settings


def test_defaults_and_environment():
    settings = read_settings({"VOWS_PORT": "9000", "VOWS_DATA_DIR": "/x", "PORT": "1", "HOME": "/root"})
    assert (settings.port, settings.data_dir, settings.host) == (9000, Path("/x"), "127.0.0.1")


def test_port_is_honoured():
    assert read_settings({"PORT": "5000"}).port == 5000


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("VOWS_PORT", "eighty", "VOWS_PORT='eighty' is not a whole number"),
        ("VOWS_PORT", "70000", "outside 0 to 65535"),
        ("PORT", "-1", "PORT=-1 is outside"),
        ("VOWS_REQUEST_TIMEOUT_S", "nan", "VOWS_REQUEST_TIMEOUT_S=nan is outside"),
        ("VOWS_ENCODING", "int4", "VOWS_ENCODING='int4' is not one of auto, s8, u8, fp32"),
        ("VOWS_DATA_DIR", "", "VOWS_DATA_DIR is empty"),
        ("VOWS_PROT", "80", "did you mean VOWS_PORT?"),
        ("VOWS_CACHE_DIRS", "/x", "did you mean VOWS_MODEL_CACHE_DIR?"),
        ("VOWS_TIMEOUT_S", "3", "did you mean VOWS_BODY_TIMEOUT_S?"),
        ("VOWS_AUTH", "none", "VOWS_AUTH='none' is not one of required, loopback, disabled"),
        ("VOWS_AUTH", "required", "VOWS_API_KEYS has no key"),
        ("VOWS_BODY_BUDGET_BYTES", "2048", "less than VOWS_MAX_BODY_BYTES"),
    ],
)
def test_a_bad_value_is_named(name, value, says):
    with pytest.raises(SettingsError) as error:
        read_settings({name: value})
    assert says in str(error.value)
    assert name in str(error.value)


def test_a_variable_that_resembles_no_setting_is_ignored_with_a_warning():
    environ = {"VOWS_SHELL_PROMPT": "$", "VOWS_PORT": "9000", "HOME": "/root"}
    assert read_settings(environ) == Settings(port=9000)
    (notice,) = settings_notices(environ)
    assert notice.startswith("VOWS_SHELL_PROMPT is not a setting and is ignored")


def test_variables_of_training_are_no_settings_of_the_server():
    environ = dict.fromkeys(OF_OTHER_COMMANDS, "/x")
    assert read_settings(environ) == Settings()
    assert settings_notices(environ) == []


def test_the_server_starts_with_a_variable_that_is_no_setting_and_warns(start_server):
    server = start_server(shell_prompt="$")
    warnings = [line for line in server.log.read_text().splitlines() if '"level":"warning"' in line]
    server.stop()
    assert any("VOWS_SHELL_PROMPT is not a setting" in line for line in warnings)


def test_disabled_authentication_contradicts_keys():
    key = "feed:read:" + "0" * 64
    with pytest.raises(SettingsError, match="VOWS_AUTH=disabled contradicts VOWS_API_KEYS"):
        read_settings({"VOWS_AUTH": "disabled", "VOWS_API_KEYS": key})
    assert read_settings({"VOWS_AUTH": "required", "VOWS_API_KEYS": key}).auth == "required"


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgres:h", "postgresql://u:se[cret@h/d", "postgresql://u:se#cret@h/d"]
)
def test_a_database_address_that_is_none_is_refused_and_not_shown(url):
    with pytest.raises(SettingsError, match="VOWS_DATABASE_URL ") as error:
        read_settings({"VOWS_DATABASE_URL": url})
    assert "cret" not in str(error.value)
    for good in ("postgres:///d", "postgresql://u:p%23@[::1]:5432/d", "postgresql://h1:1,h2:2/d?sslmode=disable"):
        assert read_settings({"VOWS_DATABASE_URL": good}).database_url == good


def test_every_setting_is_documented():
    documented = Path("docs/settings.md").read_text()
    assert settings_table() in documented, "run `make docs`"
