// SPDX-License-Identifier: MIT
// The program that `godwit run` runs: starting it, waiting for it, and handing signals on.
#pragma once

#include <csignal>
#include <string>
#include <vector>

#include "godwit/result.h"

namespace godwit::cli {

/// Blocks the signals that are handed on, and SIGCHLD and SIGPIPE, for as long as it lives. Threads
/// that exist before must have blocked them already.
class SignalBlock {
 public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;
  /// Discards what arrived meanwhile and lets signals through again (SIGPIPE stays blocked).
  void end();
  /// After a fork: the program gets what this process's caller had set up.
  void restore_in_child() const;

 private:
  sigset_t before_;
  struct sigaction child_before_ {};
  bool active_ = true;
};

struct ProgramEnd {
  int status = 0;  // as a shell has it: the exit status, or 128 + the signal
  int signal = 0;  // that killed it, or 0
};

/// What a failed start means for godwit's own exit status: 127 (not found) or 126.
struct StartError {
  int status;
  std::string message;
};

/// Starts `command` with `environment` ("NAME=VALUE") on top of this process's own, waits for its
/// end, and meanwhile hands on SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH,
/// SIGCONT and SIGTSTP exactly once. A program that is stopped by its terminal stops this process
/// as well.
[[nodiscard]] tl::expected<ProgramEnd, StartError> run_program(
    const std::vector<std::string>& command, const std::vector<std::string>& environment,
    const SignalBlock& block);

}  // namespace godwit::cli
