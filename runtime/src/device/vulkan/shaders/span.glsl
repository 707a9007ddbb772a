// SPDX-License-Identifier: MIT
// A DeviceSpan in a shader: bytes that are contiguous for the application and scattered over 64 KiB
// frames here. Included by the shaders of this folder.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Frames {
  uint64_t address[];
};

// `frames` is the address of the table (one 64-bit address for each chunk), or 0 where all frames
// are neighbours; `offset` then is the address of the first byte, else its offset in the first
// chunk.
struct Span {
  uint64_t frames;
  uint64_t offset;
};

// The address of the byte at `x`, which counts from chunk 0 (or is an address already: the caller
// adds `offset`). An element never crosses a frame: it is aligned to its size.
uint64_t address_of(uint64_t frames, uint64_t x) {
  if (frames == 0ul) return x;
  const uint64_t frame = Frames(frames).address[uint(x >> 16)];
  return frame + (x & 0xfffful);
}
