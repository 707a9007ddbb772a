# SPDX-License-Identifier: MIT
"""NumPy and multiprocessing; one line for each result, the same wherever memory is."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import tempfile

import numpy


def digest(array):
    return hashlib.sha256(numpy.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# Made before the fork: children read the parent's bytes.
SHARED = numpy.random.default_rng(7).random((1000, 1000))


def of_rows(first):
    own = SHARED[first : first + 100] * 2.0
    SHARED[first : first + 100] = -1.0  # must not show in the parent
    return digest(own)


def main():
    random = numpy.random.default_rng(42)

    print("product", digest(random.random((400, 400)) @ random.random((400, 400))))
    print("solve", digest(numpy.linalg.solve(random.random((300, 300)), random.random(300))))
    print("sorted", digest(numpy.sort(random.random(10**6))))

    with multiprocessing.get_context("fork").Pool(4) as pool:
        print("fork_pool", *pool.map(of_rows, range(0, 1000, 100)))
    print("parent_unchanged", digest(SHARED))

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("spawn_pool", *pool.map(of_rows, [0, 500]))

    # System calls on buffers that may be in VRAM.
    data = random.integers(0, 256, 8 << 20, dtype=numpy.uint8)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        back = numpy.empty_like(data)
        assert file.readinto(back) == data.size
        print("file", digest(back))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as out:
            out.write(data)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        print("pipe", digest(numpy.frombuffer(stream.read(), dtype=numpy.uint8)))
    os.waitpid(child, 0)

    done = subprocess.run(["cat"], input=data.tobytes(), stdout=subprocess.PIPE, check=True)
    print("subprocess", digest(numpy.frombuffer(done.stdout, dtype=numpy.uint8)))

    text = bytearray()
    for number in range(200_000):
        text += b"%d," % number
    print("growing", hashlib.sha256(text).hexdigest()[:16])


if __name__ == "__main__":
    sys.exit(main())
