#!/usr/bin/env python3
"""Writes a file as an array of characters in C, with its length. Arguments: the file, the source to write, the array's name."""

import pathlib
import sys

BYTES_OF_LINE = 20

source, target, name = sys.argv[1:]
data = pathlib.Path(source).read_bytes()
lines = (", ".join(f"{byte:#04x}" for byte in data[at:at + BYTES_OF_LINE]) for at in range(0, len(data), BYTES_OF_LINE))
pathlib.Path(target).write_text(f'#include "examples/http/{name}.h"\n\nconst unsigned char {name}[] = {{\n    '
                                + ",\n    ".join(lines) + f",\n}};\nconst size_t {name}_bytes = sizeof({name});\n", encoding="ascii")
