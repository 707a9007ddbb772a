// SPDX-License-Identifier: MIT
#include "tests/unit/device/device_suite.h"

namespace godwit {
namespace {

DeviceFactory by_path(std::string name, std::string path) {
  return {std::move(name), [path = std::move(path)](DeviceOptions options) {
            options.transfer = path;
            return make_vulkan_device(options);
          }};
}

// Copies differ by path; commands do not.
INSTANTIATE_TEST_SUITE_P(Vulkan, DeviceTest,
                         testing::Values(DeviceFactory{"Fastest", make_vulkan_device},
                                         by_path("Direct", "direct"),
                                         by_path("Staging", "staging"),
                                         by_path("Import", "import")),
                         device_name);
INSTANTIATE_TEST_SUITE_P(Vulkan, DeviceGemmTest,
                         testing::Values(DeviceFactory{"Fastest", make_vulkan_device}),
                         device_name);

}  // namespace
}  // namespace godwit
