// SPDX-License-Identifier: MIT
// What the tests about the operating system share: buffers that are in VRAM, files, children whose
// end is waited for within bounds, and loads and stores that may get a signal.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <span>
#include <string>
#include <vector>

#include "tests/contract/fixture.h"

namespace godwit::contract {

/// How long a child or a thread may take before it counts as hung.
inline constexpr std::chrono::seconds kHangPatience{30};

/// The user engine at both levels.
[[nodiscard]] std::vector<Setup> both_level_setups();

/// The bytes that Contract::fill(base, bytes, seed) writes.
[[nodiscard]] std::vector<std::byte> pattern_bytes(std::size_t bytes, std::uint32_t seed);
/// Empty, or where the first byte differs.
[[nodiscard]] std::string difference(std::span<const std::byte> got,
                                     std::span<const std::byte> wanted);

/// A file without a name, gone with the object.
class TempFile {
 public:
  TempFile();
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  /// The same file once more, with these flags; -1 where the file system has no such thing.
  [[nodiscard]] int reopen(int flags) const;
  void put(std::span<const std::byte> bytes) const;
  [[nodiscard]] std::vector<std::byte> get(std::size_t bytes) const;

 private:
  int fd_ = -1;
};

/// Both ends of a pipe that two processes use to wait for each other.
class Turn {
 public:
  Turn();
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  void give() const;
  /// False when the other side is gone, or silent for kHangPatience.
  [[nodiscard]] bool take() const;

 private:
  int ends_[2] = {-1, -1};
};

/// Waits for a child, and ends it where it hangs. Empty when it exited with 0, else how it ended.
[[nodiscard]] std::string reap(pid_t child);

/// fork() with the engine's hooks around it, as pthread_atfork calls them.
[[nodiscard]] pid_t fork_with(Engine& engine);
/// clone(SIGCHLD): nobody is told, neither the engine nor the C library. The child may not
/// allocate.
[[nodiscard]] pid_t raw_fork();
/// In a child: exits with 1 where a GoogleTest assertion failed, else with 0.
[[noreturn]] void leave_child();

/// Ends the process, with a word why, unless it is destroyed in time: for tests whose failure is a
/// thread that sleeps in the kernel for ever.
class Watchdog {
 public:
  explicit Watchdog(const char* what);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::promise<void> done_;
  std::future<void> watch_;
};

/// The signal that a load or store of one byte gets, or 0.
enum class Touch { kLoad, kStore };
[[nodiscard]] int signal_of(std::byte* address, Touch touch);

/// Threads of this process by that name.
[[nodiscard]] std::size_t threads_named(const std::string& name);

/// Contract, and what tests of system calls need on top.
class OsContract : public Contract {
 protected:
  /// A region with pattern `seed` whose pages are in VRAM (at the resident level: there as well).
  [[nodiscard]] std::byte* in_vram(std::size_t bytes, std::uint32_t seed);
  void expect_in_vram(const std::byte* base, std::size_t bytes);
  [[nodiscard]] static std::size_t stayed(const MoveReport& report, StayReason reason) {
    return report.stayed_for[static_cast<std::size_t>(reason)];
  }
  /// Which pages stayed, and why, for a test's message.
  [[nodiscard]] static std::string stays_of(const MoveReport& report);
  /// Runs `body` in a child that has an engine of its own, made there; for what may hang or die.
  /// Empty, or how the child ended.
  [[nodiscard]] std::string in_fresh_child(const std::function<void()>& body);
};

}  // namespace godwit::contract
