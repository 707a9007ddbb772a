#version 460
// SPDX-License-Identifier: MIT
// Follows a list or a tree by the program's pointers: one invocation, since each node says where the next one is. A
// dispatch goes on where the one before it stopped: one invocation may not take long, and llvmpipe ends every loop of a
// shader, without a word, once they have made 65535 rounds together.
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

layout(local_size_x = 1) in;

// The first four are a WalkResult of device.h.
layout(buffer_reference, std430, buffer_reference_align = 8) buffer State {
  uint64_t nodes;
  uint64_t sum;
  uint64_t stopped;
  uint64_t last;
  uint64_t node;     // to be visited next; 0: the end
  uint64_t waiting;  // of `pending`
  uint64_t pending[];
};

layout(push_constant, std430) uniform Push {
  Memories memories;
  State state;
  uint memory_count;
  uint links[2];
  uint value;
  uint limit;
  uint add;
  uint rounds;  // of this dispatch
  uint flags;
};

const uint kTree = 1u;
const uint kTurn = 2u;
const uint64_t kMostPending = 64ul;

// Its links are read, and changed where they are to be: what comes after it.
uint64_t leave(uint64_t node, Place place) {
  Field first = field(place, uint64_t(links[0]));
  const uint64_t next = first.value;
  const bool turn = (flags & kTurn) != 0u;
  if ((flags & kTree) == 0u) {
    if (turn) first.value = state.last;
    state.last = node;
    return next;
  }
  Field second = field(place, uint64_t(links[1]));
  const uint64_t later = second.value;
  if (turn) {
    first.value = later;
    second.value = next;
  }
  state.last = node;
  if (next == 0ul) return later;
  if (later != 0ul) {
    if (state.waiting == kMostPending) {
      state.stopped = later;
      return 0ul;
    }
    state.pending[uint(state.waiting)] = later;
    ++state.waiting;
  }
  return next;
}

void main() {
  const uint64_t size = uint64_t(max(max(links[0], links[1]), value)) + 8ul;
  uint64_t node = state.node;
  for (uint round = 0u; round < rounds && node != 0ul; ++round) {
    Place place;
    if (state.nodes == uint64_t(limit) || !find(memories, memory_count, node, size, place)) {
      state.stopped = node;
      node = 0ul;
      break;
    }
    ++state.nodes;
    Field value_field = field(place, uint64_t(value));
    const uint64_t now = value_field.value + uint64_t(add);
    value_field.value = now;
    state.sum += now;
    node = leave(node, place);
    if (state.stopped == 0ul && node == 0ul && state.waiting != 0ul) {
      --state.waiting;
      node = state.pending[uint(state.waiting)];
    }
  }
  state.node = node;
}
