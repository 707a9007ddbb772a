#version 460
// SPDX-License-Identifier: MIT
// Adds to all values of a vector of vectors, by the program's pointers: a workgroup a row. A dispatch has as many rows as
// there are partial results, which grow from one to the next.
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

layout(local_size_x = 64) in;

struct Partial {
  uint64_t values;
  uint64_t sum;
  uint64_t stopped;  // the first pointer that was not followed
  uint64_t row;      // that has it; counts from 1
};
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Partials {
  Partial of[];
};

layout(push_constant, std430) uniform Push {
  Memories memories;
  Partials partials;
  uint64_t head;
  uint memory_count;
  uint links[2];
  uint stride;
  uint first;  // row of this dispatch
  uint rows;   // in all
  uint add;
};

const uint64_t kMostValues = 1ul << 20;

shared Place values;
shared uint64_t count;
shared uint64_t sums[gl_WorkGroupSize.x];

// Where the row's values are; nowhere, and that noted, where its pointers lead out.
void look(uint group, uint row) {
  count = 0ul;
  const uint64_t at = head + uint64_t(row) * uint64_t(stride);
  uint64_t pointer = at;
  Place place;
  if (find(memories, memory_count, at, uint64_t(stride), place)) {
    const uint64_t begin = field(place, uint64_t(links[0])).value;
    const uint64_t bytes = field(place, uint64_t(links[1])).value - begin;
    if (bytes == 0ul) return;  // an empty vector points nowhere
    pointer = begin;
    if ((bytes & 7ul) == 0ul && (bytes >> 3) <= kMostValues &&
        find(memories, memory_count, begin, bytes, place)) {
      values = place;
      count = bytes >> 3;
      return;
    }
  }
  if (partials.of[group].row == 0ul) {
    partials.of[group].stopped = pointer;
    partials.of[group].row = uint64_t(row) + 1ul;
  }
}

void main() {
  const uint group = gl_WorkGroupID.x;
  const uint row = first + group;
  const uint lane = gl_LocalInvocationID.x;
  if (row >= rows) return;  // the whole group
  if (lane == 0u) look(group, row);
  barrier();
  uint64_t sum = 0ul;
  for (uint64_t i = uint64_t(lane); i < count; i += uint64_t(gl_WorkGroupSize.x)) {
    Field each = field(values, i << 3);
    const uint64_t now = each.value + uint64_t(add);
    each.value = now;
    sum += now;
  }
  sums[lane] = sum;
  barrier();
  if (lane != 0u) return;
  uint64_t all = 0ul;
  for (uint i = 0u; i < gl_WorkGroupSize.x; ++i) all += sums[i];
  partials.of[group].values += count;
  partials.of[group].sum += all;
}
