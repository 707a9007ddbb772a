// SPDX-License-Identifier: MIT
// The kernel engine and processes, in the VM: forks, accounts of VRAM, shared memory, views passed on.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "tests/contract/kernel/engine_fixture.h"

namespace godwit {
namespace {

int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// What the DRM's own account says of a descriptor of this process.
std::uint64_t vram_of(int fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd));
  for (std::string line; std::getline(info, line);) {
    std::uint64_t value = 0;
    char unit[8] = {};
    const int got = std::sscanf(line.c_str(), "drm-total-vram0: %lu %7s", &value, unit);
    if (got >= 1) return got == 2 && unit[0] == 'K' ? value << 10 : got == 2 ? value << 20 : value;
  }
  return ~std::uint64_t{0};
}

TEST_F(KernelEngineTest, AChildSeesTheBytesOfTheForkAndTheParentGoesOn) {
  auto* words = static_cast<std::uint32_t*>(std::malloc(kBytes));
  for (std::size_t i = 0; i < kBytes / 4; ++i) words[i] = word_at(i);
  ASSERT_DONE(add(words, kBytes, 1));
  engine_->prepare_fork();
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    engine_->after_fork_in_child();
    char byte = 0;
    if (::read(go[0], &byte, 1) != 1) ::_exit(2);
    for (std::size_t i = 0; i < kBytes / 4; ++i) {
      if (words[i] != word_at(i) + 1) ::_exit(3);
    }
    std::memset(words, 9, kBytes);
    if (engine_->device() || engine_->prefetch(words, kBytes, Place::kDevice)) ::_exit(4);
    ::_exit(engine_->detached() ? 0 : 5);
  }
  engine_->after_fork_in_parent();
  const auto added = add(words, kBytes, 1);  // the child's pages are a copy
  EXPECT_TRUE(added) << added.error().to_string();
  ASSERT_EQ(::write(go[1], "x", 1), 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  for (std::size_t i = 0; i < kBytes / 4; ++i) ASSERT_EQ(words[i], word_at(i) + 2) << i;
  ASSERT_DONE(add(words, kBytes, 1));
  EXPECT_EQ(words[9], word_at(9) + 3);
  ::close(go[0]);
  ::close(go[1]);
  std::free(words);
}

TEST_F(KernelEngineTest, EachProcessHasItsOwnAccountOfVram) {
  auto* region = static_cast<std::byte*>(*engine_->allocate(4 * kBytes, 1));
  std::memset(region, 1, 4 * kBytes);
  ASSERT_TRUE(engine_->prefetch(region, 4 * kBytes, Place::kDevice));
  const std::uint64_t mine = vram_of(engine_->driver().fd());
  EXPECT_EQ(mine, 4 * kBytes);
  engine_->prepare_fork();
  const int status = in_child([&] {
    engine_->after_fork_in_child();
    auto driver = kernel::open_render_node("", GODWIT_UAPI_VERSION);
    if (!driver || vram_of((*driver)->fd()) != 0) return 2;
    auto telemetry = Telemetry::create("", 0);
    KernelEngineOptions options;
    options.arena_bytes = std::size_t{64} << 20;
    options.make_device = soft_on;
    auto engine = KernelEngine::create(std::move(*driver), **telemetry, std::move(options));
    if (!engine) return 3;
    auto own = (*engine)->allocate(2 * kBytes, 1);
    if (!own) return 4;
    std::memset(*own, 2, 2 * kBytes);
    auto moved = (*engine)->prefetch(*own, 2 * kBytes, Place::kDevice);
    if (!moved || moved->moved != 2 * kBytes / kPageBytes) return 5;
    if (vram_of((*engine)->driver().fd()) != 2 * kBytes) return 6;
    (*engine)->refresh_statistics();
    return (*telemetry)->statistics().vram_bytes == 2 * kBytes ? 0 : 7;
  });
  engine_->after_fork_in_parent();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(vram_of(engine_->driver().fd()), mine);
}

TEST_F(KernelEngineTest, MemoryThatProcessesShareIsWorkedOnInPlace) {
  auto* words = static_cast<std::uint32_t*>(
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (std::size_t i = 0; i < kBytes / 4; ++i) words[i] = word_at(i);
  ASSERT_DONE(add(words, kBytes, 1));
  engine_->prepare_fork();
  const int status = in_child([&] {
    engine_->after_fork_in_child();
    for (std::size_t i = 0; i < kBytes / 4; ++i) {
      if (words[i] != word_at(i) + 1) return 2;
      words[i] += 10;
    }
    return 0;
  });
  engine_->after_fork_in_parent();
  ASSERT_EQ(status, 0);
  ASSERT_DONE(add(words, kBytes, 100));
  for (std::size_t i = 0; i < kBytes / 4; ++i) ASSERT_EQ(words[i], word_at(i) + 111) << i;
  ::munmap(words, kBytes);
}

TEST_F(KernelEngineTest, AViewPassedOverASocketShowsThisProcesssMemory) {
  auto* words = static_cast<std::uint32_t*>(*engine_->allocate(kBytes, 1));
  for (std::size_t i = 0; i < kBytes / 4; ++i) words[i] = word_at(i);
  auto view = engine_->view(words, kBytes);
  ASSERT_TRUE(view) << view.error().to_string();
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(*view);  // what counts is what comes through the socket
    char byte = 0;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    iovec data{&byte, 1};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (::recvmsg(pair[1], &message, 0) != 1) ::_exit(2);
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    auto* seen = static_cast<std::uint32_t*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (seen == MAP_FAILED) ::_exit(3);
    for (std::size_t i = 0; i < kBytes / 4; ++i) {
      if (seen[i] != word_at(i)) ::_exit(4);
      seen[i] += 3;
    }
    ::_exit(0);
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 'v';
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &*view, sizeof(int));
  ASSERT_EQ(::sendmsg(pair[0], &message, 0), 1);
  ::close(*view);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(in_vram(words, kBytes), kBytes / kPageBytes) << "its touches are the device's";
  EXPECT_EQ(vram_of(engine_->driver().fd()), kBytes) << "and count for whose memory it is";
  for (std::size_t i = 0; i < kBytes / 4; ++i) ASSERT_EQ(words[i], word_at(i) + 3) << i;
  ::close(pair[0]);
  ::close(pair[1]);
}

}  // namespace
}  // namespace godwit
