"""The check of a 256 MiB machine: its archive, its readings, what it refuses, and two machines that really boot."""

import json
import shlex
import shutil
import sys

import pytest

from bench.case_result import CaseResult
from bench.server import TRAINED_ITEM, ServerError
from bench.suite import NotMeasured
from bench.table import missed_gates, rows_of
from bench.targets import load_targets
from bench.vm import guest as guest_module
from bench.vm.__main__ import main
from bench.vm.guest import Hardware, booted, require_programs
from bench.vm.initramfs import archive, service_script
from bench.vm.parts import CACHE, GuestParts
from bench.vm.readings import parse_log
from bench.vm.root import Service, assemble_root, image_service
from bench.vm.suite import CASE, SUITE, demo_requests
from examples.wedding.journeys import load_catalogue
from runtime.environment import read_settings
from runtime.models.bundle import Bundle
from runtime.settings import Settings

CONFIG = {"Env": ["A=it's", "PATH=/bin"], "WorkingDir": "/opt/app", "User": "vows", "Cmd": ["python", "-m", "runtime"]}
READING = "MemTotal: 223608 kB\r\nMemAvailable: {} kB\r\nworkingset_refault_file 2\r\npgmajfault 7\r\noom_kill {}\r\n"
PROCESS = "VmHWM:\t 118784 kB\r\nVmRSS:\t 112640 kB\r\nRssAnon:\t 61440 kB\r\n"


def unpacked(data):
    """The entries of a newc archive: name → (mode, content)."""
    found, at = {}, 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        start = at + 110 + length + -(110 + length) % 4
        found[data[at + 110 : at + 110 + length - 1].decode()] = (mode, data[start : start + size])
        at = start + size + -size % 4
    return found


def test_the_archive_holds_what_was_put_in():
    entries = {"bin": (0o40755, b""), "bin/a": (0o100755, b"hello"), "b": (0o100644, b"x" * 9)}
    assert unpacked(archive(entries)) == {**entries, "TRAILER!!!": (0, b"")}


def test_readings_are_parsed_and_an_unfinished_one_is_left_out():
    text = READING.format(184320, 0) + "end\r\n" + READING.format(102400, 1) + PROCESS + "end\r\nended 137\r\nMemTot"
    log = parse_log(text)
    before, during = log.readings
    assert log.ended == 137
    assert (before.available_mib, before.oom_kills, before.anonymous_mib, before.peak_rss_mib) == (180, 0, None, None)
    assert (during.available_mib, during.oom_kills, during.anonymous_mib, during.peak_rss_mib) == (100, 1, 60, 116)
    assert parse_log("").readings == []


def test_a_reading_without_a_figure_is_a_defect():
    with pytest.raises(ValueError, match="MemAvailable"):
        parse_log("MemTotal: 1 kB\nend\n")


@pytest.fixture
def image(tmp_path):
    """An unpacked image with one user and one group."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nvows:x:10001:10002::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nweb:x:33:\n")

    def with_config(document):
        (tmp_path / "image.json").write_text(json.dumps(document))
        return image_service(tmp_path, tmp_path / "image.json")

    return with_config


@pytest.mark.parametrize(
    "document",
    [[{"Config": CONFIG}], {"config": CONFIG}, {"OCIv1": {"config": CONFIG}, "Config": "{}"}],
    ids=["docker inspect", "OCI", "buildah inspect"],
)
def test_every_kind_of_image_configuration_is_read(image, document):
    service = image(document)
    assert service.command == ("python", "-m", "runtime")
    assert (service.uid, service.gid, service.folder, service.port) == (10001, 10002, "/opt/app", 8080)
    assert service.environment.items() >= {"A": "it's", "PATH": "/bin"}.items()


@pytest.mark.parametrize(
    ("user", "ids"),
    [("", (0, 0)), ("10001", (10001, 10002)), ("7", (7, 0)), ("7:8", (7, 8)), ("vows:web", (10001, 33))],
)
def test_a_user_is_looked_up_in_the_image(image, user, ids):
    service = image({"config": {**CONFIG, "User": user}})
    assert (service.uid, service.gid) == ids


@pytest.mark.parametrize(("change", "complaint"), [({"User": "nobody"}, "no user nobody"), ({"Cmd": []}, "no command")])
def test_an_image_that_cannot_run_is_refused(image, change, complaint):
    with pytest.raises(NotMeasured, match=complaint):
        image({"config": {**CONFIG, **change}})


def test_the_service_runs_in_the_image_s_root_as_its_user(image):
    words = shlex.split(service_script(image({"config": CONFIG})))
    assert {"A=it's", "-r/root", "-w/root/opt/app", "10001", "10002"} <= set(words)
    assert words[-3:] == ["python", "-m", "runtime"]


def test_the_longer_deadlines_are_settings(image):
    own = {name: value for name, value in image({"config": CONFIG}).environment.items() if name.startswith("VOWS_")}
    settings = read_settings(own)
    assert settings.request_timeout_s > Settings().request_timeout_s
    assert settings.batch_timeout_s > Settings().batch_timeout_s


def test_the_demo_s_requests_hold_the_whole_catalogue():
    bodies = [checked.request.partition(b"\r\n\r\n")[2] for checked in demo_requests() if checked.name == "catalogue"]
    assert [item for body in bodies for item in json.loads(body)] == [*load_catalogue(), TRAINED_ITEM]


def test_a_kernel_that_is_not_there_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(NotMeasured, match=r"vmlinuz and busybox not in .*apt-get download"):
        GuestParts.of(tmp_path)


def test_what_is_assembled_holds_both_models_and_python_below_one_prefix(tmp_path, bundle_path):
    """Wherever links lead to: Python looks for its library beside itself."""
    service = assemble_root(tmp_path, tmp_path / "no models of its own")
    python = tmp_path / service.command[0][1:]
    library = python.parents[1] / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert python.is_file()
    assert (library / "os.py").is_file()
    assert service.environment["PYTHONHOME"] == f"/{python.parents[1].relative_to(tmp_path)}"
    models = tmp_path / service.models[1:]
    assert {path.parent.name for path in models.glob("*/manifest.json")} == {"minilm", "sequence"}
    assert Bundle.load(models / "minilm", kind="text-encoder").digest == Bundle.load(
        bundle_path, kind="text-encoder"
    ).digest  # fmt: skip


def test_the_load_asks_both_models():
    names = {checked.name for checked in demo_requests()}
    assert {"catalogue", "rank", "rank by sequence", "next action"} <= names


def test_a_missing_emulator_is_an_error_that_names_the_package(monkeypatch, capsys):
    monkeypatch.setattr(guest_module, "QEMU", "qemu-that-nobody-has")
    assert main([]) == 2
    assert "apt-get install qemu-system-x86" in capsys.readouterr().err


def test_an_image_that_is_not_there_is_wrong_use(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--root", str(tmp_path), "--config", str(tmp_path / "none.json")])
    assert "none.json is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, set()),
        ({"oom_kills": [1]}, {"vm.oom_kills"}),
        ({"available_mib": [90, 1, 90]}, {"vm.available_min_mib"}),
        ({"expected_status": [99]}, {"vm.expected_status_share"}),
    ],
)
def test_a_kill_too_little_memory_and_a_wrong_answer_fail_the_check(change, missed):
    good = {
        "available_mib": [90.0, 80.0],
        "oom_kills": [0],
        "requests": [100],
        "expected_status": [100],
        "total_mib": [218],
    }
    same = {name: [1.0] for name in ("available_before_mib", "available_ready_mib", "peak_rss_mib", "anonymous_mib")}
    result = CaseResult({**same, "refaulted_mib": [0.0], **good, **change})
    rows = rows_of(SUITE, {CASE: result}, load_targets())
    assert {row.metric.name for row in missed_gates(rows)} == missed


@pytest.fixture
def tiny_machine(tmp_path):
    """Boots a root file system of one program with a command; skipped where `make vm-check` never ran."""
    try:
        require_programs()
        parts = GuestParts.of(CACHE / "parts")
    except NotMeasured as reason:
        pytest.skip(str(reason))
    for name in ("bin", "proc", "sys", "dev", "tmp", "data"):
        (tmp_path / name).mkdir()
    shutil.copy(parts.busybox, tmp_path / "bin/busybox")
    (tmp_path / "readyz").write_text("ready")

    def boot(*command):
        service = Service(("/bin/busybox", *command), {"VOWS_PORT": "8080"}, 65534, 65534, "/", "/data")
        return booted(tmp_path, service, parts, Hardware(memory_mib=96))

    return boot


@pytest.mark.slow
def test_a_machine_boots_its_files_and_reports_its_memory(tiny_machine):
    script = "touch /data/mine && ! touch /etc 2>/dev/null && exec /bin/busybox httpd -f -p 8080 -h /"
    with tiny_machine("sh", "-c", script) as guest:  # the volume can be written, the root cannot
        guest.until_ready(120)
        first, *_, last = guest.log().readings
    assert 96 > first.total_mib > first.available_mib > 10
    assert first.anonymous_mib is None
    assert last.anonymous_mib is not None
    assert last.oom_kills == 0


@pytest.mark.slow
def test_a_service_that_takes_all_memory_is_seen_to_be_killed(tiny_machine):
    with tiny_machine("tail", "/dev/zero") as guest:
        with pytest.raises(ServerError, match="ended with 137"):
            guest.until_ready(120)
        while guest.process.poll() is None and guest.log().readings[-1].oom_kills == 0:
            pass
        assert guest.log().readings[-1].oom_kills == 1
