// SPDX-License-Identifier: MIT
#include "samples/06_pointers/walks.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace pointers {
namespace {

/// One walk of the shader; all of it must be visited.
godwit::WalkResult walk(godwit::Context& context, const godwit::WalkRequest& request,
                        std::string* problem) {
  const auto done = context.walk(request);
  if (!done) {
    *problem = done.error().to_string();
    return {};
  }
  if (done->stopped != 0) *problem = "a pointer leads out of the world's memory";
  return *done;
}

}  // namespace

Sums on_walks(godwit::Context& context, World& world, bool changes, std::string* problem) {
  std::vector<std::span<std::byte>> memory;
  for (const Area& area : areas_of(world)) {
    memory.emplace_back(reinterpret_cast<std::byte*>(area.start), area.end - area.start);
  }
  godwit::WalkRequest request;
  request.memory = memory;
  request.add = changes ? 1 : 0;
  request.limit = 2 * std::max(kNodes, kKeys);
  request.turn = changes;
  Sums sums;
  request.shape = godwit::WalkShape::kList;
  request.head = world.list;
  request.links = {offsetof(Node, next), 0};
  request.value = offsetof(Node, value);
  const godwit::WalkResult list = walk(context, request, problem);
  sums.list = list.sum;
  if (changes) world.list = reinterpret_cast<Node*>(list.last);
  request.shape = godwit::WalkShape::kTree;
  request.head = world.tree;
  request.links = {offsetof(Tree, left), offsetof(Tree, right)};
  request.value = offsetof(Tree, key);
  sums.tree = walk(context, request, problem).sum;
  request.shape = godwit::WalkShape::kRows;
  request.turn = false;
  request.head = world.table.data();
  request.links = {0, 8};  // a std::vector's first two pointers
  request.stride = sizeof(decltype(world.table)::value_type);
  request.limit = static_cast<std::uint32_t>(world.table.size());
  sums.table = walk(context, request, problem).sum;
  return sums;
}

}  // namespace pointers
