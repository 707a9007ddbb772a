// SPDX-License-Identifier: MIT
// The setups that this test program runs over.
#include "tests/contract/fixture.h"

namespace godwit::contract {

std::vector<Setup> all_setups() {
  return {
#if defined(GODWIT_CONTRACT_KERNEL) && defined(GODWIT_CONTRACT_VULKAN)
      {"KernelVulkan", HostKind::kKernel, HostLevel::kFull, DeviceKind::kVulkan},
#elif defined(GODWIT_CONTRACT_KERNEL)
      {"KernelSoft", HostKind::kKernel, HostLevel::kFull, DeviceKind::kSoft},
#elif defined(GODWIT_CONTRACT_VULKAN)
      {"FakeVulkan", HostKind::kFake, HostLevel::kFull, DeviceKind::kVulkan},
      {"UserVulkan", HostKind::kUser, HostLevel::kFull, DeviceKind::kVulkan},
      {"UserResidentVulkan", HostKind::kUser, HostLevel::kResident, DeviceKind::kVulkan},
#else
      {"FakeSoft", HostKind::kFake, HostLevel::kFull, DeviceKind::kSoft},
      {"FakeResidentSoft", HostKind::kFake, HostLevel::kResident, DeviceKind::kSoft},
      {"UserSoft", HostKind::kUser, HostLevel::kFull, DeviceKind::kSoft},
      {"UserResidentSoft", HostKind::kUser, HostLevel::kResident, DeviceKind::kSoft},
#endif
  };
}

std::vector<Setup> user_setups() {
  std::vector<Setup> setups;
  for (const Setup& setup : all_setups()) {
    if (setup.host == HostKind::kUser && setup.level == HostLevel::kFull) setups.push_back(setup);
  }
  return setups;
}

Result<std::unique_ptr<Device>> make_device(DeviceKind kind, std::uint64_t vram,
                                            DeviceWindow* window) {
  DeviceOptions options;
  options.window = window;
  options.vram_bytes = vram;
  options.threads = 2;
#ifdef GODWIT_CONTRACT_VULKAN
#ifndef GODWIT_CONTRACT_KERNEL
  options.validation = true;  // the VM has no layers
#endif
  if (kind == DeviceKind::kVulkan) return make_vulkan_device(options);
#endif
  if (kind == DeviceKind::kVulkan) {
    return fail(Code::kUnsupported, "this program is built without Vulkan");
  }
  return make_soft_device(options);
}

}  // namespace godwit::contract
