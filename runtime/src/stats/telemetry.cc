// SPDX-License-Identifier: MIT
#include "runtime/src/stats/telemetry.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>

namespace godwit {
namespace {

constexpr std::size_t kRingOffset = (sizeof(TelemetryHeader) + 63) / 64 * 64;

std::size_t file_bytes(std::uint32_t event_slots) {
  return kRingOffset + std::size_t{event_slots} * sizeof(Event);
}

void set_text(char* target, std::size_t capacity, std::string_view text) noexcept {
  const std::size_t length = std::min(capacity - 1, text.size());
  std::memcpy(target, text.data(), length);
  target[length] = '\0';
}

// Event::sequence while a thread writes the event.
constexpr std::uint64_t kBusy = ~std::uint64_t{0};

// The fields of an event are read while they are written: the sequence tells whether that happened.
template <typename T>
void store(T& field, T value) noexcept {
  std::atomic_ref<T>(field).store(value, std::memory_order_relaxed);
}
template <typename T>
T load(const T& field) noexcept {
  return std::atomic_ref<T>(const_cast<T&>(field)).load(std::memory_order_relaxed);
}

std::uint32_t thread_id() noexcept {
  thread_local const auto id = static_cast<std::uint32_t>(::syscall(SYS_gettid));
  return id;
}

}  // namespace

std::string_view cause_name(Cause cause) {
  constexpr std::array<std::string_view, kCauseCount> names = {
      "cpu fault", "device access", "prefetch", "eviction",
      "advice",    "fork",          "unplug",   "peer"};
  return names[static_cast<std::size_t>(cause)];
}

std::string_view stay_reason_name(StayReason reason) {
  constexpr std::array<std::string_view, kStayReasonCount> names = {
      "pinned",    "held",         "locked", "no VRAM",
      "no memory", "device error", "raced",  "peer"};
  return names[static_cast<std::size_t>(reason)];
}

std::string_view event_kind_name(EventKind kind) {
  constexpr std::array<std::string_view, kEventKindCount> names = {
      "fault", "migrate", "evict", "remove", "command", "gemm", "fork", "lost", "revoke", "remap"};
  return names[static_cast<std::size_t>(kind)];
}

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Result<std::unique_ptr<Telemetry>> Telemetry::create(const std::string& path,
                                                     std::uint32_t event_slots) {
  if ((event_slots & (event_slots - 1)) != 0) {
    return fail(Code::kInvalidArgument,
                "event slots: " + std::to_string(event_slots) + " is not a power of two");
  }
  const std::size_t bytes = file_bytes(event_slots);
  int fd = -1;
  if (!path.empty()) {
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail_errno(errno, "cannot create the statistics file " + path);
    const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (error != 0) {
      ::close(fd);
      ::unlink(path.c_str());
      return fail_errno(error, "cannot claim " + std::to_string(bytes) + " bytes for " + path);
    }
  }
  const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (memory == MAP_FAILED) return fail_errno(error, "cannot map the statistics");
  auto* header = new (memory) TelemetryHeader{};
  header->layout = sizeof(TelemetryHeader);
  header->event_slots = event_slots;
  header->start_ns = monotonic_ns();
  header->process = static_cast<std::uint32_t>(::getpid());
  std::string program;
  std::getline(std::ifstream("/proc/self/comm"), program);
  set_text(header->program, sizeof(header->program), program);
  header->magic = TelemetryHeader::kMagic;
  return std::unique_ptr<Telemetry>(new Telemetry(header, bytes));
}

Result<std::unique_ptr<Telemetry>> Telemetry::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail_errno(errno, "cannot open the statistics file " + path);
  struct stat status {};
  ::fstat(fd, &status);
  const auto bytes = static_cast<std::size_t>(status.st_size);
  void* memory = bytes < kRingOffset ? MAP_FAILED
                                     : ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED) {
    return fail(Code::kInvalidArgument, path + " is not a statistics file of Godwit");
  }
  std::unique_ptr<Telemetry> telemetry(
      new Telemetry(static_cast<TelemetryHeader*>(memory), bytes));
  const TelemetryHeader& header = telemetry->header();
  if (header.magic != TelemetryHeader::kMagic || header.layout != sizeof(TelemetryHeader) ||
      file_bytes(header.event_slots) > bytes) {
    return fail(Code::kInvalidArgument,
                path + " is not a statistics file of this version of Godwit");
  }
  return telemetry;
}

Telemetry::~Telemetry() { ::munmap(header_, bytes_); }

void Telemetry::make_private() noexcept {
  void* copy = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return;
  std::memcpy(copy, static_cast<const void*>(header_), bytes_);
  // At the same address: whoever holds a reference to the counters keeps it.
  (void)::mremap(copy, bytes_, bytes_, MREMAP_MAYMOVE | MREMAP_FIXED, header_);
}

void Telemetry::set_names(std::string_view engine, std::string_view device) noexcept {
  set_text(header_->engine, sizeof(header_->engine), engine);
  set_text(header_->device, sizeof(header_->device), device);
}

Event* Telemetry::ring() const noexcept {
  return reinterpret_cast<Event*>(reinterpret_cast<std::byte*>(header_) + kRingOffset);
}

void Telemetry::record(EventKind kind, Cause cause, std::uint64_t start_ns, std::uint64_t address,
                       std::uint64_t bytes, bool to_device, std::uint8_t detail) noexcept {
  if (!recording()) return;
  const std::uint64_t index = header_->events_written.fetch_add(1, std::memory_order_relaxed);
  Event& event = ring()[index & (header_->event_slots - 1)];
  // A writer that was overtaken by a whole ring must not mix its event into a newer one.
  std::uint64_t old = event.sequence.load(std::memory_order_relaxed);
  if (old == kBusy || old > index ||
      !event.sequence.compare_exchange_strong(old, kBusy, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
    return;
  }
  std::atomic_thread_fence(std::memory_order_release);
  store(event.start_ns, start_ns);
  store(event.duration_ns, monotonic_ns() - start_ns);
  store(event.address, address);
  store(event.bytes, bytes);
  store(event.thread, thread_id());
  store(event.kind, kind);
  store(event.cause, cause);
  store(event.to_device, std::uint8_t{to_device});
  store(event.detail, detail);
  event.sequence.store(index + 1, std::memory_order_release);
}

std::vector<Telemetry::PlainEvent> Telemetry::events(std::uint64_t* lost) const {
  std::vector<PlainEvent> result;
  const std::uint64_t written = header_->events_written.load(std::memory_order_acquire);
  const std::uint64_t slots = header_->event_slots;
  for (std::uint64_t index = written > slots ? written - slots : 0; index < written; ++index) {
    const Event& event = ring()[index & (slots - 1)];
    const PlainEvent copy = {.sequence = event.sequence.load(std::memory_order_acquire),
                             .start_ns = load(event.start_ns),
                             .duration_ns = load(event.duration_ns),
                             .address = load(event.address),
                             .bytes = load(event.bytes),
                             .thread = load(event.thread),
                             .kind = load(event.kind),
                             .cause = load(event.cause),
                             .to_device = load(event.to_device) != 0,
                             .detail = load(event.detail)};
    std::atomic_thread_fence(std::memory_order_acquire);
    const std::uint64_t after = event.sequence.load(std::memory_order_relaxed);
    if (copy.sequence == index + 1 && after == copy.sequence) result.push_back(copy);
  }
  *lost = written - result.size();
  return result;
}

}  // namespace godwit
