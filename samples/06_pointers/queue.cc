// SPDX-License-Identifier: MIT
#include "samples/06_pointers/queue.h"

#include <fcntl.h>
#include <godwit_drm.h>
#include <unistd.h>
#include <xf86drm.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>

namespace pointers {
namespace {

constexpr std::size_t kMostCommands = 1024;  // of one job

std::uint64_t address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// An open render node of the module, and the commands that wait to be sent to it.
class Queue {
 public:
  Queue() {
    for (int minor = 128; minor < 192 && node_ < 0; ++minor) {
      const std::string path = std::string(DRM_DIR_NAME "/" DRM_RENDER_MINOR_NAME);
      node_ = ::open((path + std::to_string(minor)).c_str(), O_RDWR | O_CLOEXEC);
      if (node_ < 0) continue;
      drmVersionPtr version = drmGetVersion(node_);
      const bool ours = version != nullptr && std::strcmp(version->name, "godwit") == 0;
      drmFreeVersion(version);
      if (ours) return;
      ::close(node_);
      node_ = -1;
    }
    problem_ = "no render node of godwit";
  }
  ~Queue() {
    if (node_ >= 0) ::close(node_);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// The bytes are in `to` once run() has returned.
  void read(std::uint64_t from, void* to, std::size_t bytes) {
    add({.op = GODWIT_OP_READ, .addr = from, .length = bytes, .data = address(to)});
  }
  void write(std::uint64_t to, std::array<std::uint64_t, 2> words, std::size_t count) {
    make_room();
    words_.push_back(words);
    add({.op = GODWIT_OP_WRITE, .addr = to, .length = count * 8, .data = address(&words_.back())});
  }
  /// 1, to each of the 64-bit words.
  void increment(std::uint64_t at, std::size_t words) {
    add({.op = GODWIT_OP_ATOMIC_ADD, .addr = at, .length = words * 8, .operand = 1});
  }
  /// Sends what waits as one job, and waits for that.
  void run() {
    if (!problem_.empty() || commands_.empty()) return;
    drm_godwit_execute job = {};
    job.commands = address(commands_.data());
    job.command_count = static_cast<std::uint32_t>(commands_.size());
    job.command_stride = sizeof(drm_godwit_command);
    job.flags = GODWIT_EXECUTE_WAIT;
    const bool sent = drmIoctl(node_, DRM_IOCTL_GODWIT_EXECUTE, &job) == 0;
    if (!sent || job.status != 0) {
      problem_ = std::string("a job: ") + std::strerror(sent ? -job.status : errno);
    }
    commands_.clear();
    words_.clear();
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] bool works() const { return problem_.empty(); }
  void complain(const std::string& problem) {
    if (problem_.empty()) problem_ = problem;
  }

 private:
  struct Command {
    std::uint32_t op;
    std::uint64_t addr, length, operand = 0, data = 0;
  };
  /// Before a word is kept for a command, since run() lets go of them.
  void make_room() {
    if (commands_.size() == kMostCommands) run();
  }
  void add(const Command& wish) {
    make_room();
    drm_godwit_command command = {};
    command.op = wish.op;
    command.addr = wish.addr;
    command.length = wish.length;
    command.operand = wish.operand;
    command.data = wish.data;
    commands_.push_back(command);
  }

  int node_ = -1;
  std::string problem_;
  std::vector<drm_godwit_command> commands_;
  std::deque<std::array<std::uint64_t, 2>> words_;  // that commands write
};

std::uint64_t list_on(Queue& queue, World& world, bool changes) {
  struct Found {
    std::uint64_t at;
    Node node;
  };
  std::vector<Found> found;
  std::uint64_t sum = 0;
  std::uint64_t at = address(world.list);
  while (at != 0 && found.size() <= kNodes && queue.works()) {
    Node node{};
    queue.read(at, &node, sizeof(node));
    queue.run();  // only then it is known where the next one is
    found.push_back({at, node});
    sum += node.value;
    at = address(node.next);
  }
  if (found.size() != kNodes) queue.complain("it found another number of nodes");
  if (!changes) return sum;
  std::uint64_t turned = 0;
  for (const Found& each : found) {
    queue.write(each.at + offsetof(Node, next), {turned, 0}, 1);
    queue.increment(each.at + offsetof(Node, value), 1);
    turned = each.at;
  }
  queue.write(address(&world.list), {turned, 0}, 1);
  queue.run();
  return sum + kNodes;
}

std::uint64_t tree_on(Queue& queue, World& world, bool changes) {
  std::vector<std::uint64_t> level = {address(world.tree)};
  std::uint64_t sum = 0;
  std::uint64_t count = 0;
  while (!level.empty() && count <= kKeys && queue.works()) {
    // All nodes of one depth in a job, or as many as it takes.
    std::vector<Tree> trees(level.size());
    for (std::size_t i = 0; i < level.size(); ++i) queue.read(level[i], &trees[i], sizeof(Tree));
    queue.run();
    std::vector<std::uint64_t> next;
    for (std::size_t i = 0; i < level.size(); ++i) {
      const Tree& tree = trees[i];
      sum += tree.key;
      if (changes) {
        queue.write(level[i], {address(tree.right), address(tree.left)}, 2);
        queue.increment(level[i] + offsetof(Tree, key), 1);
      }
      for (const Tree* child : {tree.left, tree.right}) {
        if (child != nullptr) next.push_back(address(child));
      }
    }
    queue.run();
    count += level.size();
    level = std::move(next);
  }
  if (count != kKeys) queue.complain("it found another number of keys");
  return changes ? sum + kKeys : sum;
}

std::uint64_t table_on(Queue& queue, World& world, bool changes) {
  // A std::vector is three pointers: to its first value, behind its last one, and behind its
  // memory.
  std::vector<std::array<std::uint64_t, 3>> rows(world.table.size());
  queue.read(address(world.table.data()), rows.data(), rows.size() * sizeof(rows[0]));
  queue.run();
  std::uint64_t sum = 0;
  for (const auto& [begin, end, unused] : rows) {
    const std::size_t count = (end - begin) / 8;
    if (count == 0 || !queue.works()) continue;
    if (changes) queue.increment(begin, count);
    std::vector<std::uint64_t> values(count);
    queue.read(begin, values.data(), count * 8);
    queue.run();
    for (const std::uint64_t value : values) sum += value;
  }
  return sum;
}

}  // namespace

Sums on_queue(World& world, bool changes, std::string* problem) {
  Queue queue;
  Sums sums;
  sums.list = list_on(queue, world, changes);
  sums.tree = tree_on(queue, world, changes);
  sums.table = table_on(queue, world, changes);
  *problem = queue.problem();
  return sums;
}

}  // namespace pointers
