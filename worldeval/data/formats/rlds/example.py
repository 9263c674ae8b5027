"""Parser of `tf.train.Example`, the protocol buffer in a TFRecord that maps names to lists."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array
from worldeval.data.finding import DataError
from worldeval.errors import UserError

KINDS = (("bytes_list", "BytesList", "TYPE_BYTES"), ("float_list", "FloatList", "TYPE_FLOAT"),
         ("int64_list", "Int64List", "TYPE_INT64"))  # fmt: skip


class Example:
    """One parsed example. Lists of bytes stay bytes; numbers become arrays."""

    def __init__(self, content: bytes, file: Path) -> None:
        """
        Raises:
            DataError: the content is not an example.
        """
        self.file = file
        message = _example()()
        try:
            message.ParseFromString(content)
        except Exception as error:  # protobuf's DecodeError, whose class depends on the backend
            raise DataError(file, "record", f"it is not a tf.train.Example ({error}).") from error
        self._features: Any = message.features.feature

    def __contains__(self, key: str) -> bool:
        return key in self._features

    def keys(self) -> list[str]:
        """Return the names of all features."""
        return sorted(self._features)

    def numbers(self, key: str) -> Array:
        """Return the flat numbers of a feature."""
        kind, values = self._of(key)
        if kind == "bytes_list":
            raise DataError(self.file, key, "it contains bytes, not numbers.")
        return np.asarray(values, np.float32 if kind == "float_list" else np.int64)

    def cells(self, key: str) -> Sequence[bytes]:
        """Return the byte strings of a feature: texts or compressed images."""
        kind, values = self._of(key)
        if kind != "bytes_list":
            raise DataError(self.file, key, "it contains numbers, not bytes.")
        return values

    def _of(self, key: str) -> tuple[str, Any]:
        if key not in self._features:  # looking up a key in a protobuf map would create it
            there = ", ".join(self.keys()[:12])
            raise DataError(self.file, key, f"it is missing (available: {there}).")
        feature = self._features[key]
        kind = feature.WhichOneof("kind")
        return (kind, getattr(feature, kind).value) if kind else ("float_list", [])


@lru_cache(maxsize=1)
def _example() -> Any:
    """Build the message class from a description, so that no generated code is needed.

    The schema is TensorFlow's (core/example/feature.proto): Example {1: Features}, Features {1: map
    of text to Feature}, Feature {one of 1: BytesList, 2: FloatList, 3: Int64List}.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise UserError(
            "Reading TFRecord files needs an extra: pip install 'worldeval[rlds]'."
        ) from error
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="worldeval_example.proto", package="worldeval", syntax="proto3"
    )
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, message, kind) in enumerate(KINDS, start=1):
        file.message_type.add(name=message).field.add(
            name="value", number=1, type=getattr(field, kind), label=field.LABEL_REPEATED
        )
        feature.field.add(
            name=name, number=number, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
            type_name=f".worldeval.{message}", oneof_index=0,
        )  # fmt: skip
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    for parent, name, number, label, kind in (
        (entry, "value", 2, field.LABEL_OPTIONAL, "Feature"),
        (features, "feature", 1, field.LABEL_REPEATED, "Features.FeatureEntry"),
        (file.message_type.add(name="Example"), "features", 1, field.LABEL_OPTIONAL, "Features"),
    ):
        parent.field.add(name=name, number=number, label=label, type=field.TYPE_MESSAGE,
                         type_name=f".worldeval.{kind}")  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("worldeval.Example"))
