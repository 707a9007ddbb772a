// SPDX-License-Identifier: MIT
#include <utility>

#include "godwit/peer.h"
#include "runtime/src/peer/registry.h"

namespace godwit {

PeerMapping::PeerMapping(std::shared_ptr<peer::Registry> registry,
                         std::shared_ptr<peer::Entry> entry)
    : registry_(std::move(registry)), entry_(std::move(entry)) {}

PeerMapping::~PeerMapping() { registry_->remove(entry_); }

Result<std::uint64_t> PeerMapping::begin(std::chrono::milliseconds patience) {
  return registry_->begin(entry_, patience);
}

void PeerMapping::end() noexcept { registry_->end(*entry_); }

std::uint64_t PeerMapping::generation() const noexcept { return registry_->generation(*entry_); }

std::span<std::byte> PeerMapping::pages() const noexcept {
  return {reinterpret_cast<std::byte*>(entry_->range.first),
          entry_->range.end - entry_->range.first};
}

}  // namespace godwit
