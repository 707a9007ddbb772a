// SPDX-License-Identifier: MIT
// Demotion and promotion through Engine::prefetch, against memcpy of the same bytes.
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "tests/bench/groups.h"
#include "tests/bench/world.h"

namespace godwit::bench {
namespace {

struct Size {
  const char* name;
  std::size_t bytes;
  std::size_t pieces;  // how many of them are moved, one call each, for one measurement
  int repetitions;
};

// Pieces below a block lie in blocks of their own, as lone blocks of a program would.
constexpr std::array<Size, 5> kSizes = {{
    {"4KiB", std::size_t{4} << 10, 32, 15},
    {"64KiB", std::size_t{64} << 10, 32, 15},
    {"2MiB", std::size_t{2} << 20, 32, 15},
    {"64MiB", std::size_t{64} << 20, 1, 15},
    {"1GiB", std::size_t{1} << 30, 1, 7},
}};
constexpr std::array<Size, 4> kSmokeSizes = {{
    {"4KiB", std::size_t{4} << 10, 2, 1},
    {"64KiB", std::size_t{64} << 10, 2, 1},
    {"2MiB", std::size_t{2} << 20, 2, 1},
    {"4MiB", std::size_t{4} << 20, 1, 1},
}};
constexpr int kColdRepetitions = 3;
constexpr std::size_t kBulk = kBlockBytes + 1;

/// What came before the measured moves.
enum class Past {
  kWarm,   // the same moves: the pool is full, VRAM has memory behind it
  kSplit,  // kWarm, and before that a lone page of each block went to VRAM and came back
  kCold,   // nothing: no pool, VRAM that nobody has touched
};
constexpr const char* past_name(Past past) {
  return past == Past::kWarm ? "warm" : past == Past::kSplit ? "split" : "cold";
}

std::string tail_of(const Size& size, unsigned threads, Past past) {
  return std::string("/") + size.name + "/" + std::to_string(threads) + "t/" + past_name(past);
}

bool wanted(const Plan& plan, const Size& size, unsigned threads, Past past) {
  const std::string tail = tail_of(size, threads, past);
  return plan.wants("migrate/demote" + tail) || plan.wants("migrate/promote" + tail);
}

struct Times {
  Samples demote, promote, demote_ratio, promote_ratio;

  void add(const Size& size, double demote_seconds, double promote_seconds, double copy_seconds) {
    const auto bytes = static_cast<double>(size.bytes * size.pieces);
    const bool bulk = size.bytes >= kBulk;
    const auto shown = [&](double seconds) {
      return bulk ? bytes / seconds / 1e9 : seconds * 1e6 / static_cast<double>(size.pieces);
    };
    demote.add(shown(demote_seconds));
    promote.add(shown(promote_seconds));
    demote_ratio.add(copy_seconds / demote_seconds);
    promote_ratio.add(copy_seconds / promote_seconds);
  }
};

std::size_t stride(const Size& size) { return align_up(size.bytes, kBlockBytes); }

double copy_time(const Size& size, Plain& to, Plain& from) {
  return seconds_of([&] {
    for (std::size_t piece = 0; piece < size.pieces; ++piece) {
      std::memcpy(to.data() + piece * stride(size), from.data() + piece * stride(size), size.bytes);
    }
  });
}

double move_time(const Size& size, World& world, const std::byte* base, Place to) {
  return seconds_of([&] {
    for (std::size_t piece = 0; piece < size.pieces; ++piece) {
      world.move(base + piece * stride(size), size.bytes, to);
    }
  });
}

WorldOptions options_of(const Size& size, unsigned threads, Past past) {
  const std::size_t total = size.pieces * stride(size);
  return {
      .vram = total + 2 * kBlockBytes, .pool = past == Past::kCold ? 0 : total, .threads = threads};
}

/// An engine, its region and the plain memory that it is compared with.
struct Scene {
  const Size& size;
  World& world;
  const std::byte* base;
  Plain& to;
  Plain& from;

  void prepare(Past past) const {
    if (past == Past::kCold) return;
    world.touch_vram();
    if (past != Past::kSplit) return;
    for (std::size_t at = 0; at < size.pieces * stride(size); at += kBlockBytes) {
      world.move(base + at, kPageBytes, Place::kDevice);
      world.move(base + at, kPageBytes, Place::kHost);
    }
  }
  void round(Times* times) const {
    const double copy = copy_time(size, to, from);
    const double demote = move_time(size, world, base, Place::kDevice);
    const double promote = move_time(size, world, base, Place::kHost);
    if (times != nullptr) times->add(size, demote, promote, copy);
  }
};

/// Cold moves need an engine of their own for each repetition.
Result<Times> times_of(const Plan& plan, const Size& size, unsigned threads, Past past, Plain& to,
                       Plain& from) {
  Times times;
  const int engines = past == Past::kCold ? plan.times(kColdRepetitions) : 1;
  const int rounds = past == Past::kCold ? 1 : plan.times(size.repetitions);
  for (int engine = 0; engine < engines; ++engine) {
    auto world = World::make(options_of(size, threads, past));
    if (!world) return tl::unexpected(world.error());
    const std::byte* base = (*world)->written_region(size.pieces * stride(size));
    const Scene scene{size, **world, base, to, from};
    scene.prepare(past);
    if (past != Past::kCold) scene.round(nullptr);
    for (int round = 0; round < rounds; ++round) scene.round(&times);
  }
  return times;
}

void measure(const Plan& plan, const Size& size, unsigned threads, Past past, Plain& to,
             Plain& from, Table& table) {
  const std::string tail = tail_of(size, threads, past);
  const bool bulk = size.bytes >= kBulk;
  Row demote;
  Row promote;
  demote.name = "migrate/demote" + tail;
  promote.name = "migrate/promote" + tail;
  demote.unit = promote.unit = bulk ? "GB/s" : "us";
  demote.against = promote.against =
      size.bytes < kBlockBytes ? "memcpy, 4 KiB pages" : "memcpy, 2 MiB pages";
  if (bulk && past != Past::kCold && !plan.smoke) {
    demote.aim = promote.aim = Aim{Aim::Kind::kAtLeast, threads == 1 ? 0.75 : 1.2};
  }
  const auto times = times_of(plan, size, threads, past, to, from);
  if (!times) return table.skip(demote.name, times.error().to_string());
  demote.value = times->demote;
  demote.ratio = times->demote_ratio;
  promote.value = times->promote;
  promote.ratio = times->promote_ratio;
  if (plan.wants(demote.name)) table.add(demote);
  if (plan.wants(promote.name)) table.add(promote);
}

}  // namespace

void measure_migration(const Plan& plan, Table& table) {
  const std::span<const Size> sizes =
      plan.smoke ? std::span<const Size>(kSmokeSizes) : std::span<const Size>(kSizes);
  for (const Size& size : sizes) {
    const auto pages = size.bytes < kBlockBytes ? Plain::Pages::kSmall : Plain::Pages::kHuge;
    std::unique_ptr<Plain> to;
    std::unique_ptr<Plain> from;
    for (const Past past : {Past::kWarm, Past::kSplit, Past::kCold}) {
      if (past == Past::kSplit && size.bytes < kBulk) continue;
      for (const unsigned threads : {1U, 2U}) {
        if (!wanted(plan, size, threads, past)) continue;
        if (to == nullptr) {
          to = std::make_unique<Plain>(size.pieces * stride(size), pages);
          from = std::make_unique<Plain>(size.pieces * stride(size), pages);
        }
        measure(plan, size, threads, past, *to, *from, table);
      }
    }
  }
}

}  // namespace godwit::bench
