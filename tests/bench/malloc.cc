// SPDX-License-Identifier: MIT
// The malloc replacement against glibc and mimalloc: one program, different LD_PRELOAD.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/bench/child.h"
#include "tests/bench/groups.h"

namespace godwit::bench {
namespace {

constexpr int kRepetitions = 9;

struct Allocator {
  const char* name;
  std::string preload;
  const char* served_by;  // a part of the file's name that malloc must come from
};

struct Load {
  const char* kind;
  int threads;
  long operations;
};

constexpr std::array<Load, 4> kLoads = {{
    {"small", 1, 2'000'000},
    {"small", 2, 2'000'000},
    {"large", 1, 500},
    {"large", 2, 500},
}};

/// Nanoseconds for one malloc and free, where the allocator was really in use.
std::optional<double> run(const std::string& program, const Load& load, long operations,
                          const Allocator& allocator) {
  const auto text =
      output_of({program, load.kind, std::to_string(load.threads), std::to_string(operations)},
                allocator.preload);
  double time = 0;
  std::array<char, 512> file{};
  if (!text || std::sscanf(text->c_str(), "%lf %511s", &time, file.data()) != 2) return {};
  if (std::string(file.data()).find(allocator.served_by) == std::string::npos) return {};
  return time;
}

void measure(const Plan& plan, const std::string& program, const Load& load,
             std::span<const Allocator> allocators, Table& table) {
  const std::string head =
      std::string("malloc/") + load.kind + "/" + std::to_string(load.threads) + "t/";
  std::vector<Row> rows;
  for (const Allocator& allocator : allocators) {
    rows.push_back({head + allocator.name, "ns", {}, {}, "", {}});
  }
  const long operations = plan.smoke ? 10 : load.operations;
  for (int round = 0; round < plan.times(kRepetitions); ++round) {
    double first = 0;
    for (std::size_t index = 0; index < rows.size(); ++index) {
      const auto time = run(program, load, operations, allocators[index]);
      if (!time) continue;
      rows[index].value.add(*time);
      if (index == 0) first = *time;
      if (index != 0 && first != 0) rows[index].ratio.add(*time / first);
    }
  }
  for (std::size_t index = 0; index < rows.size(); ++index) {
    Row& row = rows[index];
    if (!plan.wants(row.name)) continue;
    if (row.value.empty()) {
      table.skip(row.name, allocators[index].preload + " cannot be preloaded");
      continue;
    }
    if (index != 0) row.against = "glibc's time";
    const bool ours = std::string(allocators[index].name) == "godwit";
    if (ours && std::string(load.kind) == "small" && !plan.smoke) {
      row.aim = Aim{Aim::Kind::kAtMost, 1.0};
    }
    table.add(row);
  }
}

}  // namespace

void measure_malloc(const Plan& plan, Table& table) {
  const std::string folder = plan.executable.substr(0, plan.executable.rfind('/'));
  const std::string ours = folder + "/../../bindings/malloc/libgodwit_malloc.so";
  std::vector<Allocator> allocators = {{"glibc", "", "libc.so"},
                                       {"mimalloc", "libmimalloc.so.2", "mimalloc"}};
  const bool built = ::access(ours.c_str(), R_OK) == 0;
  if (built) allocators.push_back({"godwit", ours, "godwit_malloc"});
  bool any = false;
  for (const Load& load : kLoads) {
    const std::string head =
        std::string("malloc/") + load.kind + "/" + std::to_string(load.threads) + "t/";
    bool wanted = plan.wants(head + "godwit");
    for (const Allocator& allocator : allocators) wanted |= plan.wants(head + allocator.name);
    if (wanted) measure(plan, folder + "/malloc_bench", load, allocators, table);
    any |= wanted;
  }
  if (any && !built) table.skip("malloc/*/*/godwit", "libgodwit_malloc.so is not built");
}

}  // namespace godwit::bench
