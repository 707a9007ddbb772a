// SPDX-License-Identifier: MIT
// The end of a context whose memory is lent to peers: mappings may outlive it, and are used by
// other threads while it goes.
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "godwit/peer.h"
#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

using PeerEnd = OsContract;

/// True while a thread of this process sleeps.
bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.compare(name_end, 3, ") S") == 0;
}

TEST_P(PeerEnd, AMappingIsUsedWhileTheContextGoes) {
  const Watchdog watchdog("mappings while contexts go");
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    auto asked = engine().map_peer(region(kBlockBytes), kBlockBytes, {});
    ASSERT_TRUE(asked) << asked.error().to_string();
    auto used = engine().map_peer(region(kBlockBytes), kBlockBytes, {});
    ASSERT_TRUE(used) << used.error().to_string();
    std::atomic<int> started{0};
    std::thread asker([&] {
      ++started;
      while ((*asked)->generation() != ~std::uint64_t{0}) {
      }
    });
    std::thread user([&] {
      ++started;
      while (auto begun = (*used)->begin()) (*used)->end();
    });
    while (started != 2) std::this_thread::yield();
    remake(kVram, {});
    asker.join();
    user.join();
    EXPECT_FALSE((*asked)->begin());
    (*used)->end();  // without a begin(): nothing happens
  }
}

TEST_P(PeerEnd, AnEndIsNoticedAtOnce) {
  const Watchdog watchdog("the end of a context, and a transfer that ends");
  PeerOptions options;
  options.patience = 2 * kHangPatience;
  auto mapping = engine().map_peer(region(kBlockBytes), kBlockBytes, std::move(options));
  ASSERT_TRUE(mapping) << mapping.error().to_string();
  ASSERT_TRUE((*mapping)->begin());
  std::atomic<pid_t> goes{0};
  std::thread ender([&] {
    goes = ::gettid();
    remake(kVram, {});
  });
  // It has nothing else to sleep for than the transfer.
  while (goes == 0 || !sleeps(goes)) std::this_thread::yield();
  (*mapping)->end();
  ender.join();
}

INSTANTIATE_TEST_SUITE_P(Engines, PeerEnd, ::testing::ValuesIn(both_level_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
