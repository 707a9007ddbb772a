// SPDX-License-Identifier: MIT
#include "tests/kernel/peer.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/kernel/card.h"

namespace godwit::guest {
namespace {

constexpr const char* kModule = "/modules/drivers/edu/godwit_edu.ko";
constexpr size_t kBaitBytes = size_t{16} << 20;

std::vector<std::string> engines() { return pci_devices("0x1234", "0x11e8"); }

edu_transfer transfer_of(uint64_t offset, const void* buffer, size_t length, uint32_t flags = 0) {
  edu_transfer args = {};
  args.offset = offset;
  args.buffer = reinterpret_cast<uintptr_t>(buffer);
  args.length = static_cast<uint32_t>(length);
  args.flags = flags;
  return args;
}

}  // namespace

Export::Export(const Device& device, const void* addr, size_t length) {
  drm_godwit_export args = {};
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  EXPECT_EQ(device.call(DRM_IOCTL_GODWIT_EXPORT, &args), 0);
  fd_ = args.fd;
  offset_ = args.offset;
}

Export::~Export() { close(); }

void Export::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool Edu::loaded() { return access("/sys/module/godwit_edu", F_OK) == 0; }

int Edu::count() { return static_cast<int>(engines().size()); }

bool Edu::load() {
  if (loaded()) return true;
  if (access(kModule, R_OK) != 0) return false;
  EXPECT_EQ(system((std::string("insmod ") + kModule).c_str()), 0);
  return loaded();
}

Edu::Edu(int number) {
  const auto found = engines();
  if (static_cast<size_t>(number) >= found.size()) {
    ADD_FAILURE() << "no edu device number " << number << ": is this VM without --pci?";
    return;
  }
  const std::string node = "/dev/godwit_edu." + found[static_cast<size_t>(number)];
  fd_ = open(node.c_str(), O_RDWR | O_CLOEXEC);
  if (fd_ < 0) ADD_FAILURE() << node << ": " << strerror(errno);
}

Edu::~Edu() {
  if (fd_ >= 0) close(fd_);
}

int Edu::import(int dmabuf, uint32_t mode) const {
  edu_import args = {};
  args.fd = dmabuf;
  args.mode = mode;
  return ioctl(fd_, EDU_IMPORT, &args) == 0 ? 0 : -errno;
}

int Edu::pin() const { return ioctl(fd_, EDU_PIN) == 0 ? 0 : -errno; }

int Edu::unpin() const { return ioctl(fd_, EDU_UNPIN) == 0 ? 0 : -errno; }

int Edu::turns(uint32_t rounds) const { return ioctl(fd_, EDU_TURNS, &rounds) == 0 ? 0 : -errno; }

int Edu::transfer(unsigned long request, edu_transfer* args, uint64_t* address) const {
  const int status = ioctl(fd_, request, args) == 0 ? 0 : -errno;
  if (address != nullptr) *address = args->address;
  return status;
}

int Edu::read(uint64_t offset, void* to, size_t length, uint64_t* address) const {
  edu_transfer args = transfer_of(offset, to, length);
  return transfer(EDU_READ, &args, address);
}

int Edu::write(uint64_t offset, const void* from, size_t length, uint64_t* address) const {
  edu_transfer args = transfer_of(offset, from, length);
  return transfer(EDU_WRITE, &args, address);
}

int Edu::write_until(uint32_t flags, uint64_t offset, const void* from, size_t length) const {
  edu_transfer args = transfer_of(offset, from, length, flags);
  return transfer(EDU_WRITE, &args, nullptr);
}

int Edu::copy(uint64_t from, uint64_t to, size_t length) const {
  edu_transfer args = transfer_of(from, nullptr, length);
  args.buffer = to;
  return transfer(EDU_COPY, &args, nullptr);
}

edu_counts Edu::counts() const {
  edu_counts counts = {};
  EXPECT_EQ(ioctl(fd_, EDU_COUNTS, &counts), 0) << strerror(errno);
  return counts;
}

int Edu::await(uint64_t* begun) const {
  __u64 args = *begun;
  if (ioctl(fd_, EDU_AWAIT, &args) != 0) return -errno;
  *begun = args;
  return 0;
}

int Edu::finish() const { return ioctl(fd_, EDU_FINISH) == 0 ? 0 : -errno; }

struct Bait::State {
  std::atomic<bool> stop{false};
  std::thread thread;
  uint64_t rounds = 0;
  bool wrong = false;
};

Bait::Bait() : state_(new State) {
  state_->thread = std::thread([state = state_] {
    // Filled, left for a while (longer than a transfer takes, in all), and checked.
    std::vector<void*> blocks(8, nullptr);
    for (uint64_t round = 0; !state->stop; ++round) {
      void*& block = blocks[round % blocks.size()];
      const uint64_t seed = round % blocks.size() + 1000;
      if (block != nullptr) {
        state->wrong |= differs(block, kBaitBytes / 8, seed) != -1;
        munmap(block, kBaitBytes / 8);
      }
      block = mmap(nullptr, kBaitBytes / 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block == MAP_FAILED) {
        state->wrong = true;
        return;
      }
      fill(block, kBaitBytes / 8, seed);
      ++state->rounds;
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i] == nullptr) continue;
      state->wrong |= differs(blocks[i], kBaitBytes / 8, i + 1000) != -1;
      munmap(blocks[i], kBaitBytes / 8);
    }
  });
}

Bait::~Bait() {
  state_->stop = true;
  state_->thread.join();
  EXPECT_FALSE(state_->wrong) << "a device wrote to a page that was given up";
  EXPECT_GT(state_->rounds, 0u);
  delete state_;
}

void send_descriptor(int socket, int descriptor) {
  char byte = 0;
  iovec vector = {&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof(room);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  EXPECT_EQ(sendmsg(socket, &message, 0), 1) << strerror(errno);
}

int take_descriptor(int socket) {
  char byte = 0;
  iovec vector = {&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof(room);
  EXPECT_EQ(recvmsg(socket, &message, 0), 1) << strerror(errno);
  int descriptor = -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) memcpy(&descriptor, CMSG_DATA(header), sizeof(int));
  return descriptor;
}

}  // namespace godwit::guest
