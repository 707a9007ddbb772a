// SPDX-License-Identifier: MIT
// A program for process_test: the first argument says how it lives and ends.
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr size_t kBytes = 1024 * 1024;

constinit char* kept_from_early = nullptr;

char* touched(size_t bytes) {
  auto* block = static_cast<char*>(malloc(bytes));
  if (block == nullptr) _exit(20);
  memset(block, 7, bytes);
  return block;
}

void check_early(int what, bool right) {
  if (!right) _exit(what);
}

// Before the constructors of all libraries, libgodwit_malloc.so's included.
void before_constructors() {
  auto* small = static_cast<char*>(malloc(100));
  auto* cleared = static_cast<char*>(calloc(100, 100));
  auto* large = static_cast<char*>(malloc(4 * kBytes));
  check_early(21, small != nullptr && cleared != nullptr && large != nullptr);
  check_early(22, cleared[0] == 0 && cleared[9999] == 0);
  memset(large, 3, 4 * kBytes);
  small = static_cast<char*>(realloc(small, 2 * kBytes));
  check_early(23, small != nullptr);
  void* aligned = nullptr;
  check_early(24, posix_memalign(&aligned, 4096, kBytes) == 0);
  // dlsym() allocates when it fails.
  check_early(25, dlsym(RTLD_DEFAULT, "no_such_symbol_godwit") == nullptr);
  check_early(26, dlerror() != nullptr);
  free(small);
  free(cleared);
  free(aligned);
  // Kept, to be freed when everything runs.
  kept_from_early = large;
}

// Allocated now, used by the destructors of the program, after main.
struct Late {
  char* block = touched(8 * kBytes);
  ~Late() {
    for (size_t at = 0; at < 8 * kBytes; ++at) {
      if (block[at] != 7) _exit(30);
    }
    free(block);
    free(touched(2 * kBytes));
  }
};

void run_for_a_while(int milliseconds) { usleep(static_cast<useconds_t>(milliseconds) * 1000); }

void allocate_for_ever() {
  for (;;) free(touched(kBytes));
}

// The whole family, and a fork, on a thread that is to be cancelled: none of them is a point of
// cancellation. The first call makes the context.
void* run_cancelled(void* last) {
  pthread_cancel(pthread_self());
  char* block = touched(kBytes);
  auto* cleared = static_cast<char*>(calloc(3, kBytes));
  if (cleared == nullptr || cleared[kBytes] != 0) _exit(40);
  block = static_cast<char*>(realloc(block, 6 * kBytes));
  if (block == nullptr || block[kBytes - 1] != 7) _exit(41);
  madvise(cleared, kBytes, MADV_DONTNEED);
  const pid_t child = fork();
  if (child == 0) _exit(block[0] == 7 ? 0 : 1);
  free(cleared);
  free(block);
  free(touched(kBytes));
  // waitpid() is such a point.
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  int status = -1;
  if (waitpid(child, &status, 0) != child || status != 0) _exit(42);
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
  *static_cast<bool*>(last) = true;
  pthread_testcancel();
  return nullptr;
}

int cancelled() {
  bool last = false;
  pthread_t thread;
  void* result = nullptr;
  if (pthread_create(&thread, nullptr, run_cancelled, &last) != 0) return 43;
  pthread_join(thread, &result);
  return last && result == PTHREAD_CANCELED ? 0 : 44;
}

}  // namespace

[[gnu::section(".preinit_array"), gnu::used]] void (*const preinit)() = before_constructors;

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  check_early(27, kept_from_early != nullptr && kept_from_early[kBytes] == 3);
  free(kept_from_early);
  if (mode == "cancelled") return cancelled();
  static Late late;
  char* block = touched(16 * kBytes);
  // Long enough for the chaos thread to be in the middle of something.
  run_for_a_while(200);
  if (mode == "return") return 0;
  if (mode == "_exit") _exit(0);
  if (mode == "quick_exit") quick_exit(0);
  if (mode == "exit-in-thread") {
    std::thread([] { exit(0); }).join();
    return 31;
  }
  if (mode == "atexit") {
    static char* seen = block;
    atexit([] {
      for (size_t at = 0; at < 16 * kBytes; ++at) {
        if (seen[at] != 7) _exit(32);
      }
      free(seen);
      free(touched(4 * kBytes));
    });
    return 0;
  }
  if (mode == "threads-running") {
    for (int count = 0; count < 8; ++count) std::thread(allocate_for_ever).detach();
    run_for_a_while(300);
    return 0;
  }
  if (mode == "low-descriptors") {
    // As shells and daemons do: what is not theirs between 3 and 63 is closed or replaced.
    for (int fd = 3; fd < 64; ++fd) {
      if (fd % 2 == 0) {
        close(fd);
      } else {
        dup2(STDIN_FILENO, fd);
      }
    }
    alarm(60);
    for (int round = 0; round < 20; ++round) {
      run_for_a_while(5);
      for (size_t at = 0; at < 16 * kBytes; ++at) {
        if (block[at] != 7) return 35;
      }
      free(touched(2 * kBytes));
    }
    return 0;
  }
  if (mode == "crash") {
    signal(SIGSEGV, SIG_DFL);
    volatile char* volatile nowhere = reinterpret_cast<volatile char*>(8);
    *nowhere = 1;
    return 33;
  }
  return 34;
}
