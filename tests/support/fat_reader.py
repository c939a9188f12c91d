"""Reads the files of a FAT16 or FAT32 in memory: written after the specification, to judge what other programs write.

Microsoft, FAT: General Overview of On-Disk Format, version 1.03.
"""

import struct
from dataclasses import dataclass

_LONG, _VOLUME, _FOLDER = 0x0F, 0x08, 0x10


@dataclass(frozen=True)
class _Geometry:
    cluster_bytes: int
    fat: memoryview  # an entry for each cluster
    data: memoryview  # from cluster 2 on
    end: int  # of a chain: this, or more


def read_fat(image: bytes) -> dict[str, bytes]:
    """Return every file, by its path with slashes."""
    sector, per_cluster, reserved, fats, root_entries = struct.unpack_from("<HBHBH", image, 11)
    fat_sectors = struct.unpack_from("<H", image, 22)[0] or struct.unpack_from("<I", image, 36)[0]
    wide = not struct.unpack_from("<H", image, 22)[0]
    fat_at, root_at = reserved * sector, (reserved + fats * fat_sectors) * sector
    copies = {image[fat_at + n * fat_sectors * sector :][: fat_sectors * sector] for n in range(fats)}
    assert len(copies) == 1, "the copies of the FAT differ"
    view = memoryview(copies.pop()).cast("I" if wide else "H")
    data = memoryview(image)[root_at + root_entries * 32 :]
    geometry = _Geometry(per_cluster * sector, view, data, 0x0FFFFFF8 if wide else 0xFFF8)
    root = image[root_at : root_at + root_entries * 32]
    if wide:
        root = _chain(geometry, struct.unpack_from("<I", image, 44)[0])
    return dict(_walk(geometry, root, ""))


def _walk(geometry: _Geometry, folder: bytes, prefix: str):
    long = ""
    for at in range(0, len(folder), 32):
        entry = folder[at : at + 32]
        if not entry[0]:
            return
        attributes = entry[11]
        if entry[0] == 0xE5:
            long = ""
        elif attributes == _LONG:
            part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "surrogatepass")
            long = part.partition("\0")[0].rstrip("\uffff") + long
        elif not attributes & _VOLUME:
            name, long = prefix + (long or _short(entry)), ""
            first = struct.unpack_from("<H", entry, 20)[0] << 16 | struct.unpack_from("<H", entry, 26)[0]
            content = _chain(geometry, first)
            size = struct.unpack_from("<I", entry, 28)[0]
            if not attributes & _FOLDER:
                assert size <= len(content) < size + geometry.cluster_bytes, f"{name}: {size} of {len(content)} bytes"
                yield name, content[:size]
            elif not entry.startswith(b"."):
                yield from _walk(geometry, content, f"{name}/")


def _chain(geometry: _Geometry, cluster: int) -> bytes:
    pieces = []
    while cluster and cluster < geometry.end:
        at = (cluster - 2) * geometry.cluster_bytes
        pieces.append(geometry.data[at : at + geometry.cluster_bytes])
        cluster = geometry.fat[cluster] & 0x0FFFFFFF
        assert cluster, "a chain leads to a free cluster"
    return b"".join(pieces)


def _short(entry: bytes) -> str:
    base, end = entry[:8].decode("cp850").rstrip(), entry[8:11].decode("cp850").rstrip()
    base = base.lower() if entry[12] & 0x08 else base
    end = end.lower() if entry[12] & 0x10 else end
    return f"{base}.{end}" if end else base
