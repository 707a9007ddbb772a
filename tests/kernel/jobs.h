// SPDX-License-Identifier: MIT
// Commands for the device, jobs of them, and what became of them.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/kernel/guest.h"

namespace godwit::guest {

inline uint64_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

namespace op {

drm_godwit_command read(const void* from, void* to, uint64_t length, uint32_t flags = 0);
drm_godwit_command write(void* to, const void* from, uint64_t length, uint32_t flags = 0);
drm_godwit_command fill(void* at, uint64_t length, uint64_t pattern, uint32_t flags = 0);
drm_godwit_command copy(void* to, const void* from, uint64_t length, uint32_t flags = 0);
drm_godwit_command add(void* at, uint64_t length, uint64_t value, uint32_t flags = 0);
drm_godwit_command checksum(const void* at, uint64_t length, uint32_t flags = 0);
drm_godwit_command walk(const void* first, uint64_t most, uint64_t offset = 0, uint32_t flags = 0);
drm_godwit_command spin();
drm_godwit_command nop();

}  // namespace op

// What a call answered, and the job's results where it was fetched.
struct Done {
  int error = 0;
  int status = 0;
  uint64_t job = 0;
  std::vector<drm_godwit_result> results;

  bool ok() const { return error == 0 && status == 0; }
};

using Commands = std::vector<drm_godwit_command>;
using Syncs = std::vector<drm_godwit_sync>;

// As long as there is: of a test that is not about time, none runs out because others use the processors.
inline constexpr uint32_t kLongestMs = 60000;

// Queues a job without waiting for it.
Done submit(const Device& device, const Commands& commands, uint32_t timeout_ms = kLongestMs,
            const Syncs& syncs = {});
// Waits for it and fetches `count` results.
Done wait(const Device& device, uint64_t job, size_t count, uint32_t timeout_ms = kLongestMs);
// Both in one call.
Done execute(const Device& device, const Commands& commands, uint32_t timeout_ms = kLongestMs,
             const Syncs& syncs = {});

// Executes commands of one access each until all are done: again what a page that kept moving away for a second left undone
// (EBUSY). Answers how often that was, or -1 where anything else went wrong, which fails the test.
int execute_all(const Device& device, Commands commands);

// Rounds of a test that takes long: a tenth of them on a kernel with lockdep and KASAN, which is so much slower.
unsigned rounds(unsigned wanted);

// The 64-bit FNV-1a of some bytes, as the device computes it.
uint64_t fnv(const void* data, size_t bytes);

}  // namespace godwit::guest
