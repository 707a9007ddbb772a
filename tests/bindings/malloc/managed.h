// SPDX-License-Identifier: MIT
// What tests of libgodwit_malloc.so share. They run with it preloaded.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <vector>

#include "godwit.h"

namespace godwit::testing {

inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kMinBlock = 256 * 1024;  // the default of GODWIT_MIN_BLOCK
inline constexpr size_t kLarge = 1024 * 1024;

struct Freed {
  void operator()(void* block) const { free(block); }
};
using Block = std::unique_ptr<unsigned char, Freed>;

inline Block make_block(size_t bytes) { return Block(static_cast<unsigned char*>(malloc(bytes))); }

// The compiler must neither remove an allocation nor reason about its size.
template <typename T>
T opaque(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

// The process context; made by the first large request.
inline godwit_context* context() {
  using Get = godwit_context* (*)(int);
  static const auto get = reinterpret_cast<Get>(dlsym(RTLD_DEFAULT, "godwit_malloc_context"));
  return get == nullptr ? nullptr : get(1);
}

inline bool is_managed(const void* address) {
  godwit_context* made = context();
  return made != nullptr && godwit_manages(made, address) != 0;
}

inline unsigned char pattern(size_t at, unsigned seed) {
  return static_cast<unsigned char>((at * 2654435761u + seed) >> 7);
}

inline void fill(void* block, size_t bytes, unsigned seed) {
  auto* out = static_cast<unsigned char*>(block);
  for (size_t at = 0; at < bytes; ++at) out[at] = pattern(at, seed);
}

// The first byte that is not the pattern's; `bytes` when all are.
inline size_t first_difference(const void* block, size_t bytes, unsigned seed) {
  const auto* in = static_cast<const unsigned char*>(block);
  for (size_t at = 0; at < bytes; ++at) {
    if (in[at] != pattern(at, seed)) return at;
  }
  return bytes;
}

inline bool all_zero(const void* block, size_t bytes) {
  const auto* in = static_cast<const unsigned char*>(block);
  for (size_t at = 0; at < bytes; ++at) {
    if (in[at] != 0) return false;
  }
  return true;
}

inline size_t pages_on_device(const void* base, size_t bytes) {
  std::vector<uint8_t> states((bytes + kPageBytes - 1) / kPageBytes);
  if (godwit_residency(context(), base, bytes, states.data(), states.size()) != GODWIT_OK) return 0;
  size_t count = 0;
  for (const uint8_t state : states) {
    // Without the privilege for more, VRAM gets copies, and the pages stay.
    count += state == GODWIT_PAGE_DEVICE || state == GODWIT_PAGE_BOTH;
  }
  return count;
}

// Moves a block to VRAM; the number of pages that are there afterwards.
inline size_t push(const void* base, size_t bytes) {
  EXPECT_EQ(godwit_prefetch(context(), base, bytes, GODWIT_DEVICE, nullptr), GODWIT_OK)
      << godwit_last_error();
  return pages_on_device(base, bytes);
}

// Tests that need managed memory, which takes userfaultfd.
class Managed : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(dlsym(RTLD_DEFAULT, "godwit_malloc_context"), nullptr)
        << "run this with libgodwit_malloc.so preloaded";
    if (context() == nullptr) GTEST_SKIP() << "no managed memory on this machine";
  }
};

}  // namespace godwit::testing
