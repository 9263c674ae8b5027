"""Reading of TFRecord files: locations of records, and contents checked by their CRC-32C.

A record consists of its length (8 bytes, little endian), the masked checksum of the length (4), the
content, and the masked checksum of the content (4). Masking keeps the checksum of data that contain
checksums from being trivial: rotate right by 15 bits, add 0xa282ead8 (TensorFlow,
core/lib/hash/crc32c.h).
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from worldeval.data.finding import DataError
from worldeval.errors import UserError

HEAD, TAIL, MASK = 12, 4, 0xA282EAD8


@dataclass(frozen=True, kw_only=True)
class RecordPlace:
    """Location of the content of one record."""

    file: Path
    begin: int
    length: int


def find_records(file: Path) -> list[RecordPlace]:
    """Find every record of a file from their lengths alone.

    Raises:
        DataError: a length is damaged, or the file ends within a record.
    """
    size, begin, found = file.stat().st_size, 0, []
    with file.open("rb") as stream:
        while begin < size:
            stream.seek(begin)
            head = stream.read(HEAD)
            if len(head) < HEAD:
                raise _cut(file, len(found), size)
            length, crc = struct.unpack("<QI", head)
            if masked_crc(head[:8]) != crc:
                raise DataError(
                    file,
                    f"record {len(found)}",
                    "the checksum of its length is wrong: the file is damaged, or not a TFRecord "
                    "file.",
                    "Download the file again.",
                )
            end = begin + HEAD + length + TAIL
            if end > size:
                raise _cut(file, len(found), size)
            found.append(RecordPlace(file=file, begin=begin + HEAD, length=length))
            begin = end
    return found


def read_record(place: RecordPlace) -> bytes:
    """Read the content of a record.

    Raises:
        DataError: its checksum is wrong.
    """
    with place.file.open("rb") as stream:
        stream.seek(place.begin)
        content = stream.read(place.length)
        tail = stream.read(TAIL)
    if len(tail) < TAIL or masked_crc(content) != struct.unpack("<I", tail)[0]:
        raise DataError(
            place.file,
            f"byte {place.begin}",
            "its checksum is wrong: the file is damaged.",
            "Download the file again.",
        )
    return content


def masked_crc(content: bytes) -> int:
    """Compute the masked CRC-32C of bytes."""
    try:
        import google_crc32c
    except ImportError as error:
        raise UserError(
            "Reading TFRecord files needs an extra: pip install 'worldeval[rlds]'."
        ) from error
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def _cut(file: Path, records: int, size: int) -> DataError:
    return DataError(
        file,
        f"record {records}",
        f"the file ends within this record, at byte {size}; it is truncated.",
        "Download the file again.",
    )
