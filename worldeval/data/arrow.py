"""Tables in Arrow files, which are left on disk until their values are used."""

from pathlib import Path

import pyarrow as pa

from worldeval.files import whole_file


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, with its metadata, so that the file appears only when it is complete."""
    with (
        whole_file(path) as draft,
        pa.OSFile(str(draft), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table.combine_chunks())


def read_table(path: Path) -> pa.Table:
    """Map a table into memory, with one chunk for each column.

    Raises:
        OSError, pyarrow.ArrowException: the file is missing or damaged.
    """
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
