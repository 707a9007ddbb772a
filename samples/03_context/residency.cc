// SPDX-License-Identifier: MIT
// Where pages are, and how they get there: an array of managed memory, moved by hand and by touch.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <vector>

#include "godwit/allocator.h"
#include "godwit/context.h"
#include "godwit/units.h"

namespace {

using Array = std::vector<double, godwit::Allocator<double>>;

void fail(const godwit::Error& error) {
  (void)std::fprintf(stderr, "residency: %s\n", error.to_string().c_str());
}

/// How many of the array's pages are in RAM, and in VRAM; some are in both, some in neither.
void show(const char* when, const godwit::Context& context, const Array& array) {
  const std::size_t bytes = array.size() * sizeof(double);
  std::vector<godwit::Residency> pages(bytes / godwit::kPageBytes);
  const auto asked = context.residency(array.data(), bytes, pages);
  if (!asked) return fail(asked.error());
  std::array<std::size_t, 6> count{};
  for (const godwit::Residency page : pages) ++count[static_cast<std::size_t>(page)];
  const auto of = [&count](godwit::Residency place) {
    return count[static_cast<std::size_t>(place)];
  };
  const std::size_t both = of(godwit::Residency::kBoth);
  std::printf("%-28s %5zu in RAM %5zu in VRAM\n", when, of(godwit::Residency::kHost) + both,
              of(godwit::Residency::kDevice) + both);
}

int run(godwit::Context& context) {
  // 8 MiB: 2048 pages. Any container with an allocator will do.
  Array array(std::size_t{1} << 20, godwit::Allocator<double>(context));
  const std::size_t bytes = array.size() * sizeof(double);
  std::iota(array.begin(), array.end(), 1.0);
  show("written by the CPU", context, array);

  const auto moved = context.prefetch(array.data(), bytes, godwit::Place::kDevice);
  if (!moved) {
    fail(moved.error());
    return 1;
  }
  std::printf("prefetch: %zu pages moved, %zu stayed\n", moved->moved, moved->stayed);
  show("prefetched to the device", context, array);

  // A load brings the page home, with its neighbours; VRAM keeps its copy.
  std::printf("array[0] is %.0f\n", array[0]);
  show("one element read", context, array);

  // A store makes VRAM's copy stale.
  array[0] = 0.0;
  show("one element written", context, array);

  std::printf("sum %.0f\n", std::accumulate(array.begin(), array.end(), 0.0));
  const auto home = context.prefetch(array.data(), bytes, godwit::Place::kHost);
  const auto discarded = context.discard(array.data(), bytes);
  if (!home || !discarded) {
    fail(!home ? home.error() : discarded.error());
    return 1;
  }
  show("discarded", context, array);
  std::printf("array[7] is %.0f\n", array[7]);
  return 0;
}

}  // namespace

int main() {
  auto options = godwit::ContextOptions::from_environment();
  if (!options) {
    fail(options.error());
    return 2;
  }
  if (options->vram_bytes == 0) options->vram_bytes = std::uint64_t{64} << 20;
  auto context = godwit::Context::create(*options);
  if (!context) {
    fail(context.error());
    return 2;
  }
  return run(**context);
}
