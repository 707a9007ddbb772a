// SPDX-License-Identifier: MIT
// The interface's header as C++20, alone and first.
#include "godwit_drm.h"

#include <godwit/layout.h>
#include <gtest/gtest.h>

#include <set>

extern "C" unsigned int godwit_uapi_version_in_c(void);

namespace {

TEST(Uapi, IsTheSameInBothLanguages) {
  EXPECT_EQ(godwit_uapi_version_in_c(), unsigned{GODWIT_UAPI_VERSION});
}

TEST(Uapi, NumbersOfCallsAreDistinctAndWithinDrmsRange) {
  const unsigned long calls[] = {
      DRM_IOCTL_GODWIT_QUERY,   DRM_IOCTL_GODWIT_ATTACH,  DRM_IOCTL_GODWIT_MIGRATE,
      DRM_IOCTL_GODWIT_ADVISE,  DRM_IOCTL_GODWIT_DISCARD, DRM_IOCTL_GODWIT_RESIDENCY,
      DRM_IOCTL_GODWIT_EXECUTE, DRM_IOCTL_GODWIT_WAIT,    DRM_IOCTL_GODWIT_VIEW,
      DRM_IOCTL_GODWIT_EXPORT,  DRM_IOCTL_GODWIT_PIN,     DRM_IOCTL_GODWIT_UNPIN,
      DRM_IOCTL_GODWIT_EVICT,   DRM_IOCTL_GODWIT_EVENTS,  DRM_IOCTL_GODWIT_WATCH,
      DRM_IOCTL_GODWIT_STATS,   DRM_IOCTL_GODWIT_GEM_CREATE, DRM_IOCTL_GODWIT_GEM_INFO,
      DRM_IOCTL_GODWIT_GEM_MOVE};
  std::set<unsigned long> numbers;
  for (const unsigned long call : calls) {
    EXPECT_TRUE(numbers.insert(_IOC_NR(call)).second) << _IOC_NR(call);
    EXPECT_GE(_IOC_NR(call), unsigned{DRM_COMMAND_BASE});
    EXPECT_LT(_IOC_NR(call), unsigned{DRM_COMMAND_END});
    EXPECT_EQ(_IOC_SIZE(call) % 8, 0u) << "a multiple of 8 bytes";
  }
}

TEST(Uapi, ReasonsFitIntoTheAnswer) {
  EXPECT_LE(unsigned{GODWIT_STAY_COUNT}, unsigned{GODWIT_STAY_SLOTS});
}

}  // namespace
