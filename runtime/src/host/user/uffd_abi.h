// SPDX-License-Identifier: MIT
// The parts of Linux's userfaultfd and pagemap interface that are younger than Debian 12's kernel
// headers. Values are the kernel's ABI (include/uapi/linux/userfaultfd.h and fs.h of Linux 7.3).
#pragma once

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

#include <cstdint>

namespace godwit::abi {

inline constexpr std::uint64_t kFeatureWpUnpopulated = 1U << 13;  // Linux 6.4
inline constexpr std::uint64_t kFeaturePoison = 1U << 14;         // Linux 6.6
inline constexpr std::uint64_t kFeatureWpAsync = 1U << 15;        // Linux 6.7
inline constexpr std::uint64_t kFeatureMove = 1U << 16;           // Linux 6.8
inline constexpr std::uint64_t kFeatureRwp = 1U << 17;            // Linux 7.3
inline constexpr std::uint64_t kFeatureRwpAsync = 1U << 18;       // Linux 7.3
inline constexpr std::uint64_t kRegisterModeRwp = 1U << 3;        // Linux 7.3

struct Move {
  std::uint64_t dst;
  std::uint64_t src;
  std::uint64_t len;
  std::uint64_t mode;
  std::int64_t moved;  // bytes, or a negative errno
};
inline constexpr unsigned long kIoctlMove = _IOWR(UFFDIO, 0x05, Move);

struct Poison {
  uffdio_range range;
  std::uint64_t mode;
  std::int64_t updated;
};
inline constexpr unsigned long kIoctlPoison = _IOWR(UFFDIO, 0x08, Poison);

/// UFFDIO_RWPROTECT; its argument has the layout of UFFDIO_WRITEPROTECT's.
inline constexpr unsigned long kIoctlRwProtect = _IOWR(UFFDIO, 0x09, uffdio_writeprotect);

/// ioctl of /dev/userfaultfd; the argument is the flags of userfaultfd(2).
inline constexpr unsigned long kIoctlNew = _IO(UFFDIO, 0x00);

struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};

struct PagemapScan {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t vec;
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};
inline constexpr unsigned long kIoctlPagemapScan = _IOWR('f', 16, PagemapScan);
inline constexpr std::uint64_t kPageWritten = 1U << 1;
inline constexpr std::uint64_t kPagePresent = 1U << 3;
inline constexpr std::uint64_t kPageSwapped = 1U << 4;
inline constexpr std::uint64_t kPageAccessed = 1U << 9;  // Linux 7.3
inline constexpr std::uint64_t kScanWpMatching = 1U << 0;
inline constexpr std::uint64_t kScanCheckWpAsync = 1U << 1;

}  // namespace godwit::abi
