// SPDX-License-Identifier: MIT
// This library over modules that were built with another version of the interface, in the VM: each
// is loaded in place of the usual one, and served or refused as docs/engines.md says.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "godwit/context.h"
#include "godwit/units.h"
#include "runtime/src/engine/engine.h"
#include "runtime/src/engine/kernel/driver.h"

namespace godwit {
namespace {

constexpr const char* kUsual = "/modules";  // where the harness has the modules that it loaded
constexpr const char* kDevices = "devices=private:16M";

bool succeeds(const std::string& command) { return std::system(command.c_str()) == 0; }

/// The modules of `folder` in place of those that are loaded.
bool load(const std::string& folder) {
  return succeeds("rmmod godwit_pci godwit_soft godwit && insmod " + folder +
                  "/godwit.ko && insmod " + folder + "/godwit_soft.ko " + kDevices + " && insmod " +
                  folder + "/godwit_pci.ko");
}

class ModuleOf : public ::testing::Test {
 protected:
  void load_version(const std::string& name) {
    const std::string folder = "modules/" + name;
    std::ifstream(folder + "/version") >> version_;
    ASSERT_NE(version_, "") << "the harness built no module for " << folder;
    ASSERT_TRUE(load(folder)) << folder;
  }
  // Also where a test failed: the harness unloads what it loaded.
  void TearDown() override { ASSERT_TRUE(load(kUsual)); }

  static Result<std::unique_ptr<Context>> context(const char* engine) {
    ContextOptions options;
    options.engine = engine;
    options.device = "soft";
    return Context::create(options);
  }
  /// Refused by name, and passed over where the choice is free.
  void expect_refused(const std::string& remedy) {
    const auto refused = context("kernel");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kUnavailable);
    const std::string text = refused.error().to_string();
    for (const std::string& part :
         {"interface " + version_, kernel::version_text(GODWIT_UAPI_VERSION), remedy}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
    }
    const auto other = context("auto");
    ASSERT_TRUE(other) << other.error().to_string();
    EXPECT_EQ((*other)->engine().info().name, "user");
  }
  std::string version_;
};

TEST_F(ModuleOf, ANewerMinorVersionServesThisLibrary) {
  load_version("newer_minor");
  auto made = context("kernel");
  ASSERT_TRUE(made) << made.error().to_string();
  Context& served = **made;
  EXPECT_NE(served.engine().info().access.find("interface " + version_), std::string::npos)
      << served.engine().info().access;
  std::vector<unsigned char> bytes(std::size_t{4} << 20, 7);
  const auto moved = served.prefetch(bytes.data(), bytes.size(), Place::kDevice);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_GE(moved->moved, bytes.size() / kPageBytes - 1);
  for (const unsigned char byte : bytes) ASSERT_EQ(byte, 7);
}

TEST_F(ModuleOf, ANewerMajorVersionIsRefused) {
  load_version("newer_major");
  expect_refused("install the newer library");
}

TEST_F(ModuleOf, AnOlderMinorVersionIsRefused) {
  load_version("older_minor");
  expect_refused("load a module of that version");
}

}  // namespace
}  // namespace godwit
