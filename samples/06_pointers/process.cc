// SPDX-License-Identifier: MIT
#include "samples/06_pointers/process.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace pointers {
namespace {

constexpr int kSocket = 200;   // in the device's process
constexpr int kInTheWay = 75;  // its exit status where memory of its own is at an address of ours

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
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr) return false;  // no descriptor came along
  int view = -1;
  std::memcpy(&view, CMSG_DATA(header), sizeof(view));
  // Where the owner has it, so that every pointer in it is right here as well.
  auto* wanted = reinterpret_cast<void*>(area.start);
  void* at = ::mmap(wanted, area.end - area.start, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED_NOREPLACE, view, 0);
  ::close(view);
  return at == wanted;
}

/// One start of the process. False: another one may have better luck with its addresses.
bool start(godwit::Context& context, World& world, const std::vector<Area>& areas, bool changes,
           Sums* sums, std::string* problem) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    *problem = "no socket";
    return true;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pair[1], kSocket);  // without close-on-exec
    ::execl("/proc/self/exe", "pointers", "--device", static_cast<char*>(nullptr));
    ::_exit(1);
  }
  ::close(pair[1]);
  const Order order{reinterpret_cast<std::uintptr_t>(&world), areas.size(), changes};
  bool sent = ::write(pair[0], &order, sizeof(order)) == static_cast<ssize_t>(sizeof(order));
  for (const Area& area : areas) {
    auto view = context.view(reinterpret_cast<void*>(area.start), area.end - area.start);
    if (!view) {
      *problem = view.error().to_string();
      break;
    }
    sent = sent && send_view(pair[0], area, *view);
    ::close(*view);
  }
  const bool answered = ::read(pair[0], sums, sizeof(*sums)) == static_cast<ssize_t>(sizeof(*sums));
  ::close(pair[0]);
  int status = -1;
  (void)::waitpid(child, &status, 0);
  if (sent && answered && status == 0) return true;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kInTheWay) return false;
  if (problem->empty()) *problem = "the process failed";
  return true;
}

}  // namespace

int process_main() {
  const int socket = kSocket;
  Order order;
  if (::read(socket, &order, sizeof(order)) != static_cast<ssize_t>(sizeof(order))) return 1;
  for (std::uint64_t area = 0; area < order.areas; ++area) {
    if (!map_view(socket)) return kInTheWay;
  }
  auto* world = reinterpret_cast<World*>(order.world);
  if (order.changes) change(*world);
  const Sums sums = sums_of(*world);
  return ::write(socket, &sums, sizeof(sums)) == static_cast<ssize_t>(sizeof(sums)) ? 0 : 1;
}

Sums on_process(godwit::Context& context, World& world, bool changes, std::string* problem) {
  constexpr int kStarts = 16;
  const std::vector<Area> areas = areas_of(world);
  Sums sums;
  for (int attempt = 0; attempt < kStarts; ++attempt) {
    if (start(context, world, areas, changes, &sums, problem)) return sums;
  }
  *problem = "the process found its own memory in the way 16 times";
  return sums;
}

}  // namespace pointers
