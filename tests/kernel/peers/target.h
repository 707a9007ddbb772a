// SPDX-License-Identifier: MIT
// What peers do DMA to: memory of each kind of VRAM, behind one interface.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>

#include "tests/kernel/card.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/objects.h"
#include "tests/kernel/peers/mover.h"

namespace godwit::guest {

// How long tests go on: once with every change, longer by hand.
#ifdef GODWIT_LONG
inline constexpr uint64_t kLength = 20;
#else
inline constexpr uint64_t kLength = 1;
#endif

enum class Kind { kSoft, kPrivate, kCoherent, kExplicit };
const char* name_of(Kind kind);
inline std::ostream& operator<<(std::ostream& out, Kind kind) { return out << name_of(kind); }

// A device of a kind: a card (0 shares a switch with the NVMe, 1 does not), or one of godwit_soft.
class Place {
 public:
  explicit Place(Kind kind, int card = 0);
  // The VRAM is free again, or the test fails.
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  bool ready() const;
  Kind kind() const { return kind_; }
  const Device& device() const;
  // As Card::holds(); false for a soft device, of which the host sees nothing.
  bool holds(const void* page) const { return card_ != nullptr && card_->holds(page); }

 private:
  Kind kind_;
  std::unique_ptr<Card> card_;
  std::unique_ptr<SoftDevice> soft_;
  std::unique_ptr<Device> soft_node_;
};

// Bytes with a pointer that can be in that VRAM: malloc memory, or an object where the kind knows
// only these.
class Target {
 public:
  Target(const Place& place, size_t bytes, bool as_object = false);

  uint8_t* data() const { return object_ ? object_->data() : memory_->data(); }
  uint8_t* page(size_t index) const { return data() + index * kPage; }
  size_t size() const { return size_; }
  // Null for malloc memory.
  const Object* object() const { return object_.get(); }
  const Place& place() const { return place_; }

  // All of it; whether it is there afterwards.
  [[nodiscard]] bool to_vram() const;
  [[nodiscard]] bool to_ram() const;
  bool in_vram() const;
  bool in_ram() const;
  // Something that moves it all the time.
  std::unique_ptr<Mover> mover(std::chrono::microseconds pause = {}) const;

 private:
  bool move(uint32_t to) const;
  const Place& place_;
  size_t size_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Object> object_;
};

}  // namespace godwit::guest
