#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which words are spelled alike: plain NumPy, on a word list.

usage: words.py [WORD LIST]

Every word becomes a row of hashed counts of its pieces (two to four letters, with the word's ends marked). The Gram
matrix of the columns and orthogonal iteration give the leading directions; words that lie close together in them share
much of their spelling. Prints neighbours of a few words, then one line of numbers that depend on every product.
"""

import sys

import numpy as np

BUCKETS = 256
DIRECTIONS = 64
ITERATIONS = 30
QUERIES = ("teaching", "friendship", "nation", "unhappy", "mathematics", "bird")


def count_pieces(words):
    """float32 (words, BUCKETS): how often each hashed piece occurs in each word."""
    text = np.frombuffer(("^" + "$^".join(words) + "$").encode("ascii"), dtype=np.uint8).astype(np.int64)
    word = np.cumsum(text == ord("^")) - 1
    counts = np.zeros(len(words) * BUCKETS, dtype=np.float32)
    for length in (2, 3, 4):
        inside = word[length - 1 :] == word[: len(word) - length + 1]
        piece = np.zeros(len(inside), dtype=np.int64)
        for offset in range(length):
            piece = piece * 131 + text[offset : offset + len(inside)]
        bucket = (piece * 2654435761 >> 7) % BUCKETS
        places = word[: len(inside)][inside] * BUCKETS + bucket[inside]
        counts += np.bincount(places, minlength=len(counts)).astype(np.float32)
    return counts.reshape(len(words), BUCKETS)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/dict/american-english"
    with open(path, encoding="utf-8") as file:
        words = sorted({line.strip() for line in file if line.strip().isascii() and line.strip().islower() and line.strip().isalpha()})
    counts = count_pieces(words)
    in_words = (counts > 0).sum(axis=0)
    counts *= np.log(len(words) / (1.0 + in_words)).astype(np.float32)
    weighted = counts / np.sqrt((counts * counts).sum(axis=1, keepdims=True))

    gram = counts.T @ weighted  # (BUCKETS, words) times (words, BUCKETS)
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((BUCKETS, DIRECTIONS)))[0].astype(np.float32)
    for _ in range(ITERATIONS):
        basis = np.linalg.qr((gram @ basis).astype(np.float64))[0].astype(np.float32)
    spectrum = np.diag(basis.T @ (gram @ basis))

    places = weighted @ basis  # (words, BUCKETS) times (BUCKETS, DIRECTIONS)
    places /= np.sqrt((places * places).sum(axis=1, keepdims=True))
    wanted = [words.index(query) for query in QUERIES]
    alike = places @ places[wanted].T
    for column, query in enumerate(QUERIES):
        order = np.argsort(-alike[:, column], kind="stable")[1:6]
        print(f"{query}: " + ", ".join(f"{words[row]} {alike[row, column]:.3f}" for row in order))
    print(
        f"{len(words)} words, largest values {spectrum[0]:.6g} {spectrum[1]:.6g} {spectrum[2]:.6g}, "
        f"trace {np.trace(gram):.7g}, sum {np.abs(gram).sum(dtype=np.float64):.7g}, checksum {np.abs(alike).sum(dtype=np.float64):.7g}"
    )


if __name__ == "__main__":
    main()
