from geoseg.runs.progress import Throughput


def fact(event, worker, time, **more):
    return {"event": event, "worker": worker, "time": time, **more}


def test_rates_are_per_worker_and_overlapping_passes_count_once():
    pace = Throughput()
    assert pace.text() == ""
    pace.add(fact("begun", "a", 100.0))
    pace.add(fact("begun", "b", 100.0))
    spans = [["forward", 101.0, 4.0], ["forward", 103.0, 4.0], ["sum", 107.0, 2.0]]
    pace.add(fact("predicted", "a", 110.0, pixels=20_000_000, spans=spans))
    pace.add(fact("predicted", "b", 110.0, pixels=5_000_000, spans=[["forward", 100.0, 10.0]]))
    assert pace.text() == "2.50 Mpx/s (2 workers: 0.50 to 2.00), device 80 % busy".replace(" %", "%")


def test_a_worker_that_left_does_not_count():
    pace = Throughput()
    pace.add(fact("begun", "a", 0.0))
    pace.add(fact("predicted", "a", 10.0, pixels=10_000_000, spans=[]))
    pace.add(fact("worker", "a", 11.0, state="left"))
    assert pace.text() == ""
