"""Labelled pictures for the models of ``tests.support.tflite``."""

import csv

from PIL import Image

COLOURS = {"dark": (20, 20, 20), "red": (230, 10, 20), "green": (10, 220, 30), "blue": (15, 10, 240)}


def write_class_folders(folder, each=2):
    """Write pictures of the four colours that ``brightness_model`` knows, a folder per class."""
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(each):
            Image.new("RGB", (32 + index, 24), colour).save(folder / name / f"{index}.png")
    return folder


def write_table(folder, rows, header=("file", "label", "x1", "y1", "x2", "y2"), size=(640, 480)):
    """Write black pictures and a ``labels.csv`` with these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        table.writerows(rows)
    for row in rows:
        Image.new("RGB", size).save(folder / row[0])
    return folder
