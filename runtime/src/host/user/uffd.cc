// SPDX-License-Identifier: MIT
#include "runtime/src/host/user/uffd.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "godwit/units.h"
#include "runtime/src/base/descriptor.h"
#include "runtime/src/host/user/uffd_abi.h"

namespace godwit {
namespace {

// A fork that is under way makes every call answer EAGAIN until a handler has read its event.
// Beyond the bound the caller puts the work off.
constexpr int kAgainBound = 200;
thread_local int again_bound = kAgainBound;

std::uint64_t as_int(const void* address) {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address));
}

int call(int fd, unsigned long request, void* argument) noexcept {
  while (::ioctl(fd, request, argument) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

struct Way {
  const char* name;
  bool device;
  int flags;
  HostLevel level;
};

constexpr std::array<Way, 3> kWays = {{
    {"/dev/userfaultfd", true, 0, HostLevel::kFull},
    {"userfaultfd(2)", false, 0, HostLevel::kFull},
    {"userfaultfd(2), user faults only", false, UFFD_USER_MODE_ONLY, HostLevel::kResident},
}};

int open_way(const Way& way) {
  const int flags = O_CLOEXEC | O_NONBLOCK | way.flags;
  if (!way.device) return static_cast<int>(::syscall(SYS_userfaultfd, flags));
  const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) return -1;
  const int fd = ::ioctl(device, abi::kIoctlNew, flags);
  const int error = errno;
  ::close(device);
  errno = error;
  return fd;
}

/// Which features are asked for. Fork events need a privilege that the descriptor itself does not.
std::uint64_t wanted_features(HostLevel level, bool fork_events) {
  std::uint64_t features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
  if (level == HostLevel::kResident) {
    return features | abi::kFeatureWpAsync | abi::kFeatureWpUnpopulated;
  }
  features |= abi::kFeatureMove | abi::kFeaturePoison;
  if (fork_events) features |= UFFD_FEATURE_EVENT_FORK;
  return features;
}

}  // namespace

AtOnceScope::AtOnceScope() noexcept { again_bound = 1; }
AtOnceScope::~AtOnceScope() { again_bound = kAgainBound; }

Result<Uffd> Uffd::open(HostLevelWish wish) {
  std::vector<std::string> reasons;
  for (const Way& way : kWays) {
    // The privileged descriptors serve a wish for the lesser level as well.
    const HostLevel level = wish == HostLevelWish::kResident ? HostLevel::kResident : way.level;
    if (wish == HostLevelWish::kFull && way.level != HostLevel::kFull) continue;
    for (const bool fork_events : {true, false}) {
      if (fork_events && level == HostLevel::kResident) continue;
      const int fd = out_of_the_way(open_way(way));
      if (fd < 0) {
        reasons.push_back(std::string(way.name) + ": " + std::strerror(errno));
        break;
      }
      uffdio_api api{.api = UFFD_API, .features = wanted_features(level, fork_events), .ioctls = 0};
      const int error = call(fd, UFFDIO_API, &api);
      if (error != 0) {
        ::close(fd);
        if (fork_events && error == -EPERM) continue;
        reasons.push_back(std::string(way.name) + ": this kernel lacks " +
                          (level == HostLevel::kFull ? "UFFDIO_MOVE (Linux 6.8 or newer has it)"
                                                     : "WP_ASYNC (Linux 6.7 or newer has it)"));
        break;
      }
      const int pagemap = out_of_the_way(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
      if (pagemap < 0) {
        reasons.push_back(std::string("/proc/self/pagemap: ") + std::strerror(errno));
        ::close(fd);
        break;
      }
      Uffd uffd(fd, pagemap);
      uffd.fork_events_ = fork_events;
      uffd.info_.level = level;
      uffd.info_.access = way.name;
      uffd.info_.reasons = std::move(reasons);
      return uffd;
    }
  }
  return fail(Code::kUnavailable,
              "no usable userfaultfd; run as root, give access to /dev/userfaultfd, or set "
              "vm.unprivileged_userfaultfd=1",
              std::move(reasons));
}

Uffd::Uffd(Uffd&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      pagemap_(std::exchange(other.pagemap_, -1)),
      fork_events_(other.fork_events_),
      info_(std::move(other.info_)) {}

Uffd::~Uffd() { abandon(); }

void Uffd::abandon() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (pagemap_ >= 0) ::close(std::exchange(pagemap_, -1));
}

int Uffd::add_range(std::byte* address, std::size_t bytes, bool missing) noexcept {
  uffdio_register request{};
  request.range = {.start = as_int(address), .len = bytes};
  request.mode = UFFDIO_REGISTER_MODE_WP;
  if (missing) request.mode |= UFFDIO_REGISTER_MODE_MISSING;
  return call(fd_, UFFDIO_REGISTER, &request);
}

int Uffd::remove_range(std::byte* address, std::size_t bytes) noexcept {
  uffdio_range range{.start = as_int(address), .len = bytes};
  return call(fd_, UFFDIO_UNREGISTER, &range);
}

int Uffd::move(std::byte* to, std::byte* from, std::size_t bytes, std::size_t* moved) noexcept {
  *moved = 0;
  for (int again = 0; *moved < bytes;) {
    abi::Move request{.dst = as_int(to + *moved),
                      .src = as_int(from + *moved),
                      .len = bytes - *moved,
                      .mode = 0,
                      .moved = 0};
    const int error = call(fd_, abi::kIoctlMove, &request);
    if (request.moved > 0) *moved += static_cast<std::size_t>(request.moved);
    if (error == 0 || *moved == bytes) continue;
    if (error == -EEXIST) {
      const std::size_t more = uncounted(to + *moved, from + *moved, bytes - *moved);
      if (more == 0) return error;
      (void)wake(to + *moved, more);
      *moved += more;
      continue;
    }
    if (error != -EAGAIN) return error;
    if (request.moved > 0) continue;
    if (++again >= again_bound) return -EAGAIN;
    ::sched_yield();
  }
  return 0;
}

std::size_t Uffd::uncounted(std::byte* to, std::byte* from, std::size_t bytes) noexcept {
  std::array<std::uint8_t, kPagesPerBlock> there;
  std::array<std::uint8_t, kPagesPerBlock> left;
  const std::size_t pages = std::min(bytes / kPageBytes, kPagesPerBlock);
  constexpr std::uint64_t kAny = abi::kPagePresent | abi::kPageSwapped;
  if (scan(to, std::span(there).first(pages), kAny, false) != 0 ||
      scan(from, std::span(left).first(pages), kAny, false) != 0) {
    return 0;
  }
  std::size_t count = 0;
  while (count < pages && there[count] != 0 && left[count] == 0) ++count;
  return count * kPageBytes;
}

int Uffd::copy(std::byte* to, const std::byte* from, std::size_t bytes, bool protect_it,
               std::size_t* copied) noexcept {
  return copy_through(fd_, to, from, bytes, protect_it, copied);
}

int Uffd::copy_through(int fd, std::byte* to, const std::byte* from, std::size_t bytes,
                       bool protect_it, std::size_t* copied) noexcept {
  *copied = 0;
  for (int again = 0; *copied < bytes;) {
    uffdio_copy request{.dst = as_int(to + *copied),
                        .src = as_int(from + *copied),
                        .len = bytes - *copied,
                        .mode = protect_it ? UFFDIO_COPY_MODE_WP : 0,
                        .copy = 0};
    const int error = call(fd, UFFDIO_COPY, &request);
    if (request.copy > 0) *copied += static_cast<std::size_t>(request.copy);
    if (error == 0 || *copied == bytes) continue;
    if (error != -EAGAIN) return error;
    if (request.copy > 0) continue;
    if (++again >= again_bound) return -EAGAIN;
    ::sched_yield();
  }
  return 0;
}

int Uffd::zero(std::byte* address, std::size_t bytes) noexcept {
  std::size_t done = 0;
  for (int again = 0; done < bytes;) {
    uffdio_zeropage request{};
    request.range = {.start = as_int(address + done), .len = bytes - done};
    const int error = call(fd_, UFFDIO_ZEROPAGE, &request);
    if (request.zeropage > 0) done += static_cast<std::size_t>(request.zeropage);
    if (error == 0 || done == bytes) continue;
    if (error == -EEXIST && request.zeropage <= 0) {
      done += kPageBytes;  // somebody was faster with this page: step over it
      continue;
    }
    if (error != -EAGAIN) return error;
    if (request.zeropage > 0) continue;
    if (++again >= again_bound) return -EAGAIN;
    ::sched_yield();
  }
  return 0;
}

int Uffd::poison(std::byte* address, std::size_t bytes) noexcept {
  return poison_through(fd_, address, bytes);
}

int Uffd::poison_through(int fd, std::byte* address, std::size_t bytes) noexcept {
  abi::Poison request{};
  request.range = {.start = as_int(address), .len = bytes};
  return call(fd, abi::kIoctlPoison, &request);
}

int Uffd::protect(std::byte* address, std::size_t bytes, bool on) noexcept {
  uffdio_writeprotect request{};
  request.range = {.start = as_int(address), .len = bytes};
  request.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  for (int again = 0;;) {
    const int error = call(fd_, UFFDIO_WRITEPROTECT, &request);
    if (error != -EAGAIN || ++again >= again_bound) return error;
    ::sched_yield();
  }
}

int Uffd::wake(std::byte* address, std::size_t bytes) noexcept {
  uffdio_range range{.start = as_int(address), .len = bytes};
  return call(fd_, UFFDIO_WAKE, &range);
}

int Uffd::scan(std::byte* address, std::span<std::uint8_t> pages, std::uint64_t categories,
               bool rearm) noexcept {
  std::fill(pages.begin(), pages.end(), std::uint8_t{0});
  std::array<abi::PageRegion, 64> regions;
  const std::uint64_t end = as_int(address) + pages.size() * kPageBytes;
  abi::PagemapScan request{};
  request.size = sizeof(request);
  request.flags = rearm ? abi::kScanWpMatching | abi::kScanCheckWpAsync : 0;
  request.start = as_int(address);
  request.end = end;
  request.vec = as_int(regions.data());
  request.vec_len = regions.size();
  request.category_anyof_mask = categories;
  request.return_mask = categories;
  while (request.start < end) {
    const long found = ::ioctl(pagemap_, abi::kIoctlPagemapScan, &request);
    if (found < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    for (long index = 0; index < found; ++index) {
      const abi::PageRegion& region = regions[static_cast<std::size_t>(index)];
      const std::size_t first = (region.start - as_int(address)) / kPageBytes;
      const std::size_t count = (region.end - region.start) / kPageBytes;
      std::fill_n(pages.begin() + static_cast<std::ptrdiff_t>(first), count, std::uint8_t{1});
    }
    if (request.walk_end <= request.start) break;
    request.start = request.walk_end;
  }
  return 0;
}

}  // namespace godwit
