"""Labelled data sets on disk."""

import pytest

from converters.datasets import LabelKind, LabelledPicture, read_dataset
from device_runtime.errors import BadFileError
from tests.support.datasets import write_class_folders, write_table


def test_a_folder_per_class(tmp_path):
    dataset = read_dataset(write_class_folders(tmp_path / "set", each=1))
    assert dataset.kind is LabelKind.CLASSES
    assert dataset.labels == ("blue", "dark", "green", "red")
    assert dataset.pictures[0] == LabelledPicture(tmp_path / "set/blue/0.png", "blue")


def test_a_table_of_classes_by_its_folder_or_its_own_path(tmp_path):
    folder = write_table(tmp_path, [("a.png", "red"), ("b.png", "blue")], ("file", "label"))
    assert read_dataset(folder) == read_dataset(folder / "labels.csv")
    assert [picture.label for picture in read_dataset(folder).pictures] == ["red", "blue"]


def test_a_table_of_boxes_has_a_row_per_object_and_one_for_an_empty_picture(tmp_path):
    rows = [("a.png", "nut", 1, 2, 3, 4), ("a.png", "bolt", 5, 6, 7.5, 8), ("b.png", "", "", "", "", "")]
    dataset = read_dataset(write_table(tmp_path, rows))
    assert dataset.kind is LabelKind.BOXES
    assert dataset.labels == ("bolt", "nut")
    assert dataset.pictures == (
        LabelledPicture(tmp_path / "a.png", "", (("nut", (1, 2, 3, 4)), ("bolt", (5, 6, 7.5, 8)))),
        LabelledPicture(tmp_path / "b.png"),
    )


def test_a_table_of_masks_and_one_of_values(tmp_path):
    masks = read_dataset(write_table(tmp_path / "masks", [("a.png", "a-mask.png")], ("file", "mask")))
    assert masks.kind is LabelKind.MASKS
    assert masks.pictures[0].mask == tmp_path / "masks/a-mask.png"
    values = read_dataset(write_table(tmp_path / "values", [("a.png", 1.5, -2)], ("file", "value", "value")))
    assert values.kind is LabelKind.VALUES
    assert values.pictures[0].values == (1.5, -2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the header file,label or file,label,x1,y1,x2,y2 or file,mask or file,value, got "),
        ("file\n", "expected the header"),
        ("file,mask\na.png,\n", ":2: expected a mask, got nothing"),
        ("file,mask\na.png,m.png\na.png,n.png\n", r":3: a\.png is labelled a second time"),
        ("file,value\na.png,far\n", ":2: expected 1 finite numbers, got far"),
        ("file,value\na.png,nan\n", ":2: expected 1 finite numbers, got nan"),
        ("file,value,value\na.png,1,\n", ":2: expected a value, got nothing"),
        ("name,class\n", "expected the header"),
        ("file,label\n", "no rows"),
        ("file,label\na.png\n", r"labels\.csv:2: expected 2 columns, got 1"),
        ("file,label\na.png,\n", ":2: expected a label"),
        ("file,label\n,red\n", ":2: expected a file"),
        ("file,label\na.png,red\na.png,blue\n", r":3: a\.png is labelled a second time"),
        ("file,label,x1,y1,x2,y2\na.png,nut,1,2,three,4\n", ":2: expected four numbers"),
        ("file,label,x1,y1,x2,y2\na.png,nut,5,2,3,4\n", ":2: expected a label and x1 < x2"),
        ("file,label,x1,y1,x2,y2\na.png,,1,2,3,4\n", ":2: expected a label"),
        ("file,label\n\xff\xfe", "not a CSV table in UTF-8"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadFileError, match=message):
        read_dataset(tmp_path)


def test_a_folder_without_classes_and_an_absent_one_are_errors(tmp_path):
    with pytest.raises(BadFileError, match=r"expected a folder per class with pictures in it, or a labels\.csv"):
        read_dataset(tmp_path)
    with pytest.raises(BadFileError, match="no such data set"):
        read_dataset(tmp_path / "no")
