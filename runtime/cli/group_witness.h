// SPDX-License-Identifier: MIT
// Tells whether a signal was sent to this process alone or to its whole process group.
//
// The kernel does not say: a Ctrl-C is recognisable (SI_KERNEL), but `kill -INT -GROUP`, a shell's
// `kill %1` and a batch system look like a signal to this process. The witness is a child in the
// same group that does nothing but report the signals it gets: what reached it too was sent to the
// group, and so reached the program as well, and must not be forwarded to it a second time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "godwit/result.h"

namespace godwit::cli {

class GroupWitness {
 public:
  /// The signals that will be asked about must be blocked. Errors: that of fork or pipe.
  [[nodiscard]] static Result<GroupWitness> start();
  ~GroupWitness();
  GroupWitness(GroupWitness&& other) noexcept;
  GroupWitness& operator=(GroupWitness&&) = delete;

  /// Whether the witness got `signal` as well, at about the time at which this process did
  /// (CLOCK_MONOTONIC, nanoseconds). Waits for it kWindowNs, and longer, up to kPatienceNs, where
  /// the witness has something to do that no processor has time for.
  [[nodiscard]] bool saw(int signal, std::uint64_t when_ns);

  [[nodiscard]] pid_t process() const { return process_; }

 private:
  struct Report {
    int signal;
    std::uint64_t when_ns;
  };
  static constexpr std::uint64_t kWindowNs = 50'000'000;
  static constexpr std::uint64_t kPatienceNs = 3'000'000'000;
  GroupWitness(pid_t process, int pipe) : process_(process), pipe_(pipe) {}
  [[nodiscard]] bool read_report(int timeout_ms);
  [[nodiscard]] bool take(int signal, std::uint64_t when_ns);
  /// False where it waits for signals, and has reported all that it got.
  [[nodiscard]] bool is_busy() const;

  pid_t process_;
  int pipe_;
  bool gone_ = false;
  std::vector<Report> reports_;  // not asked for yet
};

}  // namespace godwit::cli
