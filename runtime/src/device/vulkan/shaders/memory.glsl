// SPDX-License-Identifier: MIT
// Pointers of the program in a shader. Included by the shaders that follow them.
#include "span.glsl"

// A WalkMemory of device.h: `span` has what the program has at `base`.
struct Memory {
  uint64_t base;
  uint64_t bytes;
  Span span;
};
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Memories {
  Memory at[];
};
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Field {
  uint64_t value;
};

// Where the device has what a pointer leads to.
struct Place {
  uint64_t frames;
  uint64_t at;
};

Field field(Place place, uint64_t offset) {
  return Field(address_of(place.frames, place.at + offset));
}

// False where `bytes` bytes from there on are not all in one memory.
bool find(Memories memories, uint count, uint64_t pointer, uint64_t bytes, out Place place) {
  place = Place(0ul, 0ul);
  if ((pointer & 7ul) != 0ul) return false;
  for (uint i = 0u; i < count; ++i) {
    const Memory memory = memories.at[i];
    const uint64_t at = pointer - memory.base;  // wraps for a pointer below
    if (at >= memory.bytes || bytes > memory.bytes - at) continue;
    place = Place(memory.span.frames, memory.span.offset + at);
    return true;
  }
  return false;
}
