// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/mover.h"

#include <algorithm>
#include <cerrno>

namespace godwit::guest {
namespace {

constexpr size_t kPiece = 16 * kPage;

}  // namespace

Mover::Mover(const Device& device, void* data, size_t bytes, std::chrono::microseconds pause) {
  const size_t pieces = (bytes + kPiece - 1) / kPiece;
  start(
      [&device, data, bytes, pieces](uint64_t turn) {
        const size_t piece = turn % pieces;
        drm_godwit_migrate args = {};
        args.addr = reinterpret_cast<uintptr_t>(data) + piece * kPiece;
        args.length = std::min(kPiece, bytes - piece * kPiece);
        // Neighbours go opposite ways.
        args.to = (turn / pieces + piece) % 2 == 0 ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM;
        EXPECT_EQ(device.call(DRM_IOCTL_GODWIT_MIGRATE, &args), 0);
        return args.moved;
      },
      pause);
}

Mover::Mover(const Object& object, std::chrono::microseconds pause) {
  start(
      [&object, at = object.place()](uint64_t turn) mutable -> uint64_t {
        const uint32_t to = turn % 2 == 0 ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM;
        const int status = object.move(to);
        // Somebody does I/O on it.
        EXPECT_TRUE(status == 0 || status == -EBUSY) << status;
        // Where it is already there is nothing to move.
        const bool moved = status == 0 && at != to;
        if (status == 0) at = to;
        return moved;
      },
      pause);
}

void Mover::start(std::function<uint64_t(uint64_t)> step, std::chrono::microseconds pause) {
  thread_ = std::thread([this, step = std::move(step), pause] {
    for (uint64_t turn = 0; !stop_; ++turn) {
      moved_ += step(turn);
      if (pause.count() != 0) std::this_thread::sleep_for(pause);
    }
  });
}

void Mover::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

Mover::~Mover() { stop(); }

}  // namespace godwit::guest
