// SPDX-License-Identifier: MIT
// Bad arguments as data: for each call one set of arguments that it accepts, and for each field at least one wrong value with
// the errno that godwit_drm.h documents for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/kernel/guest.h"

namespace godwit::guest {

// Member of a structure as offset, size and name.
#define GODWIT_FIELD(type, member) offsetof(type, member), sizeof(type::member), #type "." #member

struct BadValue {
  enum How { kSet, kAdd };

  size_t offset;
  size_t size;  // of the member; a multiple of 8 stands for an array of words of which the first is set
  const char* field;
  How how;
  uint64_t value;
  int want;
  // The call finds out only after it has begun: where pages are may have changed, their bytes not.
  bool late = false;
};

struct OutputField {
  size_t offset;
  size_t size;
  const char* field;
};

// What the calls work on.
struct Playground {
  // 16 pages, filled with fill(seed), the first half in VRAM.
  uint8_t* pages;
  size_t bytes;
  // Room for what a call answers behind a pointer.
  uint8_t* scratch;
  size_t scratch_bytes;
};

struct BadCall {
  const char* name;
  unsigned long request;
  size_t size;
  // Arguments that are accepted, `size` bytes at `args`.
  std::function<void(const Playground&, void* args)> good;
  std::vector<BadValue> bad;
  std::vector<OutputField> outputs;
  // Before the call, on the descriptor that it is made on. May be null.
  std::function<void(const Device&)> before;
  // What the accepted arguments answer.
  int answer = 0;
};

// Fails the test where a byte of the structure is neither in a row nor an output.
void expect_all_fields(const BadCall& call);
// Fails the test where the accepted arguments are not, or where a row is not answered by its errno, or changes anything.
void expect_refusals(const BadCall& call);

// Structures that are longer or shorter than the driver's.
void expect_other_sizes(const BadCall& call);

}  // namespace godwit::guest
