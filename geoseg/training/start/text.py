"""The text of a new training file, with comments for those who read it."""

import json
from collections.abc import Mapping, Sequence

from geoseg.config.dataset import ChipsEntry
from geoseg.config.yaml_text import scalar
from geoseg.training.estimate import Estimate
from geoseg.training.start.draft import ENCODER, WEIGHTS, Draft
from geoseg.training.start.legend import DraftClass

EPOCHS = 50
PATIENCE = 10


def training_text(draft: Draft, estimate: Estimate | None = None) -> str:
    """Return a training file.

    Parameters
    ----------
    draft
        Its values.
    estimate
        What the training takes; None while it is not known.
    """
    fit = f"epochs: {EPOCHS}, batch: {draft.batch}, stop: {{monitor: miou, patience: {PATIENCE}}}"
    lines = ["# Made by geoseg init --train. Look it over, then: geoseg train THIS_FILE --dry-run"]
    if estimate is not None:
        lines.append(_taken(estimate))
    lines += [f"name: {scalar(draft.name)}", *_data(draft), *_bands(draft), *_legend(draft)]
    if draft.gsd:
        about = "the files do not say the size of a pixel; in metres: {min: 0.5, max: 1}"
        lines.append(f"gsd: {draft.gsd}   # {about}")
    lines += [
        _split(draft),
        *_chips(draft),
        "augmentation: {brightness: 0.1}   # flips and turns are on; see docs/training.md for more",
        "# geoseg models encoders lists other encoders, docs/architectures.md other networks",
        f"network: {{architecture: Unet, arguments: {{encoder_name: {ENCODER}}}}}",
        *_start(draft),
        *_loss(draft),
        "optimizer: {rate: 0.001}",
        f"fit: {{{fit}}}   # ends {PATIENCE} epochs after the best one",
        f"output: {scalar(f'outputs/training/{draft.name}')}",
    ]
    return "\n".join(lines) + "\n"


def _taken(estimate: Estimate) -> str:
    minutes, seconds = estimate.seconds / 60, estimate.epoch_s
    time = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.2g} min"
    return (
        f"# Takes {time} at most on this machine ({estimate.device}; {seconds:.2g} s for each of "
        f"{estimate.epochs} epochs) and {estimate.memory / 1e9:.2g} GB of memory, by three steps of it."
    )


def _data(draft: Draft) -> list[str]:
    if draft.entry is not None:
        return _chips_entry(draft.entry, len(draft.pairing.pairs))
    found = ["dataset:", "  kind: scenes", f"  folder: {scalar(draft.folder)}", "  scenes:"]
    more = "".join(
        f", {key}: {scalar(value)}"
        for key, value in (("attribute", draft.attribute), ("layer", draft.layer))
        if value
    )
    for image, label in draft.pairing.pairs:
        found.append(f"    - {{scene: {scalar(image)}, labels: {scalar(label)}{more}}}")
    return found


def _chips_entry(entry: ChipsEntry, count: int) -> list[str]:
    keys = {
        "folder": entry.folder or "", "images": entry.images, "labels": entry.labels,
        "parts": entry.parts or "", "group": entry.group or "",
    }  # fmt: skip
    notes = {"images": f"   # {count} with labels", "group": "   # what lies in one folder stays in one part"}
    found = ["dataset:", "  kind: chips"]
    found += [f"  {k}: {scalar(v)}{notes.get(k, '')}" for k, v in keys.items() if v]
    if entry.unlabelled == "skip":
        found.append("  unlabelled: skip   # images without a label are left out")
    if entry.unknown_colors == "ignore":
        found.append("  unknown_colors: ignore   # pixels of colours that the legend lacks are not labelled")
    return found


def _bands(draft: Draft) -> list[str]:
    names = ", ".join(map(scalar, draft.bands))
    if draft.guessed:
        return [f"  bands: [{names}]   # a guess: the files do not name them, please check"]
    return [f"# bands: [{names}]   # default: all bands of the files; fewer or another order can be named"]


def _legend(draft: Draft) -> list[str]:
    legend, total = draft.legend, max(1, sum(c.pixels for c in draft.legend.classes))
    source = f"   # names from {legend.source}" if legend.source else ""
    found = [f"legend:{source}", "  classes:", *(_class(c, total) for c in legend.classes)]
    if legend.ignore:
        why = "; ".join(f"{code}: {_plain(reason)}" for code, reason in list(legend.ignore.items())[:4])
        found.append(f"  ignore: [{', '.join(map(str, legend.ignore))}]   # {why}")
    return found


def _class(one: DraftClass, total: int) -> str:
    codes = "" if one.code is None else f", codes: [{one.code}]"
    entry = (
        f"id: {one.id}, slug: {scalar(one.slug)}, title: {scalar(one.title)}, color: {json.dumps(one.color)}"
    )
    return f"    - {{{entry}{codes}}}   # {one.pixels:,} px, {100 * one.pixels / total:.2g} %"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _split(draft: Draft) -> str:
    about = {
        "given": "the parts that the folders say",
        "place": "images of one place stay in one part; val chooses the best epoch, test is for the figures",
        "file": "each image is in one part; val chooses the best epoch, test is for the figures",
        "block": "squares of each image, with a strip between them that is not used",
    }
    return (
        f"split: {flow(draft.split)}   # {about[str(draft.split['by'])]}"
        if draft.split
        else "split: {by: place}"
    )


def flow(values: Mapping[str, object]) -> str:
    """Return a mapping as YAML in one line."""
    return "{" + ", ".join(f"{k}: {v}" for k, v in values.items()) + "}"


def _chips(draft: Draft) -> list[str]:
    values: dict[str, object] = {"size": draft.chip, "per_epoch": draft.per_epoch}
    about = ["pixels"]
    if draft.balance:
        values["balance"] = draft.balance
        about.append("half of the chips are drawn for rare classes")
    return [f"chips: {flow(values)}   # {'; '.join(about)}"]


def _start(draft: Draft) -> list[str]:
    if draft.weights:
        return [
            f"transfer: {{encoder_weights: {draft.weights}}}   # of photographs; they help other bands, too"
        ]
    return [
        "# The network starts from random weights: those of ImageNet are neither here nor to be downloaded",
        "# now. Where they are, write one of these lines: it learns faster, from less:",
        f"# transfer: {{encoder_weights: {WEIGHTS}}}   # or a file, or torchgeo:NAME",
        "# transfer: {bundle: landcover-s2}   # for bands like its own; leave network out then",
    ]


def _loss(draft: Draft) -> Sequence[str]:
    weights = ", class_weights: sqrt" if draft.weighted else ""
    about = "   # rare classes count more" if draft.weighted else ""
    found = ["loss:", f"  - {{kind: cross-entropy{weights}}}{about}"]
    if draft.dice:
        found.append("  - {kind: dice, weight: 0.5}   # each class counts alike, whatever its share")
    return found
