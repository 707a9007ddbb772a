// SPDX-License-Identifier: MIT
// The PCI devices of the VM (tests/vm/topology.py), and what the host sees of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/kernel/guest.h"

namespace godwit::guest {

// "0000:04:00.0" of all devices of a vendor and device ("0x1af4", "0x1110"), those below the switch first.
std::vector<std::string> pci_devices(const std::string& vendor, const std::string& device);

inline constexpr const char* kDriver = "/sys/bus/pci/drivers/godwit_pci/";

// A card that is bound to godwit_pci as a given kind, for as long as the object lives. Number 0 shares a switch with the NVMe,
// number 1 has a root port of its own.
class Card {
 public:
  Card(int number, const std::string& kind);
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  const Device& device() const { return *device_; }
  bool bound() const { return device_ != nullptr; }
  const std::string& address() const { return address_; }
  // Takes the driver away from under whoever uses it; the descriptor stays open.
  int unbind();
  // Whether a page with these bytes is in the card's memory, as the host sees it.
  bool holds(const void* page) const;

 private:
  int number_;
  std::string address_;
  bool unbound_ = true;
  std::unique_ptr<Device> device_;
};

// Nothing gets through to a PCI device, as if it had been pulled out, for as long as the object lives: the bridge above it passes
// on neither accesses to memory nor those to registers. Of what there was, nothing is lost.
class Cut {
 public:
  explicit Cut(const std::string& address);
  ~Cut();
  Cut(const Cut&) = delete;
  Cut& operator=(const Cut&) = delete;

 private:
  std::string config_;
  uint32_t buses_ = 0;
  uint16_t command_ = 0;
};

// A PCI device that answers, and has its memory switched off, as after a reset, for as long as the object lives.
class Reset {
 public:
  explicit Reset(const std::string& address);
  ~Reset();
  Reset(const Reset&) = delete;
  Reset& operator=(const Reset&) = delete;

 private:
  std::string config_;
  uint16_t command_ = 0;
};

// The render node of a PCI device, or null.
std::unique_ptr<Device> device_of(const std::string& address);

// The NVMe disk, opened with O_DIRECT. Fails the test where there is none.
class Disk {
 public:
  Disk();
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  int fd() const { return fd_; }
  // Stores fill(seed) at an offset, through plain memory.
  void write_pattern(size_t offset, size_t bytes, uint64_t seed) const;
  // What the host has at an offset.
  std::vector<uint8_t> seen_by_host(size_t offset, size_t bytes) const;

 private:
  int fd_ = -1;
};

}  // namespace godwit::guest
