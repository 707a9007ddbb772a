// SPDX-License-Identifier: MIT
#include "runtime/src/base/descriptor.h"
#include "runtime/src/host/user/user_host.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <memory>
#include <semaphore>
#include <system_error>
#include <thread>

#include "godwit/units.h"
#include "runtime/src/base/inside.h"
#include "runtime/src/host/user/uffd_abi.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24  // Linux 5.18: also where the range was mlocked
#endif

namespace godwit {
namespace {

/// Source of zero pages for write faults; in the program's read-only data, so never managed.
alignas(kPageBytes) const std::array<std::byte, kChunkBytes> kZeros{};

/// How often a handler looks for the message that it was woken for. A fault within a system call of
/// a thread that has a signal pending does not wait: the kernel tries it over and over, and the
/// message is there for a part of each try only. A handler that went back to sleep at the first look
/// in vain left such a thread in the kernel for a second and more.
constexpr int kLooks = 1000;

int advise(std::byte* address, std::size_t bytes, int advice) noexcept {
  while (::madvise(address, bytes, advice) != 0) {
    if (errno != EAGAIN && errno != EINTR) return -errno;
  }
  return 0;
}

/// The child of a fork event; closing its descriptor gives the child plain memory back.
class UffdChild final : public ChildMemory {
 public:
  explicit UffdChild(int fd) : fd_(fd) {}
  ~UffdChild() override { ::close(fd_); }
  [[nodiscard]] int copy_in(std::byte* address, const std::byte* source,
                            std::size_t bytes) noexcept override {
    std::size_t copied = 0;
    return Uffd::copy_through(fd_, address, source, bytes, false, &copied);
  }
  [[nodiscard]] int poison(std::byte* address, std::size_t bytes) noexcept override {
    return Uffd::poison_through(fd_, address, bytes);
  }

 private:
  int fd_;
};

/// See Turn. A handler takes it before it waits, and gives it up when it ends.
class HandlerTurn final : public Turn {
 public:
  explicit HandlerTurn(std::binary_semaphore& turn) : turn_(turn) {}
  ~HandlerTurn() override { pass(); }
  void take() noexcept {
    if (!mine_) turn_.acquire();
    mine_ = true;
  }
  void pass() noexcept override {
    if (mine_) turn_.release();
    mine_ = false;
  }

 private:
  std::binary_semaphore& turn_;
  bool mine_ = false;
};

/// The blocks whose faults a handler has put off. The kernel hands out an event only where no fault
/// waits to be read, and while a fork's event waits it fills no page: threads that were woken at
/// once would fault again, and with more of them than handlers the event would never be read. So a
/// handler wakes them once it has found nothing to read, or could serve another fault. Until then
/// it neither sleeps nor waits for its turn.
class PutOff {
 public:
  explicit PutOff(Uffd& uffd) : uffd_(uffd) {}
  ~PutOff() { wake(); }
  PutOff(const PutOff&) = delete;
  PutOff& operator=(const PutOff&) = delete;
  [[nodiscard]] bool any() const noexcept { return first_ < end_; }
  void add(std::uintptr_t address) noexcept {
    const std::uintptr_t block = align_down(address, kBlockBytes);
    first_ = std::min(first_, block);
    end_ = std::max(end_, block + kBlockBytes);
  }
  void wake() noexcept {
    if (any()) (void)uffd_.wake(reinterpret_cast<std::byte*>(first_), end_ - first_);
    first_ = kNone;
    end_ = 0;
  }

 private:
  static constexpr std::uintptr_t kNone = ~std::uintptr_t{0};
  Uffd& uffd_;
  std::uintptr_t first_ = kNone;
  std::uintptr_t end_ = 0;
};

class UserHost final : public HostMemory {
 public:
  UserHost(Uffd uffd, unsigned handlers) : uffd_(std::move(uffd)), wanted_handlers_(handlers) {}
  ~UserHost() override { detach(); }

  [[nodiscard]] const HostInfo& info() const noexcept override { return uffd_.info(); }
  [[nodiscard]] Result<> attach(std::byte* base, std::size_t bytes, FaultSink* sink) override;
  void detach() noexcept override;

  [[nodiscard]] int arm(std::byte* address, std::size_t bytes) noexcept override {
    return uffd_.add_range(address, bytes, full());
  }
  [[nodiscard]] int disarm(std::byte* address, std::size_t bytes) noexcept override {
    return uffd_.remove_range(address, bytes);
  }
  [[nodiscard]] int take_out(std::byte* address, std::byte* slot, std::size_t bytes,
                             std::size_t* moved) noexcept override {
    return uffd_.move(slot, address, bytes, moved);
  }
  [[nodiscard]] int put_in(std::byte* address, std::byte* slot, std::size_t bytes,
                           std::size_t* moved) noexcept override {
    return uffd_.move(address, slot, bytes, moved);
  }
  [[nodiscard]] int copy_in(std::byte* address, const std::byte* source, std::size_t bytes,
                            bool tracked, std::size_t* copied) noexcept override {
    return uffd_.copy(address, source, bytes, tracked, copied);
  }
  [[nodiscard]] int peek(const std::byte* address, std::byte* to) noexcept override {
    // This file does not wait for userfaultfd, as plain loads and process_vm_readv do.
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (memory < 0) return -errno;
    const ssize_t got = ::pread(memory, to, kPageBytes,
                                static_cast<off_t>(reinterpret_cast<std::uintptr_t>(address)));
    const int error = got == static_cast<ssize_t>(kPageBytes) ? 0 : got < 0 ? -errno : -EIO;
    ::close(memory);
    return error;
  }
  void store(std::byte* address, std::span<const std::byte> bytes) noexcept override {
    std::memcpy(address, bytes.data(), bytes.size());
  }
  [[nodiscard]] int zero_in(std::byte* address, std::size_t bytes, bool write) noexcept override;
  [[nodiscard]] int poison(std::byte* address, std::size_t bytes) noexcept override {
    return uffd_.poison(address, bytes);
  }
  [[nodiscard]] int drop(std::byte* address, std::size_t bytes) noexcept override {
    const int error = advise(address, bytes, MADV_DONTNEED);
    return error == -EINVAL ? advise(address, bytes, MADV_DONTNEED_LOCKED) : error;
  }
  [[nodiscard]] int renew(std::byte* address, std::size_t bytes, bool armed) noexcept override;
  [[nodiscard]] int wake(std::byte* address, std::size_t bytes) noexcept override {
    return full() ? uffd_.wake(address, bytes) : 0;
  }
  [[nodiscard]] int track(std::byte* address, std::size_t bytes, bool on) noexcept override {
    return uffd_.protect(address, bytes, on);
  }
  [[nodiscard]] int scan_present(std::byte* address,
                                 std::span<std::uint8_t> present) noexcept override {
    return uffd_.scan(address, present, abi::kPagePresent | abi::kPageSwapped, false);
  }
  [[nodiscard]] int scan_written(std::byte* address,
                                 std::span<std::uint8_t> written) noexcept override {
    return uffd_.scan(address, written, abi::kPageWritten, true);
  }
  [[nodiscard]] int unshare(std::byte* address, std::size_t bytes) noexcept override {
    // What is left of a huge page of which other pages went to the child is this process's own, but
    // UFFDIO_MOVE looks at the huge page's first page. MADV_COLD splits huge pages mapped in part.
    const int error = advise(address, bytes, MADV_POPULATE_WRITE);
    return error != 0 ? error : advise(address, bytes, MADV_COLD);
  }
  [[nodiscard]] int populate(std::byte* address, std::size_t bytes, bool write) noexcept override {
    return advise(address, bytes, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  }
  [[nodiscard]] Result<std::byte*> reserve_slots(std::size_t bytes, bool huge) override;
  void release_slots(std::byte* slots, std::size_t bytes) noexcept override {
    // In a child (abandoned) the slots do not exist, and the addresses may be somebody else's.
    if (uffd_.fd() >= 0) ::munmap(slots, bytes);
  }
  [[nodiscard]] int populate_slot(std::byte* slot, std::size_t bytes) noexcept override;
  [[nodiscard]] int purge_slot(std::byte* slot, std::size_t bytes) noexcept override {
    return advise(slot, bytes, MADV_DONTNEED);
  }
  void settle() noexcept override { const std::lock_guard guard(read_mutex_); }
  void abandon() noexcept override;

  void kill_one() noexcept {
    die_.store(true);
    const std::uint64_t one = 1;
    if (::write(stop_, &one, sizeof(one)) < 0) return;
  }

 private:
  [[nodiscard]] bool full() const noexcept { return info().level == HostLevel::kFull; }
  void serve() noexcept;
  [[nodiscard]] bool serve_until_told() noexcept;

  Uffd uffd_;
  unsigned wanted_handlers_;
  FaultSink* sink_ = nullptr;
  /// Held from reading a message until, if it tells of a fork, that has been dealt with. The parent
  /// goes on as soon as the event is read; neither its next fault nor its next call may be served
  /// before the child has its pages.
  std::mutex read_mutex_;
  int stop_ = -1;  // eventfd: readable once handlers are to look at stopping_ and die_
  std::atomic<bool> stopping_{false};
  std::atomic<bool> die_{false};
  std::atomic<unsigned> alive_{0};
  std::binary_semaphore turn_{1};
  std::vector<std::thread> handlers_;
};

Result<> UserHost::attach(std::byte* /*base*/, std::size_t /*bytes*/, FaultSink* sink) {
  sink_ = sink;
  if (!full()) return {};
  stop_ = out_of_the_way(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (stop_ < 0) return fail_errno(errno, "cannot create an eventfd for the fault handlers");
  // The handlers inherit the mask: no signal of the program is ever delivered to one.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  alive_ = wanted_handlers_;
  try {
    for (unsigned index = 0; index < wanted_handlers_; ++index) {
      handlers_.emplace_back([this] { serve(); });
      ::pthread_setname_np(handlers_.back().native_handle(), "godwit-fault");
    }
  } catch (const std::system_error&) {
    detach();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (stop_ < 0) return fail(Code::kOutOfMemory, "no memory for the fault handlers' threads");
  return {};
}

void UserHost::detach() noexcept {
  if (stop_ < 0) return;
  stopping_.store(true);
  const std::uint64_t one = 1;
  if (::write(stop_, &one, sizeof(one)) == sizeof(one)) {
    for (std::thread& handler : handlers_) handler.join();
  }
  handlers_.clear();
  ::close(stop_);
  stop_ = -1;
}

void UserHost::abandon() noexcept {
  // In a child the threads do not exist, and neither may what the C library kept about them: they
  // are forgotten, because both to detach and to destroy them would look there.
  std::construct_at(&handlers_);
  if (stop_ >= 0) ::close(stop_);
  stop_ = -1;
  uffd_.abandon();
}

void UserHost::serve() noexcept {
  const InsideScope inside;
  if (!serve_until_told() && alive_.fetch_sub(1) == 1) sink_->on_handlers_gone();
}

/// True when told to stop, false when this handler cannot go on.
bool UserHost::serve_until_told() noexcept {
  HandlerTurn turn(turn_);
  PutOff put_off(uffd_);
  int looks = 0;  // left before this handler sleeps
  while (true) {
    if (!put_off.any()) turn.take();
    uffd_msg message;
    std::unique_lock reading(read_mutex_);
    const ssize_t got = ::read(uffd_.fd(), &message, sizeof(message));
    const int error = errno;
    if (got == static_cast<ssize_t>(sizeof(message)) && message.event == UFFD_EVENT_FORK) {
      UffdChild child(static_cast<int>(message.arg.fork.ufd));
      sink_->on_fork(child);
      continue;
    }
    reading.unlock();
    if (got != static_cast<ssize_t>(sizeof(message))) {
      if (got >= 0 || (error != EAGAIN && error != EINTR)) return false;
      if (put_off.any()) {
        if (error == EINTR) continue;
        ::sched_yield();  // the event may have been read, and its fork not have gone on yet
        put_off.wake();
        continue;
      }
      if (looks-- > 0) continue;
      std::array<pollfd, 2> wait = {{{uffd_.fd(), POLLIN, 0}, {stop_, POLLIN, 0}}};
      if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) return false;
      if ((wait[1].revents & POLLIN) != 0) {
        if (stopping_.load()) return true;
        if (die_.exchange(false)) {
          std::uint64_t value = 0;
          if (::read(stop_, &value, sizeof(value)) < 0) return false;
          return false;
        }
      }
      if ((wait[0].revents & (POLLERR | POLLNVAL)) != 0) return false;
      looks = (wait[0].revents & POLLIN) != 0 ? kLooks : 0;
      continue;
    }
    if (message.event == UFFD_EVENT_PAGEFAULT) {
      const std::uintptr_t address = message.arg.pagefault.address;
      const std::uint64_t flags = message.arg.pagefault.flags;
      const AtOnceScope at_once;
      const FaultEnd end = sink_->on_fault(reinterpret_cast<std::byte*>(address),
                                           (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
                                           (flags & UFFD_PAGEFAULT_FLAG_WP) != 0, turn);
      if (end == FaultEnd::kAgain) put_off.add(address);
      if (end == FaultEnd::kServed) put_off.wake();
    }
  }
}

int UserHost::zero_in(std::byte* address, std::size_t bytes, bool write) noexcept {
  if (!write) return uffd_.zero(address, bytes);
  // A page of its own at once: the shared zero page would only cost the writer a second fault.
  for (std::size_t done = 0; done < bytes;) {
    std::size_t copied = 0;
    const std::size_t piece = std::min(bytes - done, kZeros.size());
    const int error = uffd_.copy(address + done, kZeros.data(), piece, false, &copied);
    done += copied;
    if (error == -EEXIST) {
      done += kPageBytes;
    } else if (error != 0) {
      return error;
    }
  }
  return 0;
}

int UserHost::renew(std::byte* address, std::size_t bytes, bool armed) noexcept {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  if (::mmap(address, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) return -errno;
  ::madvise(address, bytes, MADV_HUGEPAGE);
  return armed ? arm(address, bytes) : 0;
}

Result<std::byte*> UserHost::reserve_slots(std::size_t bytes, bool huge) {
  // DONTFORK: a child must not keep a share in pages that the parent goes on moving.
  void* memory = ::mmap(nullptr, bytes + kBlockBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "cannot reserve the page pool");
  auto* start = static_cast<std::byte*>(memory);
  auto* base = reinterpret_cast<std::byte*>(
      align_up(reinterpret_cast<std::uintptr_t>(memory), kBlockBytes));
  const auto head = static_cast<std::size_t>(base - start);
  if (head != 0) ::munmap(start, head);
  ::munmap(base + bytes, kBlockBytes - head);
  ::madvise(base, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  ::madvise(base, bytes, MADV_DONTFORK);
  if (full()) {
    const int error = uffd_.add_range(base, bytes, true);
    if (error != 0) {
      ::munmap(base, bytes);
      return fail_errno(-error, "cannot register the page pool");
    }
  }
  return base;
}

int UserHost::populate_slot(std::byte* slot, std::size_t bytes) noexcept {
  if (!full()) return advise(slot, bytes, MADV_POPULATE_WRITE);
  // The slot is registered, so that a first touch would be a fault for our own handlers. A huge
  // page can only come from the kernel's own fault: the slot is let go for that moment.
  if (bytes == kBlockBytes) {
    int error = uffd_.remove_range(slot, bytes);
    if (error != 0) return error;
    error = advise(slot, bytes, MADV_POPULATE_WRITE);
    const int again = uffd_.add_range(slot, bytes, true);
    return error != 0 ? error : again;
  }
  std::size_t copied = 0;
  for (std::size_t done = 0; done < bytes; done += kZeros.size()) {
    const int error = uffd_.copy(slot + done, kZeros.data(), kZeros.size(), false, &copied);
    if (error != 0) return error;
  }
  return 0;
}

}  // namespace

Result<std::unique_ptr<HostMemory>> make_user_host(const UserHostOptions& options) {
  auto uffd = Uffd::open(options.level);
  if (!uffd) return tl::unexpected(uffd.error());
  return std::make_unique<UserHost>(std::move(*uffd), options.handlers == 0 ? 1 : options.handlers);
}

HostProbe probe_user_host() {
  HostProbe probe;
  auto uffd = Uffd::open(HostLevelWish::kAuto);
  probe.usable = uffd.has_value();
  if (uffd) {
    probe.info = uffd->info();
    probe.reasons = probe.info.reasons;
  } else {
    probe.reasons = uffd.error().reasons;
  }
  return probe;
}

void kill_one_handler(HostMemory& host) { static_cast<UserHost&>(host).kill_one(); }

}  // namespace godwit
