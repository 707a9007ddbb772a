// SPDX-License-Identifier: MIT
// Managed memory for C++ containers: a std::pmr resource and an allocator. Small requests are
// rounded up to 64 KiB each, so these are for large arrays; a pool resource on top serves small
// blocks (std::pmr::unsynchronized_pool_resource).
#pragma once

#include <cstddef>
#include <memory_resource>
#include <new>

#include "godwit/context.h"

namespace godwit {

/// The context must outlive the resource and everything allocated from it.
class MemoryResource final : public std::pmr::memory_resource {
 public:
  explicit MemoryResource(Context& context) : context_(&context) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    auto region = context_->allocate(bytes == 0 ? 1 : bytes, alignment);
    if (!region) throw std::bad_alloc();
    return *region;
  }
  void do_deallocate(void* region, std::size_t /*bytes*/, std::size_t /*alignment*/) override {
    context_->free(region);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    const auto* same = dynamic_cast<const MemoryResource*>(&other);
    return same != nullptr && same->context_ == context_;
  }
  Context* context_;
};

/// Satisfies the Allocator requirements: std::vector<double, godwit::Allocator<double>> v(alloc).
template <typename T>
class Allocator {
 public:
  using value_type = T;
  explicit Allocator(Context& context) : context_(&context) {}
  template <typename U>
  Allocator(const Allocator<U>& other) : context_(&other.context()) {}  // NOLINT: converts

  [[nodiscard]] T* allocate(std::size_t count) {
    if (count > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    auto region = context_->allocate(count == 0 ? 1 : count * sizeof(T), alignof(T));
    if (!region) throw std::bad_alloc();
    return static_cast<T*>(*region);
  }
  void deallocate(T* region, std::size_t /*count*/) { context_->free(region); }
  [[nodiscard]] Context& context() const { return *context_; }
  template <typename U>
  [[nodiscard]] bool operator==(const Allocator<U>& other) const {
    return context_ == &other.context();
  }

 private:
  Context* context_;
};

}  // namespace godwit
