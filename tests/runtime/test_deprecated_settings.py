"""Deprecated settings keep working for one version, and the start of the server warns about each."""

import pytest

from runtime.deprecated_settings import DEPRECATED, replace_deprecated
from runtime.environment import read_settings
from runtime.setting_fields import SettingsError, variable


def test_every_deprecated_value_sets_the_current_setting():
    assert DEPRECATED
    for old, new in DEPRECATED.items():
        assert new.values
        for old_value, value in new.values.items():
            settings = read_settings({old: old_value})
            (name,) = [name for name in vars(settings) if variable(name) == new.name]
            assert getattr(settings, name) == value


def test_the_notice_names_both_settings():
    current, notices = replace_deprecated({"VOWS_WITHOUT_KEYS": "anyone-may-call", "HOME": "/root"})
    assert current == {"VOWS_AUTH": "disabled", "HOME": "/root"}
    (notice,) = notices
    assert "VOWS_WITHOUT_KEYS is deprecated" in notice
    assert "VOWS_AUTH=disabled" in notice
    assert replace_deprecated({"VOWS_AUTH": "disabled"}) == ({"VOWS_AUTH": "disabled"}, [])


def test_with_keys_the_old_setting_never_opened_the_server():
    current, _ = replace_deprecated({"VOWS_WITHOUT_KEYS": "anyone-may-call", "VOWS_API_KEYS": "a:read:0"})
    assert current["VOWS_AUTH"] == "loopback"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"VOWS_WITHOUT_KEYS": "anyone-may-call", "VOWS_AUTH": "loopback"}, "unset VOWS_WITHOUT_KEYS"),
        ({"VOWS_WITHOUT_KEYS": "nobody"}, "is now VOWS_AUTH, one of loopback, disabled"),
    ],
    ids=["both names", "an unknown value"],
)
def test_a_deprecated_setting_that_cannot_be_used_is_refused(environ, says):
    with pytest.raises(SettingsError, match=says):
        read_settings(environ)


def test_the_server_starts_with_a_deprecated_setting_and_warns(start_server):
    server = start_server(without_keys="loopback-only")
    warnings = [line for line in server.log.read_text().splitlines() if '"level":"warning"' in line]
    assert any("VOWS_WITHOUT_KEYS is deprecated" in line and "VOWS_AUTH=loopback" in line for line in warnings)
    server.stop()
