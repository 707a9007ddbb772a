#version 460
// SPDX-License-Identifier: MIT
// Commands on the 32-bit words of one span. Compiled once for each of OP_FILL, OP_ADD, OP_SUM.
#extension GL_GOOGLE_include_directive : require
#include "span.glsl"

layout(local_size_x = 256) in;

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Word {
  uint value;
};
layout(buffer_reference, std430, buffer_reference_align = 8) writeonly buffer Partials {
  uint64_t sum[];
};

layout(push_constant, std430) uniform Push {
  Span target;
  uint64_t words;
  uint64_t partials;  // OP_SUM: one 64-bit sum for each workgroup
  uint value;
};

#ifdef OP_SUM
shared uint64_t sums[256];
#endif

void main() {
  const uint64_t stride = uint64_t(gl_NumWorkGroups.x) * 256ul;
#ifdef OP_SUM
  uint64_t sum = 0ul;
#endif
  for (uint64_t i = gl_GlobalInvocationID.x; i < words; i += stride) {
    Word word = Word(address_of(target.frames, target.offset + i * 4ul));
#if defined(OP_FILL)
    word.value = value;
#elif defined(OP_ADD)
    word.value += value;
#elif defined(OP_SUM)
    sum += uint64_t(word.value);
#endif
  }
#ifdef OP_SUM
  const uint lane = gl_LocalInvocationIndex;
  sums[lane] = sum;
  for (uint half_count = 128u; half_count > 0u; half_count >>= 1) {
    barrier();
    if (lane < half_count) sums[lane] += sums[lane + half_count];
  }
  if (lane == 0u) Partials(partials).sum[gl_WorkGroupID.x] = sums[0];
#endif
}
