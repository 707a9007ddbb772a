// SPDX-License-Identifier: MIT
#include "runtime/cli/group_witness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/src/stats/telemetry.h"

namespace godwit::cli {

Result<GroupWitness> GroupWitness::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "cannot create a pipe");
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process < 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return fail_errno(error, "cannot fork");
  }
  if (process == 0) {
    // It must not outlive `godwit run`, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(0);
    ::prctl(PR_SET_NAME, "godwit-witness");
    // Whoever reads the program's output waits until the last descriptor of the pipe is closed.
    const auto kept = static_cast<unsigned>(ends[1]);
    ::close_range(0, kept - 1, 0);
    ::close_range(kept + 1, ~0U, 0);
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    while (true) {
      siginfo_t info;
      const int signal = ::sigwaitinfo(&all, &info);
      if (signal < 0) continue;
      const Report report = {.signal = signal, .when_ns = monotonic_ns()};
      // Fails only where nobody is left to read (SIGPIPE is blocked).
      if (::write(ends[1], &report, sizeof(report)) != sizeof(report)) ::_exit(0);
    }
  }
  ::close(ends[1]);
  return GroupWitness(process, ends[0]);
}

GroupWitness::GroupWitness(GroupWitness&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      pipe_(std::exchange(other.pipe_, -1)),
      gone_(other.gone_),
      reports_(std::move(other.reports_)) {}

GroupWitness::~GroupWitness() {
  if (process_ <= 0) return;
  ::close(pipe_);
  ::kill(process_, SIGKILL);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool GroupWitness::read_report(int timeout_ms) {
  pollfd ready = {.fd = pipe_, .events = POLLIN, .revents = 0};
  if (::poll(&ready, 1, timeout_ms) <= 0) return false;
  Report report{};
  // Smaller than PIPE_BUF: never torn.
  gone_ = ::read(pipe_, &report, sizeof(report)) != sizeof(report);
  if (gone_) return false;
  reports_.push_back(report);
  return true;
}

bool GroupWitness::take(int signal, std::uint64_t when_ns) {
  // Several that came before this process had time for the first are one to it.
  const auto earlier = [&](const Report& report) {
    return report.signal == signal && report.when_ns <= when_ns;
  };
  if (std::erase_if(reports_, earlier) != 0) return true;
  const auto later = std::find_if(reports_.begin(), reports_.end(),
                                  [&](const Report& report) { return report.signal == signal; });
  if (later == reports_.end()) return false;
  reports_.erase(later);
  return true;
}

bool GroupWitness::is_busy() const {
  std::ifstream file("/proc/" + std::to_string(process_) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return false;
  // Whoever sends it a signal that it waits for makes it runnable. Stopped, it goes on later.
  return std::string_view("RDTt").find(text[name_end + 2]) != std::string_view::npos;
}

bool GroupWitness::saw(int signal, std::uint64_t when_ns) {
  constexpr std::uint64_t kStepNs = 10'000'000;
  std::erase_if(reports_,
                [&](const Report& report) { return report.when_ns + kPatienceNs < when_ns; });
  while (true) {
    // In this order: what it did before it went to sleep is in the pipe.
    const bool busy = is_busy();
    while (read_report(0)) {
    }
    if (take(signal, when_ns)) return true;
    const std::uint64_t now = monotonic_ns();
    const std::uint64_t end = when_ns + (busy ? kPatienceNs : kWindowNs);
    if (gone_ || now >= end) return false;
    const std::uint64_t left = busy ? std::min(end - now, kStepNs) : end - now;
    (void)read_report(static_cast<int>((left + 999'999) / 1'000'000));
  }
}

}  // namespace godwit::cli
