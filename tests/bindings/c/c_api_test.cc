// SPDX-License-Identifier: MIT
// Every function of the C interface: what it does, and what it says to a wrong argument.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "godwit.h"
#include "tests/bindings/context_test.h"

extern "C" int godwit_test_c_round_trip(void);

namespace {

class CApi : public godwit::ContextTest {};

constexpr size_t kBytes = 3U << 20;

TEST_F(CApi, WorksFromC) { EXPECT_EQ(godwit_test_c_round_trip(), 0) << godwit_last_error(); }

TEST_F(CApi, VersionMatchesTheHeader) {
  EXPECT_EQ(godwit_version(), GODWIT_VERSION_MAJOR << 16 | GODWIT_VERSION_MINOR);
}

TEST_F(CApi, PagesMoveAndTheReportAddsUp) {
  char* base = region(kBytes);
  std::memset(base, 7, kBytes);
  godwit_move_report report{};
  ASSERT_EQ(godwit_prefetch(context_, base, kBytes, GODWIT_DEVICE, &report), GODWIT_OK);
  EXPECT_EQ(report.moved + report.already + report.stayed, kBytes / 4096);
  EXPECT_EQ(report.moved, kBytes / 4096);
  std::vector<uint8_t> states(kBytes / 4096);
  ASSERT_EQ(godwit_residency(context_, base, kBytes, states.data(), states.size()), GODWIT_OK);
  EXPECT_NE(states[0], GODWIT_PAGE_HOST);
  EXPECT_EQ(base[kBytes - 1], 7);
  ASSERT_EQ(godwit_residency(context_, base, kBytes, states.data(), states.size()), GODWIT_OK);
  EXPECT_EQ(states[kBytes / 4096 - 1], GODWIT_PAGE_BOTH);
  godwit_statistics statistics{};
  ASSERT_EQ(godwit_statistics_get(context_, &statistics), GODWIT_OK);
  EXPECT_EQ(statistics.bytes_to_device, kBytes);
  EXPECT_EQ(statistics.managed_bytes, kBytes);
  ASSERT_EQ(godwit_discard(context_, base, kBytes), GODWIT_OK);
  EXPECT_EQ(base[0], 0);
}

TEST_F(CApi, RegionsAreKnownByTheirStart) {
  char* base = region(kBytes);
  EXPECT_EQ(godwit_size_of(context_, base), kBytes);
  EXPECT_EQ(godwit_size_of(context_, base + 1), 0U);
  EXPECT_EQ(godwit_manages(context_, base + 5), 1);
  EXPECT_EQ(godwit_manages(context_, &base), 0);
  const void* start = nullptr;
  size_t bytes = 0;
  godwit_bounds(context_, &start, &bytes);
  EXPECT_EQ(bytes, 256U << 20);
  void* found = nullptr;
  ASSERT_EQ(godwit_next_region(context_, start, &found, &bytes), GODWIT_OK);
  EXPECT_EQ(found, base);
  ASSERT_EQ(godwit_next_region(context_, base + kBytes, &found, &bytes), GODWIT_OK);
  EXPECT_EQ(bytes, 0U);
}

TEST_F(CApi, AFileIsMappedAndWrittenBack) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  const std::vector<char> content(3 * 4096 + 5, 'a');
  ASSERT_EQ(std::fwrite(content.data(), 1, content.size(), file), content.size());
  ASSERT_EQ(std::fflush(file), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(fileno(file));
  void* mapped = nullptr;
  ASSERT_EQ(godwit_map_file(context_, path.c_str(), 0, 0, 1, &mapped), GODWIT_OK)
      << godwit_last_error();
  auto* bytes = static_cast<char*>(mapped);
  EXPECT_EQ(bytes[content.size() - 1], 'a');
  EXPECT_EQ(bytes[content.size()], 0);
  bytes[4096] = 'b';
  size_t pages = 0;
  ASSERT_EQ(godwit_sync(context_, mapped, content.size(), &pages), GODWIT_OK);
  EXPECT_EQ(pages, 1u);
  bytes[0] = 'c';
  ASSERT_EQ(godwit_free(context_, mapped), GODWIT_OK);
  std::rewind(file);
  std::vector<char> now(content.size() + 1);
  EXPECT_EQ(std::fread(now.data(), 1, now.size(), file), content.size());
  EXPECT_EQ(now[0], 'c');
  EXPECT_EQ(now[4096], 'b');
  EXPECT_EQ(now[4097], 'a');
  EXPECT_EQ(godwit_map_file(context_, "/no/such/file", 0, 0, 0, &mapped), GODWIT_IO);
  EXPECT_NE(std::strstr(godwit_last_error(), "/no/such/file"), nullptr);
  EXPECT_EQ(godwit_map_file(context_, nullptr, 0, 0, 0, &mapped), GODWIT_INVALID_ARGUMENT);
  std::fclose(file);
}

TEST_F(CApi, WrongArgumentsAreNamed) {
  char* base = region(kBytes);
  int local = 0;
  const auto refused = [](int code, const char* word) {
    EXPECT_EQ(code, GODWIT_INVALID_ARGUMENT);
    EXPECT_NE(std::string(godwit_last_error()).find(word), std::string::npos)
        << godwit_last_error();
  };
  refused(godwit_prefetch(context_, &local, 4, GODWIT_DEVICE, nullptr), "not within one region");
  refused(godwit_prefetch(context_, base, 4, 9, nullptr), "place 9");
  refused(godwit_advise(context_, base, 4, 7), "advise: 7");
  refused(godwit_free(context_, &local), "no region starts");
  refused(godwit_discard(context_, base, kBytes + 1), "discard");
  uint8_t state = 0;
  refused(godwit_residency(context_, base, kBytes, &state, 1), "room for 1");
  void* out = nullptr;
  refused(godwit_allocate(context_, 0, 0, &out), "0 bytes");
  refused(godwit_allocate(context_, 1, 3, &out), "power of two");
  EXPECT_EQ(godwit_allocate(context_, size_t{1} << 50, 0, &out), GODWIT_OUT_OF_MEMORY);
  godwit_options options{};
  godwit_context* other = nullptr;
  refused(godwit_context_create(&options, &other), "size is 0");
  refused(godwit_context_create(nullptr, nullptr), "context is NULL");
  options.size = sizeof(options);
  options.engine = "steam";
  refused(godwit_context_create(&options, &other), "steam");
  options.engine = "kernel";
  EXPECT_EQ(godwit_context_create(&options, &other), GODWIT_UNAVAILABLE);
  godwit_context_destroy(nullptr);
}

TEST_F(CApi, AProductIsComputedOnTheDevice) {
  constexpr int64_t kSize = 96;
  auto* a = reinterpret_cast<double*>(region(kSize * kSize * 8));
  auto* b = reinterpret_cast<double*>(region(kSize * kSize * 8));
  auto* c = reinterpret_cast<double*>(region(kSize * kSize * 8));
  for (int64_t index = 0; index < kSize * kSize; ++index) {
    a[index] = static_cast<double>(index % 7);
    b[index] = static_cast<double>(index % 5) - 2;
    c[index] = 1;
  }
  godwit_gemm gemm{};
  gemm.size = sizeof(gemm);
  gemm.type = GODWIT_DOUBLE;
  gemm.m = gemm.n = gemm.k = gemm.lda = gemm.ldb = gemm.ldc = kSize;
  gemm.alpha[0] = 2;
  gemm.beta[0] = 3;
  gemm.a = a;
  gemm.b = b;
  gemm.c = c;
  gemm.offload = GODWIT_OFFLOAD_ALWAYS;
  char why[200];
  ASSERT_EQ(godwit_gemm_run(context_, &gemm, why, sizeof(why)), GODWIT_OK) << why;
  double wanted = 0;
  for (int64_t k = 0; k < kSize; ++k) wanted += a[5 + k * kSize] * b[k + 9 * kSize];
  EXPECT_EQ(c[5 + 9 * kSize], 2 * wanted + 3);
  gemm.offload = GODWIT_OFFLOAD_NEVER;
  EXPECT_EQ(godwit_gemm_run(context_, &gemm, why, sizeof(why)), GODWIT_UNSUPPORTED);
  EXPECT_NE(why[0], '\0');
}

struct PeerCalls {
  int invalidations = 0, remaps = 0, answer = 0;
  void* pages = nullptr;
};

TEST_F(CApi, APeerIsToldBeforePagesMoveAndMapsAgain) {
  char* base = region(kBytes);
  std::memset(base, 7, kBytes);
  PeerCalls calls;
  godwit_peer_options options{};
  godwit_peer* peer = nullptr;
  EXPECT_EQ(godwit_peer_map(context_, base, kBytes, &options, &peer), GODWIT_INVALID_ARGUMENT);
  options.size = sizeof(options);
  options.opaque = &calls;
  options.patience_ms = -1;
  options.on_invalidate = [](void* opaque, void* pages, size_t bytes) {
    auto* seen = static_cast<PeerCalls*>(opaque);
    ++seen->invalidations;
    seen->pages = bytes == kBytes ? pages : nullptr;
    return seen->answer;
  };
  options.on_remap = [](void* opaque, void*, size_t, uint64_t) {
    ++static_cast<PeerCalls*>(opaque)->remaps;
    return 0;
  };
  ASSERT_EQ(godwit_peer_map(context_, base, kBytes, &options, &peer), GODWIT_OK)
      << godwit_last_error();
  uint64_t first = 0;
  ASSERT_EQ(godwit_peer_begin(peer, &first), GODWIT_OK) << godwit_last_error();
  godwit_move_report report;
  ASSERT_EQ(godwit_prefetch(context_, base, kBytes, GODWIT_DEVICE, &report), GODWIT_OK);
  EXPECT_EQ(report.moved, 0U) << "held";
  EXPECT_EQ(report.stayed_other, report.stayed);
  EXPECT_EQ(calls.invalidations, 0);
  godwit_peer_end(peer);
  calls.answer = 1;
  ASSERT_EQ(godwit_prefetch(context_, base, kBytes, GODWIT_DEVICE, &report), GODWIT_OK);
  EXPECT_EQ(report.moved, 0U) << "it said no";
  EXPECT_EQ(calls.pages, base);
  EXPECT_EQ(godwit_peer_generation(peer), first);
  calls.answer = 0;
  calls.invalidations = 0;
  ASSERT_EQ(godwit_prefetch(context_, base, kBytes, GODWIT_DEVICE, &report), GODWIT_OK);
  EXPECT_EQ(report.stayed, 0U);
  EXPECT_EQ(calls.invalidations, 1);
  EXPECT_NE(godwit_peer_generation(peer), first);
  void* pages = nullptr;
  size_t bytes = 0;
  godwit_peer_pages(peer, &pages, &bytes);
  EXPECT_EQ(pages, base);
  EXPECT_EQ(bytes, kBytes);
  EXPECT_EQ(godwit_peer_begin(peer, nullptr), GODWIT_OK) << godwit_last_error();
  godwit_peer_end(peer);
  EXPECT_EQ(calls.remaps, 2);
  EXPECT_EQ(base[5], 7);
  godwit_peer_statistics statistics{};
  EXPECT_EQ(godwit_peer_statistics_get(context_, &statistics), GODWIT_INVALID_ARGUMENT);
  statistics.size = sizeof(statistics);
  ASSERT_EQ(godwit_peer_statistics_get(context_, &statistics), GODWIT_OK);
  EXPECT_GE(statistics.refusals, 1U);
  EXPECT_EQ(statistics.remaps, 2U);
  EXPECT_EQ(statistics.revocations, 1U);
  godwit_peer_unmap(peer);
  godwit_peer_unmap(nullptr);
}

TEST_F(CApi, TheInsideMarkNests) {
  EXPECT_EQ(godwit_inside(), 0);
  godwit_inside_enter();
  godwit_inside_enter();
  godwit_inside_leave();
  EXPECT_EQ(godwit_inside(), 1);
  godwit_inside_leave();
  EXPECT_EQ(godwit_inside(), 0);
}

}  // namespace
