"""CPU time around the network: geoseg and its peers with a free network, from the file to a COG.

`python -m tests.benchmarks overhead [--side 8192] [--only ...] [--rounds 3]`. The peers' network gives the
six normalised bands back as six classes; geoseg's stands in the place of a whole backend, normalising
included, and makes shares of the numbers (`tests/inference/free.py`). `plain` is a streaming loop of a dozen
lines, without overlap. All write a COG with overviews in the end. Nothing is subtracted. Beside it stands
what a scene of 1024 px takes, which is nearly all start and imports, and what each further Mpx takes.
"""

import statistics

from tests.benchmarks.peers.compare import SMALL, Bench, arguments, print_settings, rounds_of, spread

DEFAULT = "geoseg,plain,monai,torchgeo,terratorch,geo-inference,geoai"


def main() -> None:
    options = arguments("CPU time around a free network", 8192, DEFAULT, 3)
    found = rounds_of(Bench(options.cache, free=True), options)
    mpx, small = options.side**2 / 1e6, SMALL**2 / 1e6
    columns = (
        "tool", "CPU s per Mpx", "/ geoseg", "wall s", "peak GB", f"CPU s of {SMALL} px a side",
        "CPU s per further Mpx",
    )  # fmt: skip
    print("\n|", " | ".join(columns), "|\n" + "|" + " --- |" * len(columns))
    ours = [c["cpu"] for c in found["geoseg"]["costs"]]
    for tool, result in found.items():
        if "failed" in result:
            print(f"| {tool} | {result['failed']} |" + " |" * (len(columns) - 2))
            continue
        costs, start = result["costs"], result["small"]["cpu"]
        cpu, wall = (statistics.median(c[key] for c in costs) for key in ("cpu", "wall"))
        ratio = spread(c["cpu"] / o for c, o in zip(costs, ours, strict=True))
        print(
            f"| {tool} | {cpu / mpx:.3f} | {ratio} | {wall:.1f} | {max(c['peak'] for c in costs):.2f} "
            f"| {start:.1f} | {(cpu - start) / (mpx - small):.3f} |"
        )
    print_settings(options, found)


if __name__ == "__main__":
    main()
