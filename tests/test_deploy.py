"""What operators start from: every metric that is named exists, and every file is what its program reads."""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml

from runtime.http.api_keys import entry, make_key
from runtime.settings import Settings
from tests.waiting import reserved_port, until

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((DEPLOY / "grafana/dashboard.json").read_text())["panels"]
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]
NAME = re.compile(r"\b((?:vows|http|process|log)_[a-z_]+)\b")


@pytest.fixture(scope="module")
def exposed(shared_server):
    """The names of metrics, as Prometheus has them."""
    text = shared_server.client.get("/metrics").text
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) | set(re.findall(r"^(\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_of_rules_and_dashboard_exists(exposed, query):
    named = set(NAME.findall(query))
    assert named or "up{" in query
    assert {name.removesuffix("_bucket") for name in named} <= exposed


def test_every_rule_says_what_to_do():
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 8
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert len(rule["annotations"]["summary"]) > 30


def test_the_rules_fire_and_stay_silent_where_they_should():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *command], cwd=DEPLOY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test():
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    silent = {one["alertname"] for test in tests for one in test["alert_rule_test"] if not one.get("exp_alerts")}
    assert fired == silent == {rule["alert"] for rule in RULES}


def test_settings_that_are_named_exist():
    known = {f"VOWS_{name.upper()}" for name in Settings.__dataclass_fields__}
    for file in [*DEPLOY.rglob("*.y*ml"), *DEPLOY.rglob("*.service"), *DEPLOY.parent.glob("fly*.toml")]:
        assert set(re.findall(r"\bVOWS_[A-Z_]+\b", file.read_text())) <= known, file


@pytest.mark.parametrize("unit", sorted(path.name for path in (DEPLOY / "systemd").iterdir()))
def test_units_are_read_by_systemd(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    for file in (DEPLOY / "systemd").iterdir():  # with programs that exist here
        (tmp_path / file.name).write_text(file.read_text().replace("/opt/vows/bin/vows-edge", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    wrong = [line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line or unit in line]
    assert wrong == []


def test_backups_that_were_interrupted_are_deleted_with_old_ones(tmp_path):
    """A machine that is switched off during a backup leaves all users in a file."""
    unit = (DEPLOY / "systemd" / "vows-edge-backup.service").read_text()
    (command,) = re.findall(r"^ExecStartPost=\S+ (.*)$", unit, re.MULTILINE)
    for name in ("2026-01-01T030000.db", "2026-01-02T030000.db.partial", "mine.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "2026-01-31T030000.db").touch()
    subprocess.run(["find", *shlex.split(command.replace("/var/lib/vows-edge-backups", str(tmp_path)))], check=True)
    assert {file.name for file in tmp_path.iterdir()} == {"mine.txt", "2026-01-31T030000.db"}


def test_the_port_for_metrics_serves_nothing_else_and_asks_for_no_key(start_server):
    with reserved_port() as port:
        server = start_server(api_keys=entry("app", "read", make_key()), metrics_port=port)
    assert server.client.get("/metrics").status_code == 401
    url = f"http://127.0.0.1:{port}"
    assert "vows_stored_rows" in httpx.get(f"{url}/metrics").text
    for method, path in (
        ("GET", "/info"),
        ("GET", "/"),
        ("POST", "/metrics"),
        ("GET", "/metrics/x"),
        ("PUT", "/content/a"),
    ):
        assert httpx.request(method, url + path).status_code == 404
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
    with pytest.raises(httpx.HTTPError):  # a few at once, until they gave up
        httpx.get(f"{url}/metrics", timeout=2)
    for one in idle:
        one.close()
    with socket.create_connection(("127.0.0.1", port)) as long:
        # The server closes with bytes unread, which the kernel says as a reset to a client that still sends or reads.
        answer = b""
        with contextlib.suppress(ConnectionError):
            long.sendall(b"GET /" + b"x" * 100_000)
            answer = long.recv(100)
        assert answer == b""

    def scraped():
        with contextlib.suppress(httpx.TransportError):  # until it has noticed that those before are gone
            return "vows_stored_rows" in httpx.get(f"{url}/metrics").text

    until(scraped)
    assert server.stop() == 0


def test_a_port_for_metrics_that_is_taken_ends_the_start(start_server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AssertionError, match="VOWS_METRICS_PORT"):
            start_server(metrics_port=taken.getsockname()[1])


def test_fly_reads_metrics_where_they_are_served():
    fly = tomllib.loads((DEPLOY.parent / "fly.toml").read_text())
    assert str(fly["metrics"]["port"]) == fly["env"]["VOWS_METRICS_PORT"]
    assert fly["metrics"]["port"] != fly["http_service"]["internal_port"]
    assert fly["build"]["args"]["BUNDLES"] == "committed"
    assert "--region" in (DEPLOY.parent / "docs/deployment.md").read_text()


def test_machines_on_postgres_have_no_volume_and_are_checked_for_life():
    alone, several = (tomllib.loads((DEPLOY.parent / file).read_text()) for file in ("fly.toml", "fly.postgres.toml"))
    assert "mounts" in alone
    assert "mounts" not in several
    assert [check["path"] for check in several["http_service"]["checks"]] == ["/healthz"]
    for section in ("vm", "kill_timeout"):
        assert alone[section] == several[section]
