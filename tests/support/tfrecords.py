"""TFRecord datasets in TFDS's layout, written byte by byte and without the readers' help.

The protocol buffer's wire format and the CRC are spelt out here, so that a fault of the library
that the reader uses would show.
"""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.marked_frames import clip

POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


def crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ POLYNOMIAL * (crc & 1)
    return crc ^ 0xFFFFFFFF


def masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF  # negative numbers are their 64-bit complement
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: Any) -> bytes:
    """bytes -> BytesList, floats -> FloatList, whole numbers and truths -> Int64List."""
    if isinstance(values, list) and all(isinstance(value, bytes) for value in values):
        return field(1, b"".join(field(1, value) for value in values))
    flat = np.asarray(values).reshape(-1)
    if flat.dtype.kind == "f":
        return field(2, field(1, flat.astype("<f4").tobytes()))
    return field(3, field(1, b"".join(varint(int(value)) for value in flat)))


def example(features: Mapping[str, Any]) -> bytes:
    entries = (
        field(1, field(1, name.encode()) + field(2, feature(values)))
        for name, values in features.items()
    )
    return field(1, b"".join(entries))


def tensor(*shape: int, dtype: str = "float32", encoding: str = "none") -> dict[str, Any]:
    dimensions = {"dimensions": [str(side) for side in shape]} if shape else {}
    return {"tensor": {"shape": dimensions, "dtype": dtype, "encoding": encoding}}


def image(*shape: int, dtype: str = "uint8", encoding: str = "jpeg") -> dict[str, Any]:
    dimensions = {"dimensions": [str(side) for side in shape]}
    return {"image": {"shape": dimensions, "dtype": dtype, "encodingFormat": encoding}}


def nested(features: Mapping[str, Any]) -> dict[str, Any]:
    return {"featuresDict": {"features": dict(features)}}


BRIDGE = {
    "action": tensor(7),
    "discount": tensor(),
    "reward": tensor(),
    "is_first": tensor(dtype="bool"),
    "is_last": tensor(dtype="bool"),
    "is_terminal": tensor(dtype="bool"),
    "language_instruction": {"text": {}},
    "language_embedding": tensor(8),
    "observation": nested({"image_0": image(32, 64, 3), "image_1": image(32, 64, 3, encoding="png"),
                           "state": tensor(7)}),
}  # fmt: skip


def packed(frame: np.ndarray, kind: str = "jpeg") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, kind, **({"quality": 95} if kind == "jpeg" else {}))
    return stream.getvalue()


def episode(index: int, length: int, text: str) -> dict[str, Any]:
    """Episode `index` as TFDS flattens it: numbers drawn by the index, pictures marked."""
    rng = np.random.default_rng(index)
    last = np.arange(length) == length - 1
    return {
        "steps/action": rng.normal(size=(length, 7)).astype(np.float32),
        "steps/discount": np.ones(length, np.float32),
        "steps/reward": (last & (index % 2 == 0)).astype(np.float32),
        "steps/is_first": np.arange(length) == 0,
        "steps/is_last": last,
        "steps/is_terminal": last,
        "steps/language_instruction": [text.encode()] * length,
        "steps/language_embedding": np.zeros((length, 8), np.float32),
        "steps/observation/image_0": [packed(frame) for frame in clip(index, length, 0)],
        "steps/observation/image_1": [packed(frame, "png") for frame in clip(index, length, 1)],
        "steps/observation/state": rng.normal(size=(length, 7)).astype(np.float32),
        "episode_metadata/file_path": [f"/raw/{index}".encode()],
    }


def write_dataset(
    folder: Path,
    shards: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    *,
    steps: Mapping[str, Any] = BRIDGE,
    name: str = "bridge",
) -> Path:
    """split -> files -> episodes, with the two JSON files that TFDS writes beside them."""
    folder.mkdir(parents=True)
    top = {
        "steps": {"sequence": {"feature": nested(steps), "length": "-1"}},
        "episode_metadata": nested({"file_path": {"text": {}}}),
    }
    (folder / "features.json").write_text(json.dumps(nested(top)))
    splits = [
        {
            "name": split,
            "shardLengths": [str(len(own)) for own in files],
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for split, files in shards.items()
    ]
    info = {"name": name, "fileFormat": "tfrecord", "splits": splits, "version": "1.0.0"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for split, files in shards.items():
        for number, own in enumerate(files):
            file = folder / f"{name}-{split}.tfrecord-{number:05d}-of-{len(files):05d}"
            file.write_bytes(b"".join(record(example(one)) for one in own))
    return folder
