"""Images as a model reads them: the view of both families, and draws that depend on seed, epoch and row alone."""

import io
import json
import shutil

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from transformers import AutoImageProcessor

from experiments import pipeline
from experiments.data.assets import Source
from experiments.data.images import Images, View, decode
from experiments.errors import UserError

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


@pytest.mark.parametrize("more", [{}, {"crop_mode": "squash"}, {"mean": [0.485, 0.456, 0.406], "std": [0.2, 0.3, 0.4]}])
def test_the_view_of_evaluation_is_timm_s_own(folders, more):
    file = folders / "timm" / "config.json"
    settings = json.loads(file.read_text())
    config = settings["pretrained_cfg"] | more
    file.write_text(json.dumps(settings | {"pretrained_cfg": config}))
    view = View.of(folders / "timm")
    theirs = timm.data.create_transform(**timm.data.resolve_data_config(config), is_training=False)
    for pixels in PICTURES:
        image = decode(pixels)
        ours = view.collate([{"pixel_values": view.evaluation(image), "labels": 0}])["pixel_values"][0]
        torch.testing.assert_close(ours, theirs(image))


def test_the_view_of_evaluation_is_the_official_script_s(folders):
    """Resize and CenterCrop to the whole side, bilinear, mean and deviation a half."""
    view = View.of(folders / "transformers")
    theirs = v2.Compose([v2.Resize(32), v2.CenterCrop(32), v2.PILToTensor()])
    for pixels in PICTURES:
        assert torch.equal(view.evaluation(decode(pixels)), theirs(decode(pixels)))
    row = {"pixel_values": torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1), "labels": 3}
    batch = view.collate([row, row])
    assert batch["pixel_values"][1].flatten().tolist() == pytest.approx([-1, 1, -0.6])
    assert batch["labels"].tolist() == [3, 3]


NET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SQUARE, CROP = {"size": {"height": 40, "width": 40}}, {"crop_size": {"height": 32, "width": 32}, "do_center_crop": True}


@pytest.mark.parametrize(
    ("kind", "more", "square"),
    [
        ("ViT", SQUARE | {"do_normalize": False}, True),
        ("ViT", SQUARE | NET | {"rescale_factor": 1 / 127.5, "resample": 3}, True),
        ("ViT", SQUARE | {"do_rescale": False, "do_normalize": False}, True),
        ("ViT", {"size": {"height": 24, "width": 40}}, False),
        ("DeiT", SQUARE | CROP | NET, False),
        ("CLIP", CROP | {"size": {"shortest_edge": 36}}, False),
        ("CLIP", CROP | {"do_resize": False}, False),
        ("ConvNext", {"size": {"shortest_edge": 28}, "crop_pct": 0.875}, False),
        ("MobileViT", CROP | {"size": {"shortest_edge": 36}}, False),
    ],
)
def test_the_view_of_evaluation_is_the_processor_s_own(folders, kind, more, square):
    """The same pixels; one level of 255 apart at most where Pillow and torchvision resize an image."""
    file = folders / "transformers" / "preprocessor_config.json"
    file.write_text(json.dumps({"image_processor_type": f"{kind}ImageProcessor", **more}))
    view, processor = View.of(folders / "transformers"), AutoImageProcessor.from_pretrained(folders / "transformers")
    for pixels in PICTURES:
        image = decode(pixels[:, :40] if square else pixels)
        ours = view.collate([{"pixel_values": view.evaluation(image), "labels": 0}])["pixel_values"]
        theirs = processor(image, return_tensors="pt")["pixel_values"].float()
        level = 1.01 * (theirs.max() - theirs.min()) / 255 if square else 0.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=float(level))
        assert view.training(0.5, True)(image).shape == ours.shape[1:] and ours.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "Can't load image processor"),
        ({"image_processor_type": "ViTFeatureExtractor"}, "Unrecognized image processor"),
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 32}},
            "different sizes stay so: size=",
        ),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "different sizes stay so"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0, 0, 0]}, "not finite"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 77}, "77 is not a valid Resampling"),
        ({"image_processor_type": "ImageGPTImageProcessor", "clusters": [[0, 0, 0]]}, "pixel_values"),
        (["size"], "has no attribute"),
    ],
)
def test_a_processor_that_cannot_be_used_is_named(folders, settings, words):
    file = folders / "transformers" / "preprocessor_config.json"
    file.unlink() if settings is None else file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=rf"transformers: its image processor .*{words}.*; correct preprocessor_config"):
        View.of(folders / "transformers")


def test_a_processor_of_another_size_than_the_model_s_is_named_before_training(make, tmp_path):
    config = make("+exp=vit_cifar", "model=vit_mini", "train.rows=20")
    weights, data = pipeline.find(config)
    shutil.copytree(weights.files["config.json"].parent, tmp_path / "vit")
    source = Source("vit", "local", "vit", {"config.json": tmp_path / "vit" / "config.json"})
    file = tmp_path / "vit" / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"size": {"height": 48, "width": 48}}))
    with pytest.raises(UserError, match=r"vit: its image processor makes 48 x 48 pixels, .*\(32\*32\).*correct `size`"):
        config.task.prepare(config.model, source, data, config.train, config.recipe, 0)


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


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "YCbCr", "1"])
def test_every_kind_of_image_is_read_as_rgb(mode, tmp_path):
    path = tmp_path / "image.tiff"
    Image.fromarray(PICTURES[0]).convert(mode).save(path, compression="tiff_lzw")  # plain, Pillow 12 fails at YCbCr
    for source in ({"bytes": None, "path": str(path)}, {"bytes": path.read_bytes(), "path": None}, path.read_bytes()):
        image = decode(source)
        assert (image.mode, image.size) == ("RGB", (52, 40))


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_of_16_bits_the_upper_8_count(kind):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256 + 77
    content = encoded(Image.fromarray(levels), kind)
    assert np.array_equal(np.asarray(decode(content))[..., 0], levels >> 8)
    if kind == "TIFF":
        swapped = Image.frombytes("I;16B", (16, 16), levels.astype(">u2").tobytes())
        assert decode(encoded(swapped, kind)).tobytes() == decode(content).tobytes()


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(kind):
    content = encoded(Image.fromarray(np.ones((8, 8), kind)), "TIFF")
    with pytest.raises(ValueError, match=r"32 bits a pixel, of unknown range; store 8 or 16"):
        decode(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_its_orientation_says(kind):
    """Each of the eight, stored turned the other way, is upright again: a dark corner at the top left, a grey below."""
    upright = np.full((32, 64, 3), 250, np.uint8)
    upright[:16, :16], upright[16:, :16] = 0, 120
    turns = [None, *(Image.Transpose(i) for i in (0, 3, 1, 5, 2, 6, 4))]  # to store: the inverse of what 2 to 8 ask for
    for orientation, turn in enumerate(turns, 1):
        exif = Image.Exif()
        exif[274] = orientation
        image = Image.fromarray(upright)
        stored = image if turn is None else image.transpose(turn)
        quality = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
        found = np.asarray(decode(encoded(stored, kind, exif=exif, **quality))).astype(int)
        assert found.shape == upright.shape, (orientation, found.shape)
        assert np.abs(found - upright).mean() < 4, orientation


def test_an_animation_is_its_first_frame_and_transparency_does_not_count():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(content).getpixel((4, 4)) == (255, 0, 0), kind
    assert decode(encoded(Image.new("RGBA", (8, 8), (9, 80, 200, 0)), "PNG")).getpixel((4, 4)) == (9, 80, 200)
