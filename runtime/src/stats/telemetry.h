// SPDX-License-Identifier: MIT
// The memory that counters and events live in: private, or a file that another process reads while
// this one runs or after it has died.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "godwit/result.h"
#include "godwit/statistics.h"

namespace godwit {

enum class EventKind : std::uint8_t { kFault, kMigrate, kEvict, kRemove, kCommand, kGemm, kFork, kLost,
                                      kRevoke, kRemap };
inline constexpr std::size_t kEventKindCount = 10;
[[nodiscard]] std::string_view event_kind_name(EventKind kind);

/// One entry of the ring. `sequence` is 1 for the first event of the process and is written last.
struct Event {
  std::atomic<std::uint64_t> sequence;
  std::uint64_t start_ns;  // CLOCK_MONOTONIC
  std::uint64_t duration_ns;
  std::uint64_t address;   // first byte; 0 where there is none
  std::uint64_t bytes;
  std::uint32_t thread;    // Linux thread id
  EventKind kind;
  Cause cause;
  std::uint8_t to_device;  // 1: towards VRAM, 0: towards RAM
  std::uint8_t detail;     // kFault: 1 for a write; kGemm: the scalar type; kRevoke: 1 for refused
};
static_assert(sizeof(Event) == 48);

/// The head of the file. Readers check magic and layout before anything else.
struct TelemetryHeader {
  static constexpr std::uint64_t kMagic = 0x31746977646f67ULL;  // "godwit1"
  std::uint64_t magic;
  std::uint32_t layout;       // sizeof(TelemetryHeader): another build's file is refused
  std::uint32_t event_slots;  // a power of two, or 0: no events are kept
  std::uint64_t start_ns;
  std::uint32_t process;
  char program[64];
  char device[64];            // set once a device is in use
  char engine[32];
  std::atomic<std::uint64_t> events_written;  // the newest event_slots of them are in the ring
  Statistics statistics;
};

/// Thread-safe. record() never blocks and never allocates: the newest events overwrite the oldest.
class Telemetry {
 public:
  /// `path` empty: private memory. Otherwise the file is created (it must not exist) and its space
  /// is claimed at once, so that a full disk is an error here and not a SIGBUS later.
  [[nodiscard]] static Result<std::unique_ptr<Telemetry>> create(const std::string& path,
                                                                 std::uint32_t event_slots);
  /// Maps an existing file for reading. Errors: kIo, kInvalidArgument (not ours, other layout).
  [[nodiscard]] static Result<std::unique_ptr<Telemetry>> open(const std::string& path);
  ~Telemetry();
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;

  [[nodiscard]] Statistics& statistics() noexcept { return header_->statistics; }
  [[nodiscard]] const TelemetryHeader& header() const noexcept { return *header_; }
  [[nodiscard]] bool recording() const noexcept { return header_->event_slots != 0; }
  /// In the child after a fork: goes on in memory of its own, starting from the same values.
  void make_private() noexcept;
  void set_names(std::string_view engine, std::string_view device) noexcept;

  /// `sequence` and `thread` are filled in here.
  void record(EventKind kind, Cause cause, std::uint64_t start_ns, std::uint64_t address,
              std::uint64_t bytes, bool to_device, std::uint8_t detail = 0) noexcept;

  struct PlainEvent {
    std::uint64_t sequence, start_ns, duration_ns, address, bytes;
    std::uint32_t thread;
    EventKind kind;
    Cause cause;
    bool to_device;
    std::uint8_t detail;
  };
  /// The events that are still in the ring and whole, oldest first. `lost`: overwritten ones.
  [[nodiscard]] std::vector<PlainEvent> events(std::uint64_t* lost) const;

 private:
  Telemetry(TelemetryHeader* header, std::size_t bytes) : header_(header), bytes_(bytes) {}
  [[nodiscard]] Event* ring() const noexcept;
  TelemetryHeader* header_;
  std::size_t bytes_;
};

/// Nanoseconds of CLOCK_MONOTONIC.
[[nodiscard]] std::uint64_t monotonic_ns() noexcept;

}  // namespace godwit
