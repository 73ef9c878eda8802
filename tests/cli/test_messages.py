import json
import os
import subprocess
import sys
import threading
import time

import pytest
import typer

from geoseg.cli import messages
from geoseg.cli.messages import errors, give, say, show_result
from geoseg.core import cache, notices
from geoseg.core.errors import ConfigError, SceneError
from tests.conftest import ROOT


def lines_of(capsys, error):
    with pytest.raises(typer.Exit) as caught, messages.errors(debug=False):
        raise error
    return caught.value.exit_code, capsys.readouterr().err.splitlines()


def test_an_exit_is_no_error(capsys):
    with pytest.raises(typer.Exit) as caught, messages.errors(debug=False):
        raise typer.Exit(1)
    assert caught.value.exit_code == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("libarrow.so.2600: failed to map segment from shared object"), "error: out of memory; "),
        (RuntimeError("std::bad_alloc"), "error: out of memory; "),
        (OSError(12, "Cannot allocate memory"), "error: out of memory; "),
        (RuntimeError("can't start new thread"), "error: too many processes and threads are running; "),
        (OSError(28, "No space left on device", "/x/y"), "error: /x/y: No space left on device"),
    ],
)
def test_what_the_system_refuses_is_no_bug_of_geoseg(capsys, error, said):
    code, (line,) = lines_of(capsys, error)
    assert code == 1
    assert line.startswith(said)


def test_a_long_line_keeps_where_and_what_to_do(capsys):
    code, (line,) = lines_of(capsys, SceneError(f"/a/b.tif: has bands {', '.join(['nir'] * 900)}; say which"))
    assert code == 1
    assert line.startswith("error: /a/b.tif: has bands nir")
    assert line.endswith("nir; say which")
    assert len(line) <= messages.LONGEST_LINE
    messages.warn("x" * 7000)
    assert len(capsys.readouterr().err) <= messages.LONGEST_LINE + 1


def test_many_problems_are_ten_lines_and_a_number(capsys):
    code, lines = lines_of(capsys, ConfigError("\n".join(f"p.yaml:{i}:1: key {i}" for i in range(500))))
    assert code == 2
    assert len(lines) == 11
    assert lines[-1] == "error: and 490 more problems like these"


@pytest.mark.parametrize("command", [["catalog", "list"], ["--help"], ["models", "list", "--json"]])
def test_a_full_disk_behind_stdout_is_one_line(command):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "geoseg", *command],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert "No space left on device" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch, tmp_path):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("GEOSEG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"geoseg-cache-{os.getuid()}"
    assert cache.cache_folder() == cache.cache_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="is not yours alone, so nothing is cached there; set GEOSEG_CACHE"):
        cache.cache_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is not yours alone"):
        cache.cache_folder()


def test_a_long_wait_is_said_once_and_without_secrets(monkeypatch):
    said, done = [], threading.Event()

    def tell(text):
        said.append(text)
        done.set()

    monkeypatch.setattr(notices, "SLOW", 0.01)
    notices.say_waits_by(tell)
    try:
        with notices.waiting_for("https://me:secret@host/x.tif?sig=abc"):
            assert done.wait(10)
        with notices.waiting_for("quick"):
            pass
        time.sleep(0.05)
    finally:
        notices.say_waits_by(lambda _: None)
    assert said == ["no answer yet from https://host/x.tif; still waiting"]


SAID = "https://me:5ecre7@host/a.tif?code=5ecre7\x1b[2J"


def test_messages_and_results_hold_no_credentials_and_nothing_that_a_terminal_obeys(capsys):
    say(SAID)
    give(SAID)
    shown = capsys.readouterr()
    assert shown.out == shown.err == "https://host/a.tif\n"


def test_a_result_in_json_stays_json(capsys):
    facts = {"uri": SAID, "title": "a\x7f\x85\u202e\ud800\x1b\n", "list": ["https://h?code=5ecre7", "b"]}
    show_result(facts, str, as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out)["title"] == facts["title"]
    assert json.loads(out)["list"] == ["https://h", "b"]
    assert "5ecre7" not in out
    assert out.replace("\n", "").isprintable()


def test_the_error_of_another_library_is_one_line_without_credentials(capsys):
    with pytest.raises(typer.Exit), errors(debug=False):
        raise RuntimeError(SAID)
    assert capsys.readouterr().err.endswith("RuntimeError: https://host/a.tif\n")


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_that_stops_nothing_is_shown_with_debug_alone(debug, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    class Bad:
        def __del__(self):
            raise ValueError

    with errors(debug=debug):
        Bad()
    assert len(seen) == debug
    assert sys.unraisablehook == seen.append
