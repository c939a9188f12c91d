"""Picture files of every kind that people have."""

import numpy as np
import pytest
from PIL import Image

from device_runtime.contract.model import Colour
from device_runtime.errors import BadFileError
from device_runtime.vision.picture import list_pictures, read_mask, read_picture

_RED = (200, 30, 40)


def saved(path, image, **options):
    image.save(path, **options)
    return read_picture(path).pixels


def test_a_plain_picture_is_read_as_rgb(tmp_path):
    pixels = saved(tmp_path / "a.png", Image.new("RGB", (7, 5), _RED))
    assert pixels.shape == (5, 7, 3)
    assert (pixels == _RED).all()
    assert read_picture(tmp_path / "a.png").colour is Colour.RGB


def test_cmyk_becomes_rgb(tmp_path):
    pixels = saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() < 12


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    deep = Image.fromarray(np.array([[0, 255, 256, 40000, 65535]], np.uint16))
    assert saved(tmp_path / "a.png", deep)[0, :, 0].tolist() == [0, 0, 1, 156, 255]


def test_a_palette_and_transparency_become_rgb(tmp_path):
    palette = Image.new("RGB", (8, 8), _RED).convert("P", palette=Image.Palette.ADAPTIVE)
    assert (saved(tmp_path / "p.png", palette) == _RED).all()
    assert (saved(tmp_path / "p.gif", palette) == _RED).all()
    assert (saved(tmp_path / "a.png", Image.new("RGBA", (4, 4), (*_RED, 128))) == _RED).all()


def test_grey_and_one_bit_pictures_become_rgb(tmp_path):
    assert (saved(tmp_path / "g.png", Image.new("L", (4, 4), 77)) == 77).all()
    assert (saved(tmp_path / "b.png", Image.new("1", (4, 4), 1)) == 255).all()


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (20, 10), (0, 0, 0))
    image.paste(_RED, (0, 0, 10, 10))  # the left half
    exif = image.getexif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to view" (EXIF 2.32, tag 274)
    pixels = saved(tmp_path / "a.png", image, exif=exif)
    assert pixels.shape == (20, 10, 3)
    assert (pixels[:10] == _RED).all()
    assert (pixels[10:] == 0).all()


def test_a_single_pixel_is_a_picture(tmp_path):
    assert saved(tmp_path / "a.png", Image.new("RGB", (1, 1), _RED)).tolist() == [[list(_RED)]]


def test_a_hundred_megapixels_are_read(tmp_path):
    path = tmp_path / "large.png"
    Image.new("L", (12_500, 8_000), 9).save(path, compress_level=1)
    frame = read_picture(path)
    assert (frame.width, frame.height) == (12_500, 8_000)


def test_more_than_the_bound_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (14_000, 14_000)).save(path)
    with pytest.raises(BadFileError, match="at most 178 megapixels"):
        read_picture(path)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), b"GIF89a"])
def test_what_is_no_picture_is_named(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=r"a\.png"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
def test_a_truncated_picture_is_an_error_and_not_half_grey(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadFileError, match=path.name):
        read_picture(path)


def test_an_absent_picture_is_named(tmp_path):
    with pytest.raises(BadFileError, match="no such picture"):
        read_picture(tmp_path / "a.png")


def test_pictures_are_listed_sorted_without_hidden_ones(tmp_path):
    for name in ("b/2.PNG", "b/.hidden.png", "a/1.jpg", "a/notes.txt", ".cache/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert list_pictures(tmp_path) == [tmp_path / "a/1.jpg", tmp_path / "b/2.PNG"]


def test_a_mask_holds_ids_whatever_their_colours_are(tmp_path):
    ids = np.array([[0, 3], [255, 20]], np.uint8)
    for mode, name in (("L", "grey.png"), ("L", "grey.bmp"), ("P", "palette.png"), ("P", "palette.bmp")):
        image = Image.fromarray(ids)
        if mode == "P":
            image.putpalette([value for index in range(256) for value in (255 - index, index // 2, 7)])
        image.save(tmp_path / name)
        mask = read_mask(tmp_path / name)
        assert mask.tolist() == ids.tolist()
        assert mask.dtype == np.uint8


def test_a_mask_of_many_classes_has_sixteen_bits(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 256, 65535]]


def test_a_mask_of_colours_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "m.png")
    with pytest.raises(BadFileError, match=r"m\.png: expected a mask of class ids, .* got mode RGB"):
        read_mask(tmp_path / "m.png")
    with pytest.raises(BadFileError, match="no such picture"):
        read_mask(tmp_path / "none.png")
