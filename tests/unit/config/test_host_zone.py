"""The host's zone is found by name, wherever the system keeps it."""

from pathlib import Path

import pytest

from aico_sched.host_zone import host_zone
from aico_sched.settings import Settings


@pytest.mark.parametrize(("tz", "expected"), [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo")])
def test_the_environment_wins(tz: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "timezone").write_text("Europe/Berlin\n")
    assert host_zone({"TZ": tz}, tmp_path) == expected


@pytest.mark.parametrize("tz", ["", "CET-1CEST", "/etc/passwd", "Europe"])
def test_what_names_no_zone_is_passed_over(tz: str, tmp_path: Path) -> None:
    (tmp_path / "timezone").write_text("Europe/Berlin\n")
    assert host_zone({"TZ": tz}, tmp_path) == "Europe/Berlin"


def test_the_link_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "localtime").symlink_to("../usr/share/zoneinfo/America/New_York")
    assert host_zone({}, tmp_path) == "America/New_York"


def test_a_host_that_names_none_is_in_utc(tmp_path: Path) -> None:
    (tmp_path / "timezone").write_bytes(b"\xff\xfe")
    assert host_zone({}, tmp_path) == "UTC"


def test_settings_give_the_chosen_zone_or_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert Settings.load(environ={"AICO_DATA_DIR": "/d"}).timezone == "Asia/Tokyo"
    chosen = Settings.load(environ={"AICO_DATA_DIR": "/d"}, scheduler__timezone="Europe/Berlin")
    assert chosen.timezone == "Europe/Berlin"
