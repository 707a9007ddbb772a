// SPDX-License-Identifier: MIT
// Data structures full of pointers, built by plain C++ code with plain new and malloc, walked and changed by a
// device: nothing is copied, no pointer is rewritten.
//
// Two devices walk them. The module's execution queue follows the list by its own page table. And the soft
// device is a process of its own: it gets views of this program's memory over a socket, maps each where this
// program has it, and runs the same code on the same pointers. What it touches goes to VRAM; what this program
// touches comes back.
//
// usage: pointers        (with godwit.ko loaded)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xf86drm.h>

#include <array>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <godwit_drm.h>

#include "godwit/context.h"

namespace {

// ---- the structures: nothing here knows of a device ----------------------------------------------

struct Node {
  Node* next;
  std::uint64_t value;
};

struct Tree {
  Tree* left;
  Tree* right;
  std::uint64_t key;
};

using Table = std::vector<std::vector<std::uint64_t>>;

struct World {
  Node* list = nullptr;
  Tree* tree = nullptr;
  Table table;
};

constexpr std::uint64_t kNodes = 10'000;
constexpr std::uint64_t kKeys = 10'000;
constexpr std::size_t kRows = 100;

std::uint64_t mixed(std::uint64_t value) { return value * 0x9e3779b97f4a7c15u >> 40; }

void insert(Tree** at, std::uint64_t key) {
  while (*at != nullptr) at = key < (*at)->key ? &(*at)->left : &(*at)->right;
  *at = new Tree{nullptr, nullptr, key};
}

World* build() {
  auto* world = new World;
  for (std::uint64_t i = 0; i < kNodes; ++i) world->list = new Node{world->list, mixed(i)};
  for (std::uint64_t i = 0; i < kKeys; ++i) insert(&world->tree, mixed(i + 7));
  for (std::size_t row = 0; row < kRows; ++row) {
    world->table.emplace_back(row * 10 + 1, mixed(row));
  }
  return world;
}

struct Sums {
  std::uint64_t list = 0, tree = 0, table = 0;
  bool operator==(const Sums&) const = default;
};

std::uint64_t sum_of(const Tree* tree) {
  return tree == nullptr ? 0 : tree->key + sum_of(tree->left) + sum_of(tree->right);
}

Sums sums_of(const World& world) {
  Sums sums;
  for (const Node* node = world.list; node != nullptr; node = node->next) sums.list += node->value;
  sums.tree = sum_of(world.tree);
  for (const auto& row : world.table) {
    for (const std::uint64_t value : row) sums.table += value;
  }
  return sums;
}

void change(Tree* tree) {
  if (tree == nullptr) return;
  tree->key += 1;
  change(tree->left);
  change(tree->right);
}

/// Turns the list around, and adds 1 to everything.
void change(World& world) {
  Node* turned = nullptr;
  while (world.list != nullptr) {
    Node* node = world.list;
    world.list = node->next;
    node->next = turned;
    node->value += 1;
    turned = node;
  }
  world.list = turned;
  change(world.tree);
  for (auto& row : world.table) {
    for (std::uint64_t& value : row) value += 1;
  }
}

// ---- where they are --------------------------------------------------------------------------------

struct Area {
  std::uintptr_t start = 0, end = 0;
};

void note(const Tree* tree, std::set<std::uintptr_t>* pages) {
  if (tree == nullptr) return;
  pages->insert(reinterpret_cast<std::uintptr_t>(tree) / 4096);
  note(tree->left, pages);
  note(tree->right, pages);
}

/// The mappings of this process that hold a part of the world.
std::vector<Area> areas_of(const World& world) {
  std::set<std::uintptr_t> pages{reinterpret_cast<std::uintptr_t>(&world) / 4096};
  for (const Node* node = world.list; node != nullptr; node = node->next) {
    pages.insert(reinterpret_cast<std::uintptr_t>(node) / 4096);
  }
  note(world.tree, &pages);
  pages.insert(reinterpret_cast<std::uintptr_t>(world.table.data()) / 4096);
  for (const auto& row : world.table) {
    const auto start = reinterpret_cast<std::uintptr_t>(row.data());
    for (std::uintptr_t at = start / 4096; at <= (start + row.size() * 8 - 1) / 4096; ++at) {
      pages.insert(at);
    }
  }
  std::vector<Area> areas;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    Area area;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR, &area.start, &area.end) != 2) continue;
    const auto found = pages.lower_bound(area.start / 4096);
    if (found != pages.end() && *found < area.end / 4096) areas.push_back(area);
  }
  return areas;
}

// ---- the soft device: another process ----------------------------------------------------------------

constexpr int kSocket = 200;  // in the device's process

struct Order {
  std::uintptr_t world = 0;
  std::uint64_t areas = 0;
  bool changes = false;
};

bool send_view(int socket, const Area& area, int view) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  Area copy = area;
  iovec data{&copy, sizeof(copy)};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &view, sizeof(int));
  return ::sendmsg(socket, &message, 0) == static_cast<ssize_t>(sizeof(copy));
}

bool map_view(int socket) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  Area area;
  iovec data{&area, sizeof(area)};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(sizeof(area))) {
    return false;
  }
  int view = -1;
  std::memcpy(&view, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(view));
  // Where the owner has it, so that every pointer in it is right here as well.
  auto* wanted = reinterpret_cast<void*>(area.start);
  void* at = ::mmap(wanted, area.end - area.start, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED_NOREPLACE, view, 0);
  ::close(view);
  return at == wanted;
}

/// What the device's process does: 0, 75 where something of its own is in the way, or 1.
int device_main(int socket) {
  Order order;
  if (::read(socket, &order, sizeof(order)) != static_cast<ssize_t>(sizeof(order))) return 1;
  for (std::uint64_t area = 0; area < order.areas; ++area) {
    if (!map_view(socket)) return 75;
  }
  auto* world = reinterpret_cast<World*>(order.world);
  if (order.changes) change(*world);
  const Sums sums = sums_of(*world);
  return ::write(socket, &sums, sizeof(sums)) == static_cast<ssize_t>(sizeof(sums)) ? 0 : 1;
}

void fail(const std::string& what) {
  (void)std::fprintf(stderr, "pointers: %s\n", what.c_str());
  std::exit(1);
}

/// One run of the soft device over the world. Its process starts anew, at addresses of its own choice; where
/// those are in the way, another start has others.
Sums on_device(const char* self, godwit::Context& context, World& world, bool changes) {
  constexpr int kStarts = 16;
  const std::vector<Area> areas = areas_of(world);
  for (int start = 0; start < kStarts; ++start) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail("socketpair");
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(pair[1], kSocket);  // without close-on-exec
      ::execl(self, self, "--device", static_cast<char*>(nullptr));
      ::_exit(1);
    }
    ::close(pair[1]);
    const Order order{reinterpret_cast<std::uintptr_t>(&world), areas.size(), changes};
    bool sent = ::write(pair[0], &order, sizeof(order)) == static_cast<ssize_t>(sizeof(order));
    for (const Area& area : areas) {
      auto view = context.view(reinterpret_cast<void*>(area.start), area.end - area.start);
      if (!view) fail(view.error().to_string());
      sent = sent && send_view(pair[0], area, *view);
      ::close(*view);
    }
    Sums sums;
    const bool answered =
        ::read(pair[0], &sums, sizeof(sums)) == static_cast<ssize_t>(sizeof(sums));
    ::close(pair[0]);
    int status = -1;
    (void)::waitpid(child, &status, 0);
    if (sent && answered && WIFEXITED(status) && WEXITSTATUS(status) == 0) return sums;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 75) fail("the device's process failed");
  }
  fail("the device's process found its own memory in the way 16 times");
  return {};
}

// ---- the module's execution queue --------------------------------------------------------------------

/// The number of nodes, as the queue counts them by following the pointers.
std::uint64_t walked_by_queue(const World& world) {
  int node = -1;
  for (int minor = 128; minor < 192 && node < 0; ++minor) {
    node = ::open((std::string(DRM_DIR_NAME "/" DRM_RENDER_MINOR_NAME) + std::to_string(minor)).c_str(),
                  O_RDWR | O_CLOEXEC);
    if (node < 0) continue;
    drmVersionPtr version = drmGetVersion(node);
    const bool ours = version != nullptr && std::strcmp(version->name, "godwit") == 0;
    drmFreeVersion(version);
    if (ours) break;
    ::close(node);
    node = -1;
  }
  if (node < 0) fail("no render node of godwit");
  drm_godwit_command command = {};
  command.op = GODWIT_OP_WALK;
  command.addr = reinterpret_cast<std::uintptr_t>(world.list);
  command.length = 2 * kNodes;  // at most
  command.operand = offsetof(Node, next);
  drm_godwit_result result = {};
  drm_godwit_execute job = {};
  job.commands = reinterpret_cast<std::uintptr_t>(&command);
  job.command_count = 1;
  job.command_stride = sizeof(command);
  job.results = reinterpret_cast<std::uintptr_t>(&result);
  job.result_stride = sizeof(result);
  job.flags = GODWIT_EXECUTE_WAIT;
  if (drmIoctl(node, DRM_IOCTL_GODWIT_EXECUTE, &job) != 0 || job.status != 0) {
    fail("the execution queue: " + std::string(std::strerror(job.status != 0 ? -job.status : errno)));
  }
  ::close(node);
  return result.value;
}

void print(const char* who, const Sums& sums) {
  std::printf("%-22s list %" PRIu64 "  tree %" PRIu64 "  table %" PRIu64 "\n", who, sums.list,
              sums.tree, sums.table);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--device") return device_main(kSocket);
  godwit::ContextOptions options;
  options.engine = "kernel";
  options.device = "soft";
  auto context = godwit::Context::create(options);
  if (!context) fail(context.error().to_string());

  World& world = *build();
  const Sums before = sums_of(world);
  print("CPU", before);
  std::printf("%-22s %" PRIu64 " of %" PRIu64 " nodes\n", "execution queue", walked_by_queue(world),
              kNodes);
  const Sums seen = on_device("/proc/self/exe", **context, world, false);
  print("device", seen);
  const Sums changed = on_device("/proc/self/exe", **context, world, true);
  print("device, after change", changed);
  const Sums after = sums_of(world);
  print("CPU, after change", after);
  std::printf("%-22s %" PRIu64 " of %" PRIu64 " nodes\n", "execution queue", walked_by_queue(world),
              kNodes);
  const bool same = before == seen && changed == after &&
                    after.list == before.list + kNodes && after.tree == before.tree + kKeys;
  std::printf("%s\n", same ? "the same sums from both sides" : "THE SUMS DIFFER");
  return same ? 0 : 1;
}
