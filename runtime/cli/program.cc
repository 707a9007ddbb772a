// SPDX-License-Identifier: MIT
#include "runtime/cli/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <system_error>

#include "runtime/cli/group_witness.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::cli {
namespace {

constexpr std::array kHandedOn = {SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGUSR1,
                                  SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP};

std::string error_text(int error) { return std::generic_category().message(error); }

sigset_t watched_signals(bool with_pipe) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  if (with_pipe) ::sigaddset(&set, SIGPIPE);
  for (const int signal : kHandedOn) ::sigaddset(&set, signal);
  return set;
}

// `environment` over the process's own.
std::vector<std::string> merged(const std::vector<std::string>& environment) {
  std::vector<std::string> result = environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view old = *entry;
    const std::string_view name = old.substr(0, old.find('=') + 1);
    bool replaced = false;
    for (const std::string& variable : environment) replaced |= variable.starts_with(name);
    if (!replaced) result.emplace_back(old);
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Stops this process as its terminal wants it, until it is continued.
void stop_self(int signal) {
  sigset_t one;
  ::sigemptyset(&one);
  ::sigaddset(&one, signal);
  // Sent while it is blocked: it becomes one with the terminal's own, which may be waiting there.
  ::kill(::getpid(), signal);
  sigset_t before;
  ::pthread_sigmask(SIG_UNBLOCK, &one, &before);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The program's end, if it has ended. Stops this process where the program was stopped.
std::optional<ProgramEnd> look_after(pid_t child) {
  while (true) {
    int status = 0;
    const pid_t changed = ::waitpid(child, &status, WNOHANG | WUNTRACED);
    if (changed < 0 && errno == EINTR) continue;
    if (changed <= 0) return std::nullopt;
    if (WIFEXITED(status)) return ProgramEnd{.status = WEXITSTATUS(status), .signal = 0};
    if (WIFSIGNALED(status)) {
      return ProgramEnd{.status = 128 + WTERMSIG(status), .signal = WTERMSIG(status)};
    }
    // Not for SIGSTOP: whoever sent it to the program alone will continue the program alone.
    const int stop = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
    if (stop == SIGTSTP || stop == SIGTTIN || stop == SIGTTOU) stop_self(stop);
  }
}

ProgramEnd wait_for(pid_t child, GroupWitness& witness) {
  const sigset_t set = watched_signals(false);
  while (true) {
    if (const auto end = look_after(child)) return *end;
    siginfo_t info;
    const int signal = ::sigwaitinfo(&set, &info);
    if (signal < 0 || signal == SIGCHLD) continue;
    const std::uint64_t now = monotonic_ns();
    const bool same_group = ::getpgid(child) == ::getpgrp();
    // The program may send one to its own group, as `kill 0` in a script does, or to its parent.
    if (witness.saw(signal, now) && same_group) continue;
    ::kill(child, signal);
  }
}

}  // namespace

SignalBlock::SignalBlock() {
  const sigset_t set = watched_signals(true);
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
  // A caller that ignores SIGCHLD hands that on, and then no exit status could be had.
  struct sigaction defaults {};
  defaults.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &defaults, &child_before_);
}

void SignalBlock::end() {
  if (!active_) return;
  active_ = false;
  const sigset_t set = watched_signals(false);
  const timespec at_once{};
  while (::sigtimedwait(&set, nullptr, &at_once) > 0) {
  }
  // SIGPIPE stays blocked: a report that nobody reads must not change the exit status.
  sigset_t mask = before_;
  ::sigaddset(&mask, SIGPIPE);
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

SignalBlock::~SignalBlock() { end(); }

void SignalBlock::restore_in_child() const {
  ::sigaction(SIGCHLD, &child_before_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

tl::expected<ProgramEnd, StartError> run_program(const std::vector<std::string>& command,
                                                 const std::vector<std::string>& environment,
                                                 const SignalBlock& block) {
  const auto own_failure = [](const std::string& what) {
    return tl::unexpected(StartError{.status = 125, .message = what});
  };
  // All memory is allocated before the fork.
  std::vector<std::string> words = command;
  std::vector<std::string> variables = merged(environment);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  auto witness = GroupWitness::start();
  if (!witness) return own_failure(witness.error().message);
  int failure[2];
  if (::pipe2(failure, O_CLOEXEC) != 0) {
    return own_failure("cannot create a pipe: " + error_text(errno));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    block.restore_in_child();
    ::execvpe(argv[0], argv.data(), envp.data());
    const int error = errno;
    const ssize_t written = ::write(failure[1], &error, sizeof(error));
    ::_exit(written == sizeof(error) ? 126 : 125);
  }
  const int fork_error = errno;
  ::close(failure[1]);
  if (child < 0) {
    ::close(failure[0]);
    return own_failure("cannot fork: " + error_text(fork_error));
  }
  int error = 0;
  ssize_t count = 0;
  do {
    count = ::read(failure[0], &error, sizeof(error));
  } while (count < 0 && errno == EINTR);
  ::close(failure[0]);
  if (count == sizeof(error)) {
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    return tl::unexpected(
        StartError{.status = error == ENOENT ? 127 : 126,
                   .message = fmt::format("cannot run {}: {}", command[0], error_text(error))});
  }
  return wait_for(child, *witness);
}

}  // namespace godwit::cli
