"""The table of docs/architectures.md: what each architecture demands of a tile, and how fast it is on a CPU.

`python -m tests.benchmarks architectures`
"""

import statistics
from time import perf_counter

import torch

from geoseg.models.networks.architectures import REGISTRY, build, divisor, is_global

BANDS, CLASSES, SIDE, ROUNDS = 6, 6, 512, 5

# Architecture to encoder, further arguments and paper.
NETWORKS = {
    "Unet": ("resnet50", {}, "Ronneberger et al. 2015"),
    "UnetPlusPlus": ("resnet50", {}, "Zhou et al. 2018"),
    "MAnet": ("resnet50", {}, "Fan et al. 2020"),
    "Linknet": ("resnet50", {}, "Chaurasia, Culurciello 2017"),
    "FPN": ("resnet50", {}, "Kirillov et al. 2019"),
    "PSPNet": ("resnet50", {}, "Zhao et al. 2017"),
    "PAN": ("resnet50", {}, "Li et al. 2018"),
    "DeepLabV3": ("resnet50", {}, "Chen et al. 2017"),
    "DeepLabV3Plus": ("resnet50", {}, "Chen et al. 2018"),
    "UPerNet": ("resnet50", {}, "Xiao et al. 2018"),
    "Segformer": ("mit_b2", {}, "Xie et al. 2021"),
    "DPT": ("tu-vit_base_patch16_224", {"dynamic_img_size": True, "num_classes": 0}, "Ranftl et al. 2021"),
    "FCN": ("resnet50", {}, "Long et al. 2015"),
    "SegNet": ("vgg16", {}, "Badrinarayanan et al. 2017"),
}


def config_of(name: str) -> dict:
    """Return what `build` needs for a row of the table."""
    encoder, arguments, _ = NETWORKS[name]
    return {
        "_model_class": name, "encoder_name": encoder, "in_channels": BANDS, "classes": CLASSES, **arguments
    }  # fmt: skip


def facts(name: str) -> tuple[torch.nn.Module, str, str, str]:
    """Return a network with its parameters in millions, divisor and tile size, as they stand in the table."""
    network = build(config_of(name))
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    return network, f"{millions:.2f}", str(divisor(network)), "fixed" if is_global(network) else "any"


def main() -> None:
    rows = {name: facts(name) for name in REGISTRY}
    x = torch.randn(1, BANDS, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for warm in (True, *[False] * ROUNDS):
        for name, (network, *_) in rows.items():
            network.eval().to(memory_format=torch.channels_last)
            start = perf_counter()
            with torch.inference_mode():
                network(x)
            if not warm:
                seconds[name].append(perf_counter() - start)
    print("| architecture | encoder | parameters [M] | divisor [px] | tile size | Mpx/s | paper |")
    print("| --- | --- | ---: | ---: | --- | ---: | --- |")
    for name, (_, millions, step, size) in rows.items():
        encoder, _, paper = NETWORKS[name]
        speed = SIDE**2 / 1e6 / statistics.median(seconds[name])
        print(f"| {name} | {encoder} | {millions} | {step} | {size} | {speed:.3f} | {paper} |")
    print(
        f"\n{BANDS} bands, {CLASSES} classes, one tile of {SIDE} px, fp32, channels last, median of {ROUNDS} "
        f"rounds in turn, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
