"""AVI files of given packets: what OpenCV's writer cannot be made to write."""

import struct


def write_avi(path, packets, size, fps=25):
    """Write an MJPEG file whose packets are ``packets``, each as it is, and whose header promises ``size``."""
    width, height = size
    flags, largest = 0x10, max(map(len, packets))
    main = struct.pack("<14I", 1_000_000 // fps, 0, 0, flags, len(packets), 0, 1, largest, width, height, 0, 0, 0, 0)
    stream = struct.pack(
        "<4s4sIHHIIIIIIII4H", b"vids", b"MJPG", 0, 0, 0, 0, 1, fps, 0, len(packets), largest, 0, 0, 0, 0, width, height
    )
    picture = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    header = _list(b"hdrl", _chunk(b"avih", main) + _list(b"strl", _chunk(b"strh", stream) + _chunk(b"strf", picture)))
    index, at = b"", 4
    for packet in packets:
        index += struct.pack("<4sIII", b"00dc", 0x10, at, len(packet))
        at += 8 + len(packet) + len(packet) % 2
    movie = _list(b"movi", b"".join(_chunk(b"00dc", packet) for packet in packets))
    path.write_bytes(_chunk(b"RIFF", b"AVI " + header + movie + _chunk(b"idx1", index)))
    return path


def _chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _list(name, content):
    return _chunk(b"LIST", name + content)
