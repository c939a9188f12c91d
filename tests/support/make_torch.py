"""Saves the PyTorch programs that tests open; run by the Python of the environment that reads them.

python make_torch.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import torch
from torch.export import Dim, export, save

sys.path.insert(0, str(Path(__file__).parent))
import torch_modules as modules

IMAGE = (1, 3, modules.SIDE, modules.SIDE)


class Payload:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def main(folder):
    shutil.copy(modules.__file__, folder)
    plain = {
        "classifier": (modules.classifier(), (torch.zeros(IMAGE),), None),
        "mobile-block": (modules.mobile_block(), (torch.zeros(IMAGE),), None),
        "two-inputs": (modules.two_inputs(), (torch.zeros(IMAGE), torch.zeros(1, 5)), None),
        "recurrent": (modules.recurrent(), (torch.zeros(1, 6, 4),), None),
        "open-batch": (modules.classifier(), (torch.zeros(2, *IMAGE[1:]),), ({0: Dim("n")},)),
        "open-size": (
            modules.classifier(),
            (torch.zeros(IMAGE),),
            ({2: 4 * Dim("h", max=64), 3: 4 * Dim("w", max=64)},),
        ),
        "batch-of-4": (modules.classifier(), (torch.zeros(4, *IMAGE[1:]),), None),
        "double": (modules.classifier().double(), (torch.zeros(IMAGE).double(),), None),
        "not-a-number": (broken(), (torch.zeros(IMAGE),), None),
        "inconvertible": (modules.inconvertible(), (torch.zeros(1, 4, 4),), None),
    }
    for name, (module, example, shapes) in plain.items():
        save(export(module, example, dynamic_shapes=shapes), folder / f"{name}.pt2")
    save(export(modules.seeded(modules.Named), (), {"vector": torch.zeros(1, 4)}), folder / "named.pt2")
    loaded = export(modules.classifier(), (torch.zeros(IMAGE),))
    loaded._example_inputs = ((Payload(folder / "payload-ran"),), {})  # what a file's author can put there
    save(loaded, folder / "payload.pt2")
    torch.save(modules.classifier(), folder / "module.pt")


def broken():
    module = modules.classifier()
    with torch.no_grad():
        module.head.weight[0, 0] = float("nan")
    return module


if __name__ == "__main__":
    main(Path(sys.argv[1]))
