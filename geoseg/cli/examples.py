"""Examples of every command, as its help shows them."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "run landcover",
        "run landcover --set scene=my.tif -o outputs/mine -n",
        "run landcover --aoi parcels.gpkg --set gsd=20",
        "run landcover --scenes 'scenes/*.tif' --on-error skip",
    ),
    "init": (
        "init my.tif --model landcover-s2",
        "init my.tif --model landcover-s2 -o pipelines/mine.yaml",
        "init --train tiles",
    ),
    "schema": ("schema pipeline > pipeline.schema.json",),
    "inspect": (
        "inspect my.tif",
        "inspect sentinel2-sample --json",
        "inspect outputs/landcover",
    ),
    "view": ("view outputs/landcover", "view outputs/landcover --serve"),
    "report": ("report outputs/landcover --profile",),
    "catalog list": ("catalog list",),
    "catalog show": ("catalog show sentinel2-sample",),
    "validate": ("validate outputs/landcover",),
    "compare": (
        "compare outputs/2023 outputs/2024",
        "compare outputs/2023 outputs/2024 -o outputs/change --minimum 9",
    ),
    "evaluate": (
        "evaluate --map outputs/landcover/classes.tif --reference fields.gpkg",
        "evaluate --sample points.gpkg",
        "evaluate landcover-s2 --model landcover-s2",
    ),
    "sample": ("sample --map outputs/landcover/classes.tif -o points.gpkg --size 300",),
    "suggest": (
        "suggest outputs/landcover -o places.gpkg --count 30",
        "suggest outputs/landcover -o labels.tif --pseudo 0.95",
    ),
    "train": (
        "train landcover-s2",
        "train landcover-s2 --set fit.epochs=5 -o outputs/training/try -n",
    ),
    "models list": ("models list", "models list --folder bundles"),
    "models show": ("models show landcover-s2", "models show network.onnx"),
    "models import": ("models import network.onnx -o configs/models/mine --set bands=red,green,blue",),
    "models export": ("models export landcover-s2 --to onnx -o exported",),
    "models encoders": ("models encoders dinov3",),
    "models measure": ("models measure landcover-s2 landcover-s2 --set data=chips",),
    "worker": ("worker tcp://node1:8786 --interface eth0",),
    "doctor": ("doctor",),
}
"""Lines without the word `geoseg`, by the words of the command."""


def examples(command: str) -> str:
    """Return the end of a command's help, in the markup of rich."""
    lines = "".join(f"\n$ geoseg {line}" for line in EXAMPLES[command])
    return f"Examples:{lines}".replace("[", r"\[")
