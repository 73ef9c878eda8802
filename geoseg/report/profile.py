"""`profile.json`: the timeline of a run for a trace viewer, like ui.perfetto.dev or chrome://tracing.

In the JSON object form of the Trace Event Format (Google, "Trace Event Format", 2016): a process for each
worker and one for the outputs, with a thread for each lane of each stage.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from geoseg.core.files import write_atomic
from geoseg.report.timeline import STAGES, Timeline, WorkSpan


def write_trace(path: Path, timeline: Timeline) -> None:
    """Write the trace of a timeline.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    text = json.dumps(trace_of(timeline), ensure_ascii=False, separators=(",", ":"))
    write_atomic(path, text.encode() + b"\n")


def trace_of(timeline: Timeline) -> dict[str, Any]:
    """Return the trace, plain values for JSON; `ts` and `dur` are microseconds."""
    events: list[dict[str, Any]] = []
    for number, (worker, spans) in enumerate(timeline.by_worker(), 1):
        events += _process(number, f"worker {number} ({worker})", spans)
    if timeline.outputs:
        events += _process(len(timeline.workers) + 1, "outputs", timeline.outputs)
    # Metadata first, then the spans by time.
    events.sort(key=lambda e: (e["ph"] != "M", e.get("ts", 0)))
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "began": timeline.began,
            "device": timeline.device,
            "device_busy_share": round(timeline.busy, 4),
            "seconds_between_starts_left_out": timeline.cut / 1e6,
        },
    }


def _process(pid: int, name: str, spans: Sequence[WorkSpan]) -> Iterator[dict[str, Any]]:
    yield _name(pid, 0, "process_name", name=name)
    yield _name(pid, 0, "process_sort_index", sort_index=pid)
    threads = {key: tid for tid, key in enumerate(sorted({_thread(s) for s in spans}), 1)}
    for (_, stage, lane), tid in threads.items():
        yield _name(pid, tid, "thread_name", name=f"{stage} {lane + 1}")
        yield _name(pid, tid, "thread_sort_index", sort_index=tid)
    for s in spans:
        yield {
            "ph": "X",
            "name": s.stage,
            "cat": "block" if s.block else "output",
            "ts": s.start,
            "dur": s.length,
            "pid": pid,
            "tid": threads[_thread(s)],
            "args": {"block": s.block} if s.block else {},
        }


def _thread(span: WorkSpan) -> tuple[int, str, int]:
    if not span.block:
        return 0, "outputs", span.lane
    # Many batches wait at once: their lanes stand below those of the other stages.
    return len(STAGES) if span.stage == "wait" else STAGES.index(span.stage), span.stage, span.lane


def _name(pid: int, tid: int, what: str, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}
