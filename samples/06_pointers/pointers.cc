// SPDX-License-Identifier: MIT
// Data structures full of pointers, built by plain C++ code with plain new and malloc, walked and
// changed by devices: nothing is copied, no pointer is rewritten. What a device touches goes to
// VRAM; what this program touches comes back. Three devices take turns:
//  - the module's execution queue (queue.cc);
//  - the soft device, a process with views of this program's memory at this program's addresses
//    (process.cc);
//  - a shader (walks.cc). The Vulkan driver has the views at addresses of its own, so it translates
//  each pointer
//    as it follows it.
//
// usage: pointers        (with godwit.ko loaded)
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "godwit/context.h"
#include "samples/06_pointers/process.h"
#include "samples/06_pointers/queue.h"
#include "samples/06_pointers/structures.h"
#include "samples/06_pointers/walks.h"

namespace {

using pointers::Sums;
using pointers::World;

void fail(const std::string& what) {
  (void)std::fprintf(stderr, "pointers: %s\n", what.c_str());
  std::exit(1);
}

std::unique_ptr<godwit::Context> make_context(const char* device) {
  godwit::ContextOptions options;
  options.engine = "kernel";
  options.device = device;
  auto context = godwit::Context::create(options);
  if (!context) fail(context.error().to_string());
  return std::move(*context);
}

void print(const std::string& who, const Sums& sums) {
  std::printf("%-33s list %" PRIu64 "  tree %" PRIu64 "  table %" PRIu64 "\n", who.c_str(),
              sums.list, sums.tree, sums.table);
}

using Device = std::function<Sums(bool changes, std::string* problem)>;

/// The device sums, changes and sums; the CPU after it, and changes as well. True where both see
/// the same.
bool take_turns(const std::string& name, World& world, const Device& device) {
  const Sums before = pointers::sums_of(world);
  const pointers::Ends ends = pointers::ends_of(world);
  std::string problem;
  const Sums seen = device(false, &problem);
  if (problem.empty()) print(name, seen);
  const Sums changed = device(true, &problem);
  if (!problem.empty()) fail(name + ": " + problem);
  print(name + ", after its change", changed);
  const Sums after = pointers::sums_of(world);
  print("CPU", after);
  const bool turned = pointers::ends_of(world) == pointers::turned(ends);
  pointers::change(world);
  print("CPU, after its change", pointers::sums_of(world));
  const Sums again = device(false, &problem);
  if (!problem.empty()) fail(name + ": " + problem);
  return turned && seen == before && changed == pointers::changed(before) && after == changed &&
         again == pointers::changed(after);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--device") return pointers::process_main();
  (void)std::setvbuf(stdout, nullptr, _IOLBF, 0);
  World& world = *pointers::build();
  const auto context = make_context("soft");
  const auto with_shaders = make_context("vulkan");
  print("CPU", pointers::sums_of(world));
  const bool same = take_turns("execution queue", world,
                               [&](bool changes, std::string* problem) {
                                 return pointers::on_queue(world, changes, problem);
                               }) &&
                    take_turns("soft device", world,
                               [&](bool changes, std::string* problem) {
                                 return pointers::on_process(*context, world, changes, problem);
                               }) &&
                    take_turns("shader", world, [&](bool changes, std::string* problem) {
                      return pointers::on_walks(*with_shaders, world, changes, problem);
                    });
  std::printf("%s\n", same ? "the same sums from all sides" : "THE SUMS DIFFER");
  return same ? 0 : 1;
}
