#version 460
// SPDX-License-Identifier: MIT
// Follows a linked list whose pointers are the program's: one invocation, since each node says where the next one is.
#extension GL_GOOGLE_include_directive : require
#include "span.glsl"

layout(local_size_x = 1) in;

layout(buffer_reference, std430, buffer_reference_align = 8) buffer Field {
  uint64_t value;
};
layout(buffer_reference, std430, buffer_reference_align = 8) writeonly buffer Answer {
  uint64_t nodes;
  uint64_t sum;
  uint64_t stopped;
};

layout(push_constant, std430) uniform Push {
  Span memory;
  uint64_t base;   // the program's address of the first byte
  uint64_t bytes;
  uint64_t head;
  uint64_t answer;
  uint next;
  uint value;
  uint limit;
  uint add;
};

void main() {
  const uint64_t size = uint64_t(max(next, value)) + 8ul;
  uint64_t node = head;
  uint64_t sum = 0ul;
  uint nodes = 0u;
  for (; node != 0ul && nodes < limit; ++nodes) {
    const uint64_t at = node - base;  // wraps for a pointer below
    if ((node & 7ul) != 0ul || at >= bytes || size > bytes - at) break;
    Field field = Field(address_of(memory.frames, memory.offset + at + uint64_t(value)));
    field.value += uint64_t(add);
    sum += field.value;
    node = Field(address_of(memory.frames, memory.offset + at + uint64_t(next))).value;
  }
  Answer(answer).nodes = uint64_t(nodes);
  Answer(answer).sum = sum;
  Answer(answer).stopped = node;
}
