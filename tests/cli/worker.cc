// SPDX-License-Identifier: MIT
// The program that the tests of `godwit run` run. Knows nothing of Godwit.
//   worker signals FILE      writes "ready" to FILE, then how often each signal came, when it has
//                            been quiet for half a second after the first
//   worker stop FILE         the same, but stops at SIGTSTP as programs do, and has no quiet before
//                            SIGINT
//   worker touch MIB         a block of memory is written and read back
//   worker fork MIB          and a child reads its parent's block
//   worker multiply N        a matrix product through whatever dgemm_ there is; "none" without one
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>

namespace {

constexpr std::array kSignals = {SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGUSR1,
                                 SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP};

void add_line(const char* file, const std::string& text) {
  const int fd = ::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string line = text + "\n";
  if (fd < 0 || ::write(fd, line.data(), line.size()) < 0) std::exit(40);
  ::close(fd);
}

int count_signals(const char* file, bool stops) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kSignals) {
    if (signal != SIGTSTP || !stops) ::sigaddset(&set, signal);
  }
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  add_line(file, "ready");
  std::array<int, 65> counts{};
  int total = 0;
  while (true) {
    const bool quiet = total != 0 && (!stops || counts[SIGINT] != 0);
    const timespec patience = quiet ? timespec{0, 500'000'000} : timespec{20, 0};
    const int signal = ::sigtimedwait(&set, nullptr, &patience);
    if (signal < 0 && errno == EINTR) continue;
    if (signal < 0) break;
    ++counts[static_cast<std::size_t>(signal)];
    ++total;
  }
  for (const int signal : kSignals) {
    const int count = counts[static_cast<std::size_t>(signal)];
    if (count != 0) add_line(file, std::to_string(signal) + " " + std::to_string(count));
  }
  add_line(file, "end");
  return total == 0 ? 41 : 0;
}

std::uint64_t pattern(std::size_t index) { return index * 0x9e3779b97f4a7c15ULL + 1; }

int check(const std::uint64_t* words, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (words[i] != pattern(i)) return 42;
  }
  return 0;
}

int touch(std::size_t bytes, bool with_child) {
  const std::size_t count = bytes / sizeof(std::uint64_t);
  const std::unique_ptr<std::uint64_t, decltype(&std::free)> block(
      static_cast<std::uint64_t*>(std::malloc(bytes)), &std::free);
  if (block == nullptr) return 43;
  for (std::size_t i = 0; i < count; ++i) block.get()[i] = pattern(i);
  if (with_child) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(check(block.get(), count));
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) return 44;
  }
  return check(block.get(), count);
}

using Dgemm = void (*)(const char*, const char*, const int*, const int*, const int*, const double*,
                       const double*, const int*, const double*, const int*, const double*, double*,
                       const int*);

int multiply(int n) {
  const auto dgemm = reinterpret_cast<Dgemm>(::dlsym(RTLD_DEFAULT, "dgemm_"));
  if (dgemm == nullptr) {
    std::puts("none");
    return 0;
  }
  const auto elements = static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
  const auto matrix = [&](double value) {
    std::unique_ptr<double, decltype(&std::free)> result(
        static_cast<double*>(std::malloc(elements * sizeof(double))), &std::free);
    for (std::size_t i = 0; i < elements; ++i) result.get()[i] = value;
    return result;
  };
  const auto a = matrix(2);
  const auto b = matrix(3);
  const auto c = matrix(1);
  const double alpha = 1;
  const double beta = 1;
  dgemm("N", "N", &n, &n, &n, &alpha, a.get(), &n, b.get(), &n, &beta, c.get(), &n);
  for (std::size_t i = 0; i < elements; ++i) {
    if (c.get()[i] != 6.0 * n + 1) return 45;
  }
  std::puts("right");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string what = argv[1];
  if (what == "signals" || what == "stop") return count_signals(argv[2], what == "stop");
  const int number = std::atoi(argv[2]);
  if (what == "touch" || what == "fork") {
    return touch(static_cast<std::size_t>(number) << 20, what == "fork");
  }
  if (what == "multiply") return multiply(number);
  return 2;
}
