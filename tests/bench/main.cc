// SPDX-License-Identifier: MIT
// Prints the table: ./dev bench [FILTER] [--smoke] [--repetitions=N] [--cpu-time]
// [--device=vulkan].
#include <limits.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/bench/groups.h"
#include "tests/bench/world.h"

namespace {

constexpr std::string_view kFilter = "--benchmark_filter=";
constexpr std::string_view kRepetitions = "--repetitions=";
constexpr std::size_t kWarmUp = std::size_t{3} << 30;

int usage() {
  (void)std::fprintf(
      stderr,
      "usage: bench [--benchmark_filter=REGEX] [--smoke] [--repetitions=N] [--cpu-time]\n"
      "             [--device=soft|vulkan]: whose VRAM migrate and fault use\n"
      "groups: migrate parts fault residency malloc gemm\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace godwit::bench;
  Plan plan;
  std::array<char, PATH_MAX> self{};
  const ssize_t length = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
  plan.executable = length > 0 ? self.data() : argv[0];
  for (int index = 1; index < argc; ++index) {
    const std::string_view argument = argv[index];
    if (argument.starts_with(kFilter)) {
      try {
        plan.filter = std::regex(std::string(argument.substr(kFilter.size())));
      } catch (const std::regex_error& error) {
        (void)std::fprintf(stderr, "bench: filter: %s\n", error.what());
        return 2;
      }
    } else if (argument == "--smoke") {
      plan.smoke = true;
    } else if (argument == "--cpu-time") {
      the_clock = CLOCK_THREAD_CPUTIME_ID;
    } else if (argument == "--device=soft") {
      the_device = godwit::make_soft_device;
    } else if (argument == "--device=vulkan") {
      the_device = godwit::make_vulkan_device;
    } else if (argument.starts_with(kRepetitions)) {
      plan.repetitions = std::atoi(argv[index] + kRepetitions.size());
      if (plan.repetitions <= 0) return usage();
    } else {
      return usage();
    }
  }
  // Memory that a virtual machine has never used is slow at its first touch.
  if (!plan.smoke) Plain warm_up(kWarmUp, Plain::Pages::kHuge);

  Table table;
  table.head();
  for (const auto group : {measure_migration, measure_parts, measure_faults, measure_residency,
                           measure_malloc, measure_gemm}) {
    group(plan, table);
  }
  table.foot();
  return table.rows() == 0 ? 3 : 0;
}
