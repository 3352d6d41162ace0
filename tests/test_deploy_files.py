"""Files for several machines name settings that exist, and keep nothing on a machine."""

import re
import tomllib
from dataclasses import fields

import pytest

from runtime.setting_fields import variable
from runtime.settings import Settings
from tests.conftest import ROOT

FILES = ("fly.toml", "fly.postgres.toml", "deploy/compose.postgres.yaml")


@pytest.mark.parametrize("file", FILES)
def test_settings_in_deploy_files_exist(file: str) -> None:
    known = {variable(field.name) for field in fields(Settings)}
    assert set(re.findall(r"VOWS_[A-Z_]+", (ROOT / file).read_text())) <= known


def test_machines_on_postgres_have_no_volume_and_are_checked_for_life() -> None:
    alone, several = (tomllib.loads((ROOT / file).read_text()) for file in FILES[:2])
    assert "mounts" in alone
    assert "mounts" not in several
    assert [check["path"] for check in several["http_service"]["checks"]] == ["/healthz"]
    for section in ("vm", "kill_timeout"):
        assert alone[section] == several[section]
