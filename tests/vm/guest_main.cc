// SPDX-License-Identifier: MIT
// main of GoogleTest programs for the VM. It writes each case's name into the kernel's log, so that
// a complaint there is charged to the case that caused it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#ifdef __SANITIZE_THREAD__
// A report belongs to the case in which the program ends. Children of tests have engines, and so
// threads, of their own.
extern "C" const char* __tsan_default_options();   // NOLINT: the sanitizer's name
extern "C" const char* __tsan_default_options() {  // NOLINT
  return "halt_on_error=1:second_deadlock_stack=1:die_after_fork=0";
}
#endif

namespace {

class Marker : public testing::EmptyTestEventListener {
 public:
  Marker() : log_(open("/dev/kmsg", O_WRONLY | O_CLOEXEC)) {}
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;
  ~Marker() override {
    if (log_ >= 0) close(log_);
  }

  void OnTestStart(const testing::TestInfo& info) override {
    const std::string mark =
        std::string("<6>godwit-vm: case ") + info.test_suite_name() + "." + info.name();
    // Without the mark a complaint is the program's instead of the case's.
    [[maybe_unused]] const ssize_t written = log_ < 0 ? 0 : write(log_, mark.data(), mark.size());
  }

 private:
  int log_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new Marker);
  return RUN_ALL_TESTS();
}
