// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/target.h"

namespace godwit::guest {

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kSoft:
      return "soft";
    case Kind::kPrivate:
      return "private";
    case Kind::kCoherent:
      return "coherent";
    case Kind::kExplicit:
      return "explicit";
  }
  return "?";
}

Place::Place(Kind kind, int card) : kind_(kind) {
  if (kind == Kind::kSoft) {
    soft_ = std::make_unique<SoftDevice>("private:16M");
    soft_node_ = std::make_unique<Device>(soft_->index());
  } else {
    card_ = std::make_unique<Card>(card, name_of(kind));
  }
}

Place::~Place() {
  if (!ready()) return;
  const uint64_t total = device().info().vram_total;
  EXPECT_EQ(wait_for_free(device(), total), total) << "VRAM leaked";
}

bool Place::ready() const { return kind_ == Kind::kSoft ? soft_node_->fd() >= 0 : card_->bound(); }

const Device& Place::device() const { return kind_ == Kind::kSoft ? *soft_node_ : card_->device(); }

Target::Target(const Place& place, size_t bytes, bool as_object) : place_(place), size_(bytes) {
  if (as_object || place.kind() == Kind::kExplicit) {
    object_ = std::make_unique<Object>(place.device(), bytes);
  } else {
    memory_ = std::make_unique<Memory>(bytes);
  }
}

bool Target::move(uint32_t to) const {
  if (object_) {
    EXPECT_EQ(object_->move(to), 0);
    return object_->place() == to;
  }
  const auto done = place_.device().migrate(data(), size_, to);
  return done.moved + done.already == size_ / kPage;
}

bool Target::to_vram() const { return move(GODWIT_PLACE_VRAM); }
bool Target::to_ram() const { return move(GODWIT_PLACE_SYSTEM); }

bool Target::in_vram() const {
  if (object_) return object_->place() == GODWIT_PLACE_VRAM;
  return place_.device().in_vram(data(), size_) == size_ / kPage;
}

bool Target::in_ram() const {
  if (object_) return object_->place() == GODWIT_PLACE_SYSTEM;
  return place_.device().residency(data(), size_).in_system == size_ / kPage;
}

std::unique_ptr<Mover> Target::mover(std::chrono::microseconds pause) const {
  if (object_) return std::make_unique<Mover>(*object_, pause);
  return std::make_unique<Mover>(place_.device(), data(), size_, pause);
}

}  // namespace godwit::guest
