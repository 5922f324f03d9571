#!/usr/bin/env python3
"""Writes the files of data/digits/ from Debian's digits.csv.gz (python3-sklearn). Run once; see README.md."""
import gzip
import struct
import sys
from pathlib import Path

SOURCE = "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"
TEST_PER_CLASS = 36


def write_idx(path, sizes, values):
    header = bytes([0, 0, 8, len(sizes)]) + b"".join(struct.pack(">I", size) for size in sizes)
    path.write_bytes(gzip.compress(header + bytes(values), 9, mtime=0))


rows = [[int(v) for v in line.split(",")] for line in gzip.open(SOURCE, "rt")]
of_class = [sum(row[64] == label for row in rows) for label in range(10)]
seen = [0] * 10
train, test = [], []
for row in rows:  # the split: of the n samples of a class, in the order of the file, 36 evenly spaced ones are for testing
    k, n = seen[row[64]], of_class[row[64]]
    (test if TEST_PER_CLASS * k % n < TEST_PER_CLASS else train).append(row)
    seen[row[64]] += 1

folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "digits")
folder.mkdir(exist_ok=True)
for name, part in (("train", train), ("t10k", test)):
    write_idx(folder / f"{name}-images-idx3-ubyte.gz", (len(part), 8, 8), [v for row in part for v in row[:64]])
    write_idx(folder / f"{name}-labels-idx1-ubyte.gz", (len(part),), [row[64] for row in part])
    print(name, len(part))
