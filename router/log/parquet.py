"""The log as a Parquet file: every column in its own type, in memory that does not grow with the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from router.log.filter import Filter
from router.log.formats import FILE_COLUMNS
from router.log.store import LogStore

_GROUP_ROWS = 10_000
_GROUP_CHARS = 1 << 26
_TYPES = {
    "timestamp": pa.timestamp("us", tz="UTC"),
    "rating": pa.int8(),
    **dict.fromkeys(("latency_ms", "ttft_ms", "cost_usd"), pa.float64()),
    **dict.fromkeys(("token_count", "prompt_tokens", "completion_tokens", "seq"), pa.int64()),
}
_SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in FILE_COLUMNS])
_TIMESTAMP = FILE_COLUMNS.index("timestamp")


def write_parquet(store: LogStore, where: Filter, file: BinaryIO) -> None:
    """Write the interactions that pass the filter, in row groups of 10,000 or of 64 million characters.

    `params` and `attempts` are JSON text. Raises LogUnavailable.
    """
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        group: list[sa.Row[Any]] = []
        size = 0
        for row in store.stream(where):
            group.append(row)
            size += sum(len(value) for value in row if isinstance(value, str))
            if len(group) >= _GROUP_ROWS or size >= _GROUP_CHARS:
                writer.write_batch(_batch(group))
                group, size = [], 0
        if group:
            writer.write_batch(_batch(group))


def _batch(rows: Sequence[sa.Row[Any]]) -> pa.RecordBatch:
    columns: list[Any] = list(zip(*rows, strict=True))
    columns[_TIMESTAMP] = [datetime.fromisoformat(text) for text in columns[_TIMESTAMP]]
    return pa.record_batch(
        [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )
