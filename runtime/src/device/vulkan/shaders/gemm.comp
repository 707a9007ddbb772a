#version 460
// SPDX-License-Identifier: MIT
// GEMM: a workgroup of THREADS x THREADS computes a square tile of C from tiles of A and B in
// shared memory, a thread a block of BLOCK x BLOCK elements of it.
//
// Compiled twice for each type. For GPUs: 16 x 16 threads, blocks of 4 x 4 (2 x 2 where an element
// has 16 bytes). For devices that are a CPU (lavapipe), where a load from shared memory is a loop
// over the lanes: 8 x 8 threads, blocks as large as registers bear, so that there are fewer loads
// for each multiplication. For the same reason elements of real types are in packs of four: a load
// of a pack costs little more than one of an element.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "gemm.glsl"

// A GPU keeps sums in registers, so their indices must be constant. LLVM takes several times as
// long to compile that, for code that measured slower: for it, the last loop stays a loop.
#ifdef FOR_CPU
#define FINISH_LOOP
#else
#define FINISH_LOOP [[unroll]]
#endif

#ifndef THREADS
#define THREADS 16
#endif
#ifndef BLOCK
#define BLOCK 4
#endif
#ifndef DEPTH
#define DEPTH 16
#endif

layout(local_size_x = THREADS, local_size_y = THREADS) in;

#if defined(COMPLEX)
#define PACK VALUE
#define ELEMENT(pack, i) (pack)
const uint kPack = 1;
#elif defined(TYPE_FLOAT)
#define PACK vec4
#define ELEMENT(pack, i) (pack)[i]
const uint kPack = 4;
#else
#define PACK dvec4
#define ELEMENT(pack, i) (pack)[i]
const uint kPack = 4;
#endif

const uint kThreads = THREADS;
const uint kBlock = BLOCK;
const uint kDepth = DEPTH;  // the tiles take 16 KiB at most: what every device has
const uint kTile = kThreads * kBlock;
const uint kPacks = kTile / kPack;       // in a row of a tile
const uint kBlockPacks = kBlock / kPack;  // of a thread: they are kThreads packs apart

shared PACK tile_a[kDepth][kPacks];
shared PACK tile_b[kDepth][kPacks];

// The pack of elements (outer .. outer + kPack - 1, kk) of a matrix whose element (i, j) is at
// i * outer_step + j * inner_step; zeros outside.
PACK load_pack(Span span, uint64_t outer, uint64_t outer_end, uint64_t kk, uint64_t outer_step,
               uint64_t inner_step, bool conjugated) {
  PACK pack = PACK(0);
  if (kk < k_end) {
    uint64_t x = span.offset + outer * outer_step + kk * inner_step;
    [[unroll]] for (uint i = 0; i < kPack; ++i) {
      if (outer + i < outer_end) {
        const VALUE value = load(span.frames, x);
        ELEMENT(pack, i) = conjugated ? conjugate(value) : value;
      }
      x += outer_step;
    }
  }
  return pack;
}

void main() {
  const uint64_t row0 = uint64_t(tile_row + gl_WorkGroupID.x) * kTile;
  const uint64_t column0 = uint64_t(tile_column + gl_WorkGroupID.y) * kTile;
  const uint64_t m = gemm.m;
  const uint64_t n = gemm.n;
  const Span a = gemm.a;
  const Span b = gemm.b;
  const uint64_t a_outer = kElementBytes * (kTransA == 0 ? 1ul : gemm.lda);
  const uint64_t a_inner = kElementBytes * (kTransA == 0 ? gemm.lda : 1ul);
  const uint64_t b_outer = kElementBytes * (kTransB == 0 ? gemm.ldb : 1ul);
  const uint64_t b_inner = kElementBytes * (kTransB == 0 ? 1ul : gemm.ldb);

  VALUE sum[kBlock][kBlock];
  [[unroll]] for (uint j = 0; j < kBlock; ++j) {
    [[unroll]] for (uint i = 0; i < kBlock; ++i) sum[j][i] = VALUE(0);
  }
  for (uint64_t k0 = k_begin; k0 < k_end; k0 += kDepth) {
    for (uint e = gl_LocalInvocationIndex; e < kDepth * kPacks; e += kThreads * kThreads) {
      // Neighbouring threads read neighbouring memory: along rows, or along k where transposed.
      const uint depth_a = kTransA == 0 ? e / kPacks : e % kDepth;
      const uint pack_a = kTransA == 0 ? e % kPacks : e / kDepth;
      tile_a[depth_a][pack_a] = load_pack(a, row0 + pack_a * kPack, m, k0 + depth_a, a_outer,
                                          a_inner, kTransA == 2);
      const uint depth_b = kTransB == 0 ? e % kDepth : e / kPacks;
      const uint pack_b = kTransB == 0 ? e / kDepth : e % kPacks;
      tile_b[depth_b][pack_b] = load_pack(b, column0 + pack_b * kPack, n, k0 + depth_b, b_outer,
                                          b_inner, kTransB == 2);
    }
    barrier();
    for (uint depth = 0; depth < kDepth; ++depth) {
      PACK va[kBlockPacks];
      PACK vb[kBlockPacks];
      [[unroll]] for (uint p = 0; p < kBlockPacks; ++p) {
        va[p] = tile_a[depth][gl_LocalInvocationID.x + kThreads * p];
        vb[p] = tile_b[depth][gl_LocalInvocationID.y + kThreads * p];
      }
      [[unroll]] for (uint j = 0; j < kBlock; ++j) {
        [[unroll]] for (uint i = 0; i < kBlock; ++i) {
          sum[j][i] = multiply_add(ELEMENT(va[i / kPack], i % kPack),
                                   ELEMENT(vb[j / kPack], j % kPack), sum[j][i]);
        }
      }
    }
    barrier();
  }
  FINISH_LOOP for (uint j = 0; j < kBlock; ++j) {
    const uint64_t column =
        column0 + (gl_LocalInvocationID.y + kThreads * (j / kPack)) * kPack + j % kPack;
    [[unroll]] for (uint i = 0; i < kBlock; ++i) {
      const uint64_t row =
          row0 + (gl_LocalInvocationID.x + kThreads * (i / kPack)) * kPack + i % kPack;
      if (row < m && column < n) finish(row, column, sum[j][i]);
    }
  }
}
