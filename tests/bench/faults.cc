// SPDX-License-Identifier: MIT
// How long a thread sleeps at a page that is in VRAM, against the same sleep with a bare handler.
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "tests/bench/bare_handler.h"
#include "tests/bench/groups.h"
#include "tests/bench/world.h"

namespace godwit::bench {
namespace {

constexpr int kRepetitions = 15;
constexpr double kAim = 1.3;

struct Case {
  const char* name;
  std::size_t unit;    // what one fault brings
  std::size_t faults;  // in one measurement
  FaultAround around;
  unsigned handlers;
  bool write;
  bool aimed;
};

constexpr FaultAround kPage{1, 1};
constexpr FaultAround kBlock{kPagesPerBlock, kPagesPerBlock};
constexpr std::array<Case, 7> kCases = {{
    {"fault/4KiB/read", kPageBytes, 2048, kPage, 2, false, true},
    {"fault/4KiB/write", kPageBytes, 2048, kPage, 2, true, true},
    {"fault/4KiB/read/1 handler", kPageBytes, 2048, kPage, 1, false, false},
    {"fault/4KiB/write/1 handler", kPageBytes, 2048, kPage, 1, true, false},
    {"fault/2MiB/read", kBlockBytes, 16, kBlock, 2, false, false},
    {"fault/2MiB/write", kBlockBytes, 16, kBlock, 2, true, false},
    {"fault/as shipped/write", kPageBytes, 2048, {}, 2, true, false},
}};

void touch(std::byte* base, std::size_t unit, std::size_t count, bool write) {
  for (std::size_t index = 0; index < count; ++index) {
    volatile std::byte* at = base + index * unit;
    if (write) {
      *at = std::byte{2};
    } else {
      (void)*at;
    }
  }
}

void measure(const Plan& plan, const Case& what, Table& table) {
  const std::size_t faults = plan.smoke ? 4 : what.faults;
  const std::size_t bytes = align_up(faults * what.unit, kBlockBytes);
  auto world = World::make({.vram = bytes + kBlockBytes,
                            .pool = bytes,
                            .handlers = what.handlers,
                            .around = what.around});
  if (!world) return table.skip(what.name, world.error().to_string());
  std::byte* ours = (*world)->written_region(bytes);
  (*world)->touch_vram();

  Plain source(what.unit, what.unit == kBlockBytes ? Plain::Pages::kHuge : Plain::Pages::kSmall);
  Plain theirs(bytes, Plain::Pages::kSmall);
  auto bare = BareHandler::start(theirs.data(), bytes, what.unit, source.data());
  if (!bare) return table.skip(what.name, bare.error().to_string());

  Row row{what.name, "us", {}, {}, "bare UFFDIO_COPY loop", {}};
  if (what.aimed && !plan.smoke) row.aim = Aim{Aim::Kind::kAtMost, kAim};
  for (int round = -1; round < plan.times(kRepetitions); ++round) {
    if (::madvise(theirs.data(), bytes, MADV_DONTNEED) != 0) give_up("madvise", errno);
    (*world)->move(ours, bytes, Place::kDevice);
    const double bare_time =
        seconds_of([&] { touch(theirs.data(), what.unit, faults, what.write); });
    const double our_time = seconds_of([&] { touch(ours, what.unit, faults, what.write); });
    (*world)->move(ours, bytes, Place::kHost);
    if (round < 0) continue;
    row.value.add(our_time * 1e6 / static_cast<double>(faults));
    row.ratio.add(our_time / bare_time);
  }
  table.add(row);
}

}  // namespace

void measure_faults(const Plan& plan, Table& table) {
  for (const Case& what : kCases) {
    if (plan.wants(what.name)) measure(plan, what, table);
  }
}

}  // namespace godwit::bench
