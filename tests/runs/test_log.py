from geoseg.runs.log import EventLog, parse_events, read_events


def test_events_hold_no_credentials(tmp_path):
    with EventLog(tmp_path / "events.jsonl", resumed=False) as log:
        log.add("failed", why="tcp://me:5ecre7@h:1: gone", worker={"token": "5ecre7", "address": "tcp://h:2"})
    assert "5ecre7" not in (tmp_path / "events.jsonl").read_text()
    first = read_events(tmp_path / "events.jsonl")[0]
    assert first["why"] == "tcp://h:1: gone"
    assert first["worker"]["address"] == "tcp://h:2"


def test_lines_that_are_no_json_are_left_out():
    deep = b"[" * 100_000
    assert parse_events(b'{"event": "a"}\n' + deep + b'\n{"event": ') == [{"event": "a"}]
