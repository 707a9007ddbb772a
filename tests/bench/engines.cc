// SPDX-License-Identifier: MIT
// The two engines at the same work in the same process, through the public interface: ./dev bench
// --vm.
//
//   engines [--smoke] [--rounds=N]
//
// Both have the soft device and the same amount of VRAM; the module gets a device of that size for each row. They take turns within each round, and a
// row's ratio is the median over rounds of one's time over the other's, so that what disturbs an
// emulated machine disturbs both.
#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "godwit/context.h"
#include "godwit/units.h"
#include "tests/bench/samples.h"
#include "tests/kernel/guest.h"

namespace godwit::bench {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
[[noreturn]] void give_up(const std::string& what) {
  (void)std::fprintf(stderr, "engines: %s\n", what.c_str());
  std::exit(1);
}

void must(const Result<>& done) {
  if (!done) give_up(done.error().to_string());
}

/// One engine and a region of its memory.
class Side {
 public:
  Side(const std::string& engine, std::size_t vram, std::size_t bytes, bool huge)
      : engine_(engine) {
    ContextOptions options;
    options.engine = engine;
    options.device = "soft";
    options.level = engine == "user" ? "full" : "auto";
    options.vram_bytes = vram;
    options.pool_bytes = vram;  // what the user engine keeps ready for moves
    auto context = Context::create(options);
    if (!context) give_up(context.error().to_string());
    context_ = std::move(*context);
    auto region = context_->allocate(bytes, kBlockBytes);
    if (!region) give_up(region.error().to_string());
    base_ = static_cast<std::byte*>(*region);
    (void)::madvise(base_, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::memset(base_, 1, bytes);
  }
  [[nodiscard]] std::byte* base() const { return base_; }
  /// All pages of it must arrive.
  void move(std::size_t offset, std::size_t bytes, Place to) {
    const auto report = context_->prefetch(base_ + offset, bytes, to);
    if (!report) give_up(report.error().to_string());
    if (report->stayed == 0) return;
    std::string why = engine_ + ": " + std::to_string(report->stayed) + " pages stayed:";
    for (std::size_t i = 0; i < kStayReasonCount; ++i) {
      if (report->stayed_for[i] == 0) continue;
      why += ' ' + std::to_string(report->stayed_for[i]) + ' ';
      why += stay_reason_name(static_cast<StayReason>(i));
    }
    give_up(why);
  }
  void ask(std::size_t bytes, std::span<Residency> pages) {
    must(context_->residency(base_, bytes, pages));
  }

 private:
  std::string engine_;
  std::unique_ptr<Context> context_;
  std::byte* base_ = nullptr;
};

struct Work {
  std::string name;
  std::string unit;
  double scale = 1;  // from seconds to the unit
  std::size_t vram = 0;
  std::size_t bytes = 0;
  bool huge = false;
  std::function<void(Side&)> prepare;
  std::function<void(Side&)> run;
  std::size_t copied = 0;  // bytes that a memcpy would copy in its place; 0: no such thing
};

double memcpy_seconds(std::size_t bytes) {
  static std::vector<std::byte> from;
  static std::vector<std::byte> to;
  if (from.size() < bytes) {
    from.assign(bytes, std::byte{1});
    to.assign(bytes, std::byte{2});
  }
  return seconds_of([&] { std::memcpy(to.data(), from.data(), bytes); });
}

void measure(const Work& work, int rounds) {
  const guest::SoftDevice device("private:" + std::to_string(work.vram / kMiB) + "M");
  const std::string name = guest::Device(device.index()).info().name;
  if (::testing::Test::HasFailure()) give_up("the module makes no device (above)");
  const std::array<std::string, 2> engines = {"user", "kernel:" + name};
  std::array<std::unique_ptr<Side>, 2> sides;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    sides[i] = std::make_unique<Side>(engines[i], work.vram, work.bytes, work.huge);
  }
  std::array<Samples, 2> times;
  Samples copies;
  Samples ratio;
  for (int round = -1; round < rounds; ++round) {
    std::array<double, 2> now{};
    for (std::size_t i = 0; i < sides.size(); ++i) {
      work.prepare(*sides[i]);
      now[i] = seconds_of([&] { work.run(*sides[i]); });
    }
    if (round < 0) continue;  // makes pools, page tables and the device
    for (std::size_t i = 0; i < sides.size(); ++i) times[i].add(now[i] * work.scale);
    ratio.add(now[1] / now[0]);
    if (work.copied != 0) copies.add(memcpy_seconds(work.copied) * work.scale);
  }
  std::printf("%-34s %10.2f %10.2f  %-8s %6.2f (%.2f..%.2f)", work.name.c_str(), times[0].median(),
              times[1].median(), work.unit.c_str(), ratio.median(), ratio.lower(), ratio.upper());
  if (!copies.empty()) std::printf("   memcpy %.2f", copies.median());
  std::printf("\n");
  (void)std::fflush(stdout);
}

/// Chunks in an order in which none follows its neighbour: no walk is seen in it.
std::vector<std::size_t> scattered(std::size_t chunks) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < chunks; ++i) order.push_back(i * 13 % chunks);
  return order;
}

void touch(Side& side, std::size_t chunk, bool write) {
  volatile std::byte* at = side.base() + chunk * kChunkBytes;
  if (write) {
    *at = std::byte{2};
  } else {
    (void)*at;
  }
}

std::vector<Work> works(bool smoke) {
  const std::size_t bulk = smoke ? 2 * kMiB : 32 * kMiB;
  const std::size_t vram = bulk + 2 * kMiB;
  const std::size_t chunks = bulk / kChunkBytes;
  const std::size_t pages = bulk / kPageBytes;
  const auto to = [](std::size_t bytes, Place place) {
    return [bytes, place](Side& side) { side.move(0, bytes, place); };
  };
  const std::string size = std::to_string(bulk / kMiB) + " MiB";
  std::vector<Work> all;
  for (const bool huge : {false, true}) {
    const std::string how = huge ? ", huge pages" : ", small pages";
    all.push_back({"prefetch " + size + " to VRAM" + how, "ms", 1e3, vram, bulk, huge,
                   to(bulk, Place::kHost), to(bulk, Place::kDevice), bulk});
    all.push_back({"prefetch " + size + " home" + how, "ms", 1e3, vram, bulk, huge,
                   to(bulk, Place::kDevice), to(bulk, Place::kHost), bulk});
  }
  for (const bool write : {false, true}) {
    all.push_back({std::string("fault, a ") + (write ? "store" : "load") + " in each 64 KiB", "us",
                   1e6 / static_cast<double>(chunks), vram, bulk, false, to(bulk, Place::kDevice),
                   [order = scattered(chunks), write](Side& side) {
                     for (const std::size_t chunk : order) touch(side, chunk, write);
                   },
                   kChunkBytes * chunks});
  }
  all.push_back({"faults, a walk through " + size, "ms", 1e3, vram, bulk, false,
                 to(bulk, Place::kDevice),
                 [bulk](Side& side) {
                   for (std::size_t at = 0; at < bulk; at += kPageBytes) {
                     (void)*static_cast<volatile std::byte*>(side.base() + at);
                   }
                 },
                 bulk});
  const double per_page = 1e9 / static_cast<double>(pages);
  const auto ask = [bulk, pages](Side& side) {
    static std::vector<Residency> answers;
    answers.resize(pages);
    side.ask(bulk, answers);
  };
  all.push_back({"residency, all in VRAM", "ns/page", per_page, vram, bulk, false,
                 to(bulk, Place::kDevice), ask, 0});
  all.push_back({"residency, all in RAM", "ns/page", per_page, vram, bulk, false,
                 to(bulk, Place::kHost), ask, 0});
  all.push_back({"residency, every second 64 KiB", "ns/page", per_page, vram, bulk, false,
                 [bulk, chunks](Side& side) {
                   side.move(0, bulk, Place::kHost);
                   for (std::size_t chunk = 0; chunk < chunks; chunk += 2) {
                     side.move(chunk * kChunkBytes, kChunkBytes, Place::kDevice);
                   }
                 },
                 ask, 0});
  // Each half of the region is all of VRAM: what one move brings, another one's pages leave for.
  for (const bool huge : {false, true}) {
    all.push_back({"eviction at twice the VRAM" + std::string(huge ? ", huge" : ", small"), "ms",
                   1e3, bulk, 2 * bulk, huge, to(bulk, Place::kDevice),
                   [bulk](Side& side) {
                     side.move(bulk, bulk, Place::kDevice);
                     side.move(0, bulk, Place::kDevice);
                   },
                   4 * bulk});
  }
  return all;
}

}  // namespace
}  // namespace godwit::bench

int main(int argc, char** argv) {
  bool smoke = false;
  int rounds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--smoke") {
      smoke = true;
    } else if (argument.starts_with("--rounds=")) {
      rounds = std::atoi(argv[i] + 9);
    } else {
      (void)std::fprintf(stderr, "usage: engines [--smoke] [--rounds=N]\n");
      return 2;
    }
  }
  if (rounds <= 0) rounds = smoke ? 1 : 7;
  std::printf("%-34s %10s %10s  %-8s %s\n", "", "user", "kernel", "", "kernel / user, quartiles");
  for (const auto& work : godwit::bench::works(smoke)) godwit::bench::measure(work, rounds);
  return 0;
}
