// SPDX-License-Identifier: MIT
// What the GEMM kernels share: the scalar type, the parameters, and loads and stores of elements.
// One of TYPE_FLOAT, TYPE_DOUBLE, TYPE_COMPLEX_FLOAT, TYPE_COMPLEX_DOUBLE is defined.
#include "span.glsl"

#if defined(TYPE_FLOAT)
#define REAL float
#define VALUE float
#define REAL_BYTES 4
const uint64_t kElementBytes = 4ul;
#elif defined(TYPE_DOUBLE)
#define REAL double
#define VALUE double
#define REAL_BYTES 8
const uint64_t kElementBytes = 8ul;
#elif defined(TYPE_COMPLEX_FLOAT)
#define REAL float
#define VALUE vec2
#define COMPLEX
#define REAL_BYTES 4
const uint64_t kElementBytes = 8ul;
#elif defined(TYPE_COMPLEX_DOUBLE)
#define REAL double
#define VALUE dvec2
#define COMPLEX
#define REAL_BYTES 8
const uint64_t kElementBytes = 16ul;
#endif

const uint64_t kRealBytes = REAL_BYTES;

layout(constant_id = 0) const uint kTransA = 0;  // 0: as it is, 1: transposed, 2: and conjugated
layout(constant_id = 1) const uint kTransB = 0;

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Gemm {
  Span a;
  Span b;
  Span c;
  uint64_t m;
  uint64_t n;
  uint64_t k;
  uint64_t lda;
  uint64_t ldb;
  uint64_t ldc;
  REAL alpha[2];
  REAL beta[2];
};

// One dispatch: a rectangle of tiles of C, and a panel of k. An empty panel means that A and B are
// not read and alpha does not count.
layout(push_constant, std430) uniform Push {
  Gemm gemm;
  uint64_t k_begin;
  uint64_t k_end;
  uint tile_row;
  uint tile_column;
  uint add_to_c;  // 1 after the first panel: beta has been applied already
};

layout(buffer_reference, std430, buffer_reference_align = REAL_BYTES) buffer Real {
  REAL value;
};

#ifdef COMPLEX
// The address of the imaginary part of the element at `x`: it may be in the next frame.
uint64_t imaginary_of(uint64_t frames, uint64_t x, uint64_t real_part) {
  if ((x & 0xfffful) != 0x10000ul - kRealBytes) return real_part + kRealBytes;
  return address_of(frames, x + kRealBytes);
}
#endif

VALUE load(uint64_t frames, uint64_t x) {
  const uint64_t at = address_of(frames, x);
#ifdef COMPLEX
  return VALUE(Real(at).value, Real(imaginary_of(frames, x, at)).value);
#else
  return Real(at).value;
#endif
}

void store(uint64_t frames, uint64_t x, VALUE value) {
  const uint64_t at = address_of(frames, x);
#ifdef COMPLEX
  Real(at).value = value.x;
  Real(imaginary_of(frames, x, at)).value = value.y;
#else
  Real(at).value = value;
#endif
}

VALUE conjugate(VALUE v) {
#ifdef COMPLEX
  return VALUE(v.x, -v.y);
#else
  return v;
#endif
}

VALUE multiply_add(VALUE a, VALUE b, VALUE sum) {
#ifdef COMPLEX
  return VALUE(fma(-a.y, b.y, fma(a.x, b.x, sum.x)), fma(a.y, b.x, fma(a.x, b.y, sum.y)));
#else
  return fma(a, b, sum);
#endif
}

VALUE scale(REAL by[2], VALUE v) {
#ifdef COMPLEX
  return VALUE(by[0] * v.x - by[1] * v.y, by[0] * v.y + by[1] * v.x);
#else
  return by[0] * v;
#endif
}

// C := alpha * sum + beta * C at one element, without reading C where beta is zero.
void finish(uint64_t row, uint64_t column, VALUE sum) {
  const uint64_t frames = gemm.c.frames;
  const uint64_t x = gemm.c.offset + (column * gemm.ldc + row) * kElementBytes;
  VALUE result = k_begin == k_end ? VALUE(0) : scale(gemm.alpha, sum);
  if (add_to_c != 0u) {
    result += load(frames, x);
#ifdef COMPLEX
  } else if (gemm.beta[0] != REAL(0) || gemm.beta[1] != REAL(0)) {
#else
  } else if (gemm.beta[0] != REAL(0)) {
#endif
    result += scale(gemm.beta, load(frames, x));
  }
  store(frames, x, result);
}
