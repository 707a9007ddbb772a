// SPDX-License-Identifier: MIT
// What it costs to ask where pages are.
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "tests/bench/groups.h"
#include "tests/bench/world.h"

namespace godwit::bench {
namespace {

constexpr int kRepetitions = 15;
constexpr double kAim = 20;  // nanoseconds a page

struct State {
  const char* name;
  bool written;  // before the engine knows of it
  bool demoted;
  bool promoted;
};

constexpr std::array<State, 4> kStates = {{
    {"untouched", false, false, false},
    {"native", true, false, false},
    {"device", true, true, false},
    {"host", true, true, true},
}};

void measure(const Plan& plan, const State& state, const std::string& name, std::size_t bytes,
             Table& table) {
  auto world = World::make({.vram = bytes + kBlockBytes, .pool = bytes});
  if (!world) return table.skip(name, world.error().to_string());
  ManagedEngine& engine = (*world)->engine();
  const void* base = nullptr;
  if (state.written) {
    base = (*world)->written_region(bytes);
  } else {
    auto made = engine.allocate(bytes, kBlockBytes);
    if (!made) return table.skip(name, made.error().to_string());
    base = *made;
  }
  const auto* first = static_cast<const std::byte*>(base);
  if (state.demoted) (*world)->move(first, bytes, Place::kDevice);
  if (state.promoted) (*world)->move(first, bytes, Place::kHost);

  std::vector<Residency> pages(bytes / kPageBytes);
  Row row{name, "ns/page", {}, {}, "", Aim{Aim::Kind::kAtMost, kAim, true}};
  if (plan.smoke) row.aim.reset();
  for (int round = -1; round < plan.times(kRepetitions); ++round) {
    const double time = seconds_of([&] {
      const auto done = engine.residency(base, bytes, pages);
      if (!done) give_up("residency", EINVAL);
    });
    if (round >= 0) row.value.add(time * 1e9 / static_cast<double>(pages.size()));
  }
  table.add(row);
}

}  // namespace

void measure_residency(const Plan& plan, Table& table) {
  const std::size_t bytes = plan.smoke ? std::size_t{4} << 20 : std::size_t{1} << 30;
  for (const State& state : kStates) {
    const std::string name =
        std::string("residency/") + (plan.smoke ? "4MiB/" : "1GiB/") + state.name;
    if (plan.wants(name)) measure(plan, state, name, bytes, table);
  }
}

}  // namespace godwit::bench
