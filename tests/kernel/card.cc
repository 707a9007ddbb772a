// SPDX-License-Identifier: MIT
#include "tests/kernel/card.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

namespace godwit::guest {
namespace {

constexpr const char* kDevices = "/sys/bus/pci/devices/";

std::string trimmed(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// Bridges above a device.
size_t depth(const std::string& address) {
  char path[PATH_MAX];
  if (realpath((kDevices + address).c_str(), path) == nullptr) return 0;
  return static_cast<size_t>(std::count(path, path + strlen(path), '/'));
}

// The registers of a device.
template <typename Value>
Value get_register(const std::string& config, off_t at) {
  Value value = 0;
  const int fd = open(config.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(pread(fd, &value, sizeof(value), at), static_cast<ssize_t>(sizeof(value))) << config;
  ::close(fd);
  return value;
}

template <typename Value>
void set_register(const std::string& config, off_t at, Value value) {
  const int fd = open(config.c_str(), O_WRONLY | O_CLOEXEC);
  EXPECT_EQ(pwrite(fd, &value, sizeof(value), at), static_cast<ssize_t>(sizeof(value))) << config;
  ::close(fd);
  EXPECT_EQ(get_register<Value>(config, at), value) << config << " at " << at;
}

void switch_memory_off(const std::string& config, uint16_t command) {
  set_register(config, PCI_COMMAND, static_cast<uint16_t>(command & ~PCI_COMMAND_MEMORY));
}

bool is_bound(const std::string& address) { return access((kDriver + address).c_str(), F_OK) == 0; }

}  // namespace

std::vector<std::string> pci_devices(const std::string& vendor, const std::string& device) {
  std::vector<std::string> found;
  DIR* folder = opendir(kDevices);
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder)) {
    const std::string path = std::string(kDevices) + entry->d_name;
    if (trimmed(read_file(path + "/vendor")) == vendor && trimmed(read_file(path + "/device")) == device) {
      found.emplace_back(entry->d_name);
    }
  }
  closedir(folder);
  std::sort(found.begin(), found.end(), [](const std::string& a, const std::string& b) {
    return std::pair(depth(b), a) < std::pair(depth(a), b);
  });
  return found;
}

std::unique_ptr<Device> device_of(const std::string& address) {
  for (int index = 0; index < Device::count(); ++index) {
    auto device = std::make_unique<Device>(index);
    if (device->info().name == address) return device;
  }
  return nullptr;
}

Card::Card(int number, const std::string& kind) : number_(number) {
  const auto cards = pci_devices("0x1af4", "0x1110");
  if (static_cast<size_t>(number) >= cards.size()) {
    ADD_FAILURE() << "no card number " << number << ": is this VM without --pci?";
    return;
  }
  address_ = cards[static_cast<size_t>(number)];
  if (is_bound(address_)) {
    EXPECT_EQ(write_file(std::string(kDriver) + "unbind", address_), 0);
  }
  EXPECT_EQ(write_file("/sys/module/godwit_pci/parameters/kind", kind), 0);
  EXPECT_EQ(write_file(std::string(kDriver) + "bind", address_), 0) << kind;
  unbound_ = false;
  device_ = device_of(address_);
  EXPECT_NE(device_, nullptr) << "no render node for " << address_;
}

Card::~Card() {
  if (device_ != nullptr) device_->close();
  unbind();
}

int Card::unbind() {
  if (unbound_) return 0;
  unbound_ = true;
  return write_file(std::string(kDriver) + "unbind", address_);
}

bool Card::holds(const void* page) const {
  const std::string path = "/cards/card" + std::to_string(number_);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    ADD_FAILURE() << path << ": " << strerror(errno);
    return false;
  }
  std::vector<uint8_t> bytes(kHuge);
  bool found = false;
  ssize_t got;
  for (off_t at = 0; !found && (got = pread(fd, bytes.data(), bytes.size(), at)) > 0; at += got) {
    for (ssize_t i = 0; i + static_cast<ssize_t>(kPage) <= got && !found; i += kPage) {
      found = memcmp(bytes.data() + i, page, kPage) == 0;
    }
  }
  ::close(fd);
  return found;
}

Cut::Cut(const std::string& address) {
  char path[PATH_MAX];
  if (realpath((kDevices + address).c_str(), path) == nullptr) {
    ADD_FAILURE() << address << ": " << strerror(errno);
    return;
  }
  config_ = path;
  config_ = config_.substr(0, config_.rfind('/')) + "/config";
  command_ = get_register<uint16_t>(config_, PCI_COMMAND);
  buses_ = get_register<uint32_t>(config_, PCI_PRIMARY_BUS);
  // A bus that nobody asks for is what is below it now.
  set_register(config_, PCI_PRIMARY_BUS, (buses_ & 0xff0000ff) | 0x00fefe00);
  switch_memory_off(config_, command_);
}

Cut::~Cut() {
  set_register(config_, PCI_PRIMARY_BUS, buses_);
  set_register(config_, PCI_COMMAND, command_);
}

Reset::Reset(const std::string& address) : config_(kDevices + address + "/config") {
  command_ = get_register<uint16_t>(config_, PCI_COMMAND);
  switch_memory_off(config_, command_);
}

Reset::~Reset() { set_register(config_, PCI_COMMAND, command_); }

Disk::Disk() {
  EXPECT_EQ(system("modprobe nvme"), 0);
  // The driver looks for its disks in a worker.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  do {
    fd_ = open("/dev/nvme0n1", O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd_ < 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  } while (fd_ < 0 && std::chrono::steady_clock::now() < deadline);
  EXPECT_GE(fd_, 0) << "/dev/nvme0n1: " << strerror(errno);
}

Disk::~Disk() {
  if (fd_ >= 0) ::close(fd_);
}

void Disk::write_pattern(size_t offset, size_t bytes, uint64_t seed) const {
  Memory memory(bytes);
  fill(memory.data(), bytes, seed);
  EXPECT_EQ(pwrite(fd_, memory.data(), bytes, static_cast<off_t>(offset)), static_cast<ssize_t>(bytes)) << strerror(errno);
}

std::vector<uint8_t> Disk::seen_by_host(size_t offset, size_t bytes) const {
  std::vector<uint8_t> seen(bytes);
  const int fd = open("/cards/disk", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(fd, 0) << "/cards/disk: " << strerror(errno);
  EXPECT_EQ(pread(fd, seen.data(), bytes, static_cast<off_t>(offset)), static_cast<ssize_t>(bytes));
  ::close(fd);
  return seen;
}

}  // namespace godwit::guest
