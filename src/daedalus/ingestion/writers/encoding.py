"""How a segment is encoded: one table of what measured smallest for each kind of column."""

from typing import Any

import pyarrow as pa

ROW_GROUP_ROWS = 32_768


def parquet_options(schema: pa.Schema, compression: str, level: int | None) -> dict[str, Any]:
    """Return the arguments of `pyarrow.parquet.ParquetWriter` for rows of a schema.

    Integers and timestamps as deltas, strings and book levels through a dictionary, other floats plain (zstd then finds
    their repeats); data page v1, statistics and page checksums.
    """
    dictionary, encodings = [], {}
    for field in schema:
        if pa.types.is_string(field.type) or pa.types.is_date(field.type) or pa.types.is_boolean(field.type):
            dictionary.append(field.name)
        elif pa.types.is_list(field.type):
            dictionary += [f"{field.name}.list.element.price", f"{field.name}.list.element.size"]
        elif pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        else:
            encodings[field.name] = "PLAIN"
    return {
        "compression": compression,
        "compression_level": level if compression in ("zstd", "gzip") else None,
        "use_dictionary": dictionary,
        "column_encoding": encodings,
        "data_page_version": "1.0",
        "write_statistics": True,
        "write_page_checksum": True,
        "store_schema": True,
        "dictionary_pagesize_limit": 8 << 20,
    }
