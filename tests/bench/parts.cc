// SPDX-License-Identifier: MIT
// What a bulk move is made of, each part alone, as a share of memcpy's time: where time goes that
// the engine's own rows do not explain.
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "runtime/src/host/user/user_host.h"
#include "runtime/src/residency/vram_frames.h"
#include "runtime/src/transfer/block_mover.h"
#include "tests/bench/groups.h"
#include "tests/bench/world.h"

namespace godwit::bench {
namespace {

constexpr int kRepetitions = 9;

struct Part {
  const char* name;
  Samples seconds;
  Samples share;
};

class NoFaults final : public FaultSink {
  FaultEnd on_fault(std::byte*, bool, bool, Turn&) noexcept override { return FaultEnd::kWaits; }
  void on_fork(ChildMemory&) noexcept override {}
  void on_handlers_gone() noexcept override {}
};

/// Takes every block out into a slot of its own, and puts it in again.
class Mover {
 public:
  explicit Mover(std::size_t bytes) : bytes_(bytes), plain_(bytes, Plain::Pages::kHuge) {}

  [[nodiscard]] Result<> open() {
    auto host = make_user_host({.level = HostLevelWish::kFull, .handlers = 1});
    if (!host) return tl::unexpected(host.error());
    host_ = std::move(*host);
    auto attached = host_->attach(plain_.data(), bytes_, &sink_);
    if (!attached) return attached;
    const int error = host_->arm(plain_.data(), bytes_);
    if (error != 0) return fail_errno(-error, "cannot arm");
    auto slots = host_->reserve_slots(bytes_, true);
    if (!slots) return tl::unexpected(slots.error());
    slots_ = *slots;
    return {};
  }
  ~Mover() {
    if (slots_ != nullptr) host_->release_slots(slots_, bytes_);
  }
  void out() { each(&HostMemory::take_out); }
  void in() { each(&HostMemory::put_in); }

 private:
  using Call = int (HostMemory::*)(std::byte*, std::byte*, std::size_t, std::size_t*);
  void each(Call call) {
    for (std::size_t at = 0; at < bytes_; at += kBlockBytes) {
      std::size_t moved = 0;
      const int error = ((*host_).*call)(plain_.data() + at, slots_ + at, kBlockBytes, &moved);
      if (error != 0) give_up("UFFDIO_MOVE", error);
    }
  }
  std::size_t bytes_;
  Plain plain_;
  NoFaults sink_;
  std::unique_ptr<HostMemory> host_;
  std::byte* slots_ = nullptr;
};

void device_copy(Device& device, Direction direction, std::byte* host, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kBlockBytes) {
    const CopyOp op{at, host + at, kBlockBytes};
    const int error = device.copy(direction, {&op, 1});
    if (error != 0) give_up("copy", error);
  }
}

void copy_by_two(std::byte* to, const std::byte* from, std::size_t bytes) {
  const std::size_t half = bytes / 2;
  std::thread helper([&] { std::memcpy(to, from, half); });
  std::memcpy(to + half, from + half, bytes - half);
  helper.join();
}

/// The states and frames of a demotion and a promotion, without memory behind them.
void keep_books(PageTable& table, VramFrames& frames, std::size_t bytes) {
  std::array<std::uint32_t, kChunksPerBlock> taken;
  for (const bool to_device : {true, false}) {
    for (std::size_t first = 0; first < bytes / kPageBytes; first += kPagesPerBlock) {
      const PageRange block{first, kPagesPerBlock};
      table.lock(first / kPagesPerBlock);
      if (to_device) {
        (void)frames.take(taken);
        for (std::size_t chunk = 0; chunk < kChunksPerBlock; ++chunk) {
          frames.bind(taken[chunk], first / kPagesPerChunk + chunk);
          table.set_frame(first / kPagesPerChunk + chunk, taken[chunk]);
        }
        table.apply(block, PageEvent::kDemoteBegin);
        table.apply(block, PageEvent::kDemoteCommit);
      } else {
        table.apply(block, PageEvent::kPromoteBegin);
        table.apply(block, PageEvent::kPromoteCommit);
        for (std::size_t chunk = 0; chunk < kChunksPerBlock; ++chunk) {
          frames.give_back(table.frame(first / kPagesPerChunk + chunk));
        }
      }
      (void)table.unlock(first / kPagesPerBlock);
    }
  }
}

}  // namespace

void measure_parts(const Plan& plan, Table& table) {
  const std::size_t bytes = plan.smoke ? std::size_t{4} << 20 : std::size_t{256} << 20;
  const std::string head = plan.smoke ? "parts/4MiB/" : "parts/256MiB/";
  std::array<Part, 6> parts = {{{"memcpy, 2 threads", {}, {}},
                                {"copy to VRAM", {}, {}},
                                {"copy to RAM", {}, {}},
                                {"MOVE out", {}, {}},
                                {"MOVE in", {}, {}},
                                {"books, both ways", {}, {}}}};
  bool any = false;
  for (const Part& part : parts) any = any || plan.wants(head + part.name);
  if (!any) return;

  Mover mover(bytes);
  const auto opened = mover.open();
  if (!opened) return table.skip(head, opened.error().to_string());
  DeviceOptions device_options;
  device_options.vram_bytes = bytes;
  auto device = make_soft_device(device_options);
  if (!device) return table.skip(head, device.error().to_string());
  Plain host(bytes, Plain::Pages::kHuge);
  Plain other(bytes, Plain::Pages::kHuge);
  auto states = PageTable::create(host.data(), bytes);
  if (!states) return table.skip(head, states.error().to_string());
  VramFrames frames(bytes);
  states->apply({0, bytes / kPageBytes}, PageEvent::kArmPresent);

  for (int round = -1; round < plan.times(kRepetitions); ++round) {
    const double copy = seconds_of([&] { std::memcpy(other.data(), host.data(), bytes); });
    const std::array<double, 6> times = {
        seconds_of([&] { copy_by_two(other.data(), host.data(), bytes); }),
        seconds_of([&] { device_copy(**device, Direction::kToDevice, host.data(), bytes); }),
        seconds_of([&] { device_copy(**device, Direction::kToHost, host.data(), bytes); }),
        seconds_of([&] { mover.out(); }),
        seconds_of([&] { mover.in(); }),
        seconds_of([&] { keep_books(*states, frames, bytes); }),
    };
    if (round < 0) continue;
    for (std::size_t part = 0; part < parts.size(); ++part) {
      parts[part].seconds.add(times[part] * 1e3);
      parts[part].share.add(times[part] / copy);
    }
  }
  for (const Part& part : parts) {
    if (!plan.wants(head + part.name)) continue;
    table.add({head + part.name, "ms", part.seconds, part.share, "memcpy's time", {}});
  }
}

}  // namespace godwit::bench
