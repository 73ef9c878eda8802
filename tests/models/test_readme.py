from geoseg.models.bundle import open_bundle, save_bundle
from geoseg.models.readme import readme


def test_a_plain_card_names_bands_and_classes(bundle):
    text = (bundle.folder / "README.md").read_text()
    assert text == readme(bundle.card)
    assert text.startswith(f"# {bundle.card.name} {bundle.card.version}\n\n{bundle.card.title}\n")
    assert "blue, green, red, nir; ground sample distance 10 m" in text
    for c in bundle.card.classes:
        assert f"{c.id}: {c.title} (`{c.slug}`)" in text
    assert "## Training" not in text


def test_figures_training_limits_and_licence_are_told(bundle, tmp_path):
    slugs = [c.slug for c in bundle.card.classes]
    metrics = {
        "reference": "agreement with the labels of 4 chips of test",
        "miou": 0.5123, "overall_accuracy": 0.7, "kappa": None,
        "classes": [
            {"slug": slugs[0], "iou": 0.25, "f1": 0.4, "precision": 0.5, "recall": 1 / 3},
            {"slug": slugs[1], "iou": None, "f1": None, "precision": None, "recall": None},
        ],
    }  # fmt: skip
    training = {
        "network": "Unet",
        "epochs": 3,
        "loss": [{}],
        "data": {"train": {"chips": 9}, "val": {"chips": 2}},
    }
    card = bundle.card.model_copy(
        update={"metrics": metrics, "training": training, "limitations": ("No snow.",), "license": "MIT"}
    )
    folder = save_bundle(bundle.network(), card, tmp_path / "told").folder
    text = (folder / "README.md").read_text()
    assert text == readme(open_bundle(folder).card)
    whole = "Agreement with the labels of 4 chips of test: mean IoU 0.512, overall accuracy 0.700, "
    assert f"{whole}Cohen's kappa –." in text
    assert f"| {card.classes[0].id} | {card.classes[0].title} | 0.250 | 0.400 | 0.500 | 0.333 |" in text
    assert f"| {card.classes[1].id} | {card.classes[1].title} | – | – | – | – |" in text
    assert "- epochs: 3\n- chips: 9 train, 2 val\n\n## Limits\n\n- No snow.\n\n## Licence\n\nMIT\n" in text
