"""Images as a model reads them: the view of both families, and draws that depend on seed, epoch and row alone."""

import json

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from experiments.images import Images, View, decode

PICTURES = [np.random.default_rng(i).integers(0, 256, (40, 52, 3), dtype=np.uint8) for i in range(6)]


@pytest.fixture
def folders(tmp_path):
    """What the published models say of their data, in transformers' form and in timm's."""
    half = [0.5, 0.5, 0.5]
    processor = {"image_processor_type": "ViTImageProcessor", "image_mean": half, "image_std": half, "resample": 2}
    timms = {"input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 0.9, "mean": half, "std": half}
    files = {
        "transformers": {"preprocessor_config.json": processor | {"size": {"height": 32, "width": 32}}},
        "timm": {"config.json": {"architecture": "vit_base_patch16_224", "pretrained_cfg": timms, "num_classes": 0}},
    }
    for name, content in files.items():
        (tmp_path / name).mkdir()
        for file, values in content.items():
            (tmp_path / name / file).write_text(json.dumps(values))
    return tmp_path


@pytest.mark.parametrize("older", [{}, {"feature_extractor_type": "ViTFeatureExtractor"}])
def test_a_processor_of_an_older_class_or_of_none_is_read_as_today_s(folders, older):
    """As google/vit-base-patch16-224-in21k has it: one number for the size, no class, no resampling."""
    half, folder = [0.5, 0.5, 0.5], folders / "transformers"
    (folder / "config.json").write_text('{"model_type": "vit"}')
    view, pixels = {}, torch.from_numpy(PICTURES[0]).permute(2, 0, 1)
    for form in (older, {"image_processor_type": "ViTImageProcessor", "resample": 2}):
        settings = {"do_normalize": True, "do_resize": True, "image_mean": half, "image_std": half, "size": 32} | form
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        view[form is older] = View.of(folder)
    assert (view[True].size, view[True].interpolation) == (view[False].size, view[False].interpolation)
    ours, theirs = (v.collate([{"pixel_values": pixels, "labels": 0}])["pixel_values"] for v in view.values())
    assert torch.equal(ours, theirs) and ours.abs().max() <= 1


def test_the_view_of_evaluation_is_timm_s_own(folders):
    view = View.of(folders / "timm")
    config = json.loads((folders / "timm" / "config.json").read_text())["pretrained_cfg"]
    theirs = timm.data.create_transform(**timm.data.resolve_data_config(config), is_training=False)
    for pixels in PICTURES:
        image = decode(pixels)
        ours = view.collate([{"pixel_values": view.evaluation()(image), "labels": 0}])["pixel_values"][0]
        torch.testing.assert_close(ours, theirs(image))


def test_the_view_of_evaluation_is_the_official_script_s(folders):
    """Resize and CenterCrop to the whole side, bilinear, mean and deviation a half."""
    view = View.of(folders / "transformers")
    theirs = v2.Compose([v2.Resize(32), v2.CenterCrop(32), v2.PILToTensor()])
    for pixels in PICTURES:
        assert torch.equal(view.evaluation()(decode(pixels)), theirs(decode(pixels)))
    row = {"pixel_values": torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1), "labels": 3}
    batch = view.collate([row, row])
    assert batch["pixel_values"][1].flatten().tolist() == pytest.approx([-1, 1, -0.6])
    assert batch["labels"].tolist() == [3, 3]


def test_a_crop_keeps_at_least_its_share_and_flips_only_if_asked(folders):
    """Of an image whose columns count up, a crop's first and last column tell what was kept, and which way round."""
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))).convert("RGB")
    view = View.of(folders / "transformers")
    torch.manual_seed(0)
    for flip, ways in ((False, {True}), (True, {True, False})):
        crops = [view.training(0.6, flip)(ramp)[0, 0].int() for _ in range(40)]
        assert {bool(crop[-1] > crop[0]) for crop in crops} == ways
        kept = [abs(int(crop[-1] - crop[0])) / 252 for crop in crops]
        assert min(kept) > 0.6 and len(set(kept)) > 5  # a square's part of 60 % is at least 0.6 wide


def pixels(images, workers=0, order=None):
    rows = list(DataLoader(images, batch_size=None, num_workers=workers, sampler=order or range(len(images))))
    return {row: value["pixel_values"] for row, value in zip(order or range(len(images)), rows, strict=True)}


def test_draws_follow_seed_epoch_and_row_and_nothing_else(folders):
    view = View.of(folders / "transformers")

    def images(seed, epoch):
        made = Images(PICTURES, [0] * len(PICTURES), view.training(0.3, True), seed)
        made.set_epoch(epoch)
        return made

    torch.manual_seed(5)
    first, after = pixels(images(7, 0)), torch.rand(1)
    same = [pixels(images(7, 0), workers=2), pixels(images(7, 0), order=[3, 1, 5, 0, 4, 2])]
    for other in same:
        assert all(torch.equal(first[row], other[row]) for row in first)
    for other in (pixels(images(7, 1)), pixels(images(8, 0))):
        assert not any(torch.equal(first[row], other[row]) for row in first)
    torch.manual_seed(5)
    torch.empty((), dtype=torch.int64).random_()  # what the loader itself draws
    assert torch.equal(torch.rand(1), after), "the other draws go on as if none had been made"


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_every_kind_of_image_is_read_as_rgb(mode, tmp_path):
    path = tmp_path / "image.tiff"
    Image.fromarray(PICTURES[0]).convert(mode).save(path)
    for source in ({"bytes": None, "path": str(path)}, {"bytes": path.read_bytes(), "path": None}, path.read_bytes()):
        image = decode(source)
        assert (image.mode, image.size) == ("RGB", (52, 40))
