// SPDX-License-Identifier: MIT
// What a system call answers, and what it makes of memory, does not depend on where the memory is: each is made of memory in RAM
// and of memory in VRAM, and both are compared.
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

// Newer than the headers of Debian 12.
constexpr int kCollapse = 25, kGuardInstall = 102, kGuardRemove = 103;
constexpr long kMseal = 462;
constexpr size_t kBytes = 2 * kHuge, kPages = kBytes / kPage;
// What a page is that cannot be read.
constexpr int64_t kUnreadable = 0;

// What a call has told, all of it: two of these are equal or the calls were not.
struct Told : std::vector<int64_t> {
  // A call that answers -1 and errno.
  void status(int64_t result) {
    push_back(result);
    push_back(result == -1 ? errno : 0);
  }
};

using Call = void (*)(Memory& memory, Told& told);

uint64_t digest(const uint8_t* page) {
  uint64_t sum = 1;
  for (size_t at = 0; at < kPage; at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, page + at, sizeof(word));
    sum = (sum ^ word) * 0x100000001b3u;
  }
  return sum;
}

void read_all(const uint8_t* data, size_t bytes, Told& told) {
  const size_t first = told.size(), count = bytes / kPage;
  told.resize(first + count, kUnreadable);
  // Goes on behind the page that it could not read.
  for (std::atomic<size_t> page{0}; page < count; ++page) {
    (void)signal_of([&] {
      for (; page < count; ++page) told[first + page] = static_cast<int64_t>(digest(data + page * kPage));
    });
  }
}

template <int kAdvice>
void advise(Memory& memory, Told& told) {
  told.status(madvise(memory.data(), memory.size(), kAdvice));
}

// Of some pages only, so that the mapping is cut, and huge pages are.
template <int kAdvice>
void advise_some(Memory& memory, Told& told) {
  told.status(madvise(memory.page(3), 5 * kPage, kAdvice));
}

template <int kAdvice>
void advise_and_fork(Memory& memory, Told& told) {
  told.status(madvise(memory.data(), kHuge, kAdvice));
  int ends[2];
  told.status(pipe(ends));
  const pid_t child = fork();
  if (child == 0) {
    Told sums;
    read_all(memory.data(), kBytes, sums);
    const auto bytes = static_cast<ssize_t>(sums.size() * sizeof(int64_t));
    _exit(::write(ends[1], sums.data(), sums.size() * sizeof(int64_t)) == bytes ? 0 : 1);
  }
  close(ends[1]);
  int64_t sum;
  while (::read(ends[0], &sum, sizeof(sum)) == sizeof(sum)) told.push_back(sum);
  close(ends[0]);
  int status = -1;
  waitpid(child, &status, 0);
  told.push_back(status);
}

void mincore_(Memory& memory, Told& told) {
  std::vector<uint8_t> pages(kPages);
  told.status(mincore(memory.data(), memory.size(), pages.data()));
  told.insert(told.end(), pages.begin(), pages.end());
}

void bind_to_node(Memory& memory, Told& told) {
  const unsigned long node = 1;
  told.status(syscall(SYS_mbind, memory.data(), memory.size(), MPOL_BIND, &node, 64, MPOL_MF_MOVE | MPOL_MF_STRICT));
}

void lock(Memory& memory, Told& told) {
  told.status(mlock(memory.data(), memory.size()));
  told.status(munlock(memory.data(), memory.size()));
}

void lock_on_fault(Memory& memory, Told& told) {
  told.status(mlock2(memory.data(), memory.size(), MLOCK_ONFAULT));
  told.status(munlock(memory.data(), memory.size()));
}

void move_and_stay(Memory& memory, Told& told) {
  void* to = mremap(memory.data(), memory.size(), memory.size(), MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  told.status(to == MAP_FAILED ? -1 : 0);
  if (to == MAP_FAILED) return;
  read_all(static_cast<uint8_t*>(to), memory.size(), told);
  munmap(to, memory.size());
}

// To an address of which huge pages can make nothing.
void move_askew(Memory& memory, Told& told) {
  Memory room(memory.size() + kHuge);
  uint8_t* to = room.data() + kPage;
  void* moved = mremap(memory.data(), memory.size(), memory.size(), MREMAP_MAYMOVE | MREMAP_FIXED, to);
  told.status(moved == to ? 0 : -1);
  read_all(to, memory.size(), told);
}

void shrink_and_grow(Memory& memory, Told& told) {
  told.status(mremap(memory.data(), memory.size(), 9 * kPage, 0) == memory.data() ? 0 : -1);
  told.status(mremap(memory.data(), 9 * kPage, kHuge, 0) == memory.data() ? 0 : -1);
}

void protect(Memory& memory, Told& told) {
  told.status(mprotect(memory.page(5), kHuge, PROT_NONE));
  told.push_back(signal_of([&] { *memory.page(5) = 1; }));
  told.status(mprotect(memory.page(5), kHuge, PROT_READ));
  told.push_back(signal_of([&] { *memory.page(5) = 1; }));
  read_all(memory.page(5), kHuge, told);
  told.status(mprotect(memory.page(5), kHuge, PROT_READ | PROT_WRITE));
  told.push_back(signal_of([&] { *memory.page(5) = 1; }));
}

void protect_by_key(Memory& memory, Told& told) {
  const int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
  told.push_back(key < 0 ? errno : 0);
  if (key < 0) return;
  told.status(pkey_mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE, key));
  read_all(memory.page(1), 3 * kPage, told);
  told.status(pkey_set(key, PKEY_DISABLE_WRITE));
  read_all(memory.page(1), 3 * kPage, told);
  told.push_back(signal_of([&] { *memory.page(2) = 1; }));
  told.status(pkey_set(key, 0));
  told.push_back(signal_of([&] { *memory.page(2) = 1; }));
  told.status(pkey_mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE, -1));
  told.status(pkey_free(key));
}

void seal(Memory& memory, Told& told) {
  told.status(syscall(kMseal, memory.data(), memory.size(), 0));
  told.status(munmap(memory.data(), memory.size()));
  told.status(mprotect(memory.data(), memory.size(), PROT_READ));
  told.status(madvise(memory.data(), memory.size(), MADV_DONTNEED));
  // It stays until the process ends.
  memory.release();
}

void read_of_itself(Memory& memory, Told& told) {
  std::vector<uint8_t> to(kBytes);
  const iovec here = {to.data(), to.size()}, there = {memory.data(), memory.size()};
  told.status(process_vm_readv(getpid(), &here, 1, &there, 1, 0));
  read_all(to.data(), to.size(), told);
}

void write_to_itself(Memory& memory, Told& told) {
  std::vector<uint8_t> from(kHuge, 0x5a);
  const iovec here = {from.data(), from.size()}, there = {memory.page(9), from.size()};
  told.status(process_vm_writev(getpid(), &here, 1, &there, 1, 0));
}

// As a debugger writes, to what cannot be written.
void write_by_force(Memory& memory, Told& told) {
  told.status(mprotect(memory.data(), memory.size(), PROT_READ));
  const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  const std::vector<uint8_t> from(3 * kPage, 0xa5);
  told.status(pwrite(fd, from.data(), from.size(), reinterpret_cast<off_t>(memory.page(4)) + 1));
  close(fd);
}

void futexes(Memory& memory, Told& told) {
  auto* word = reinterpret_cast<uint32_t*>(memory.page(11));
  for (const int shared : {0, FUTEX_PRIVATE_FLAG}) {
    told.status(syscall(SYS_futex, word, FUTEX_WAKE | shared, 1, nullptr, nullptr, 0));
    told.status(syscall(SYS_futex, word, FUTEX_WAIT | shared, *word + 1, nullptr, nullptr, 0));
    told.status(syscall(SYS_futex, word, FUTEX_CMP_REQUEUE | shared, 1, 1, memory.page(12), *word));
  }
}

volatile sig_atomic_t on_stack;
void on_signal(int) {
  volatile uint8_t local[3 * kPage];
  for (size_t at = 0; at < sizeof(local); at += 512) local[at] = 1;
  on_stack = local[512];
}

// What is on a stack is different each time.
void forget(Memory& memory, size_t bytes) { fill(memory.data(), bytes, 2); }

void signal_stack(Memory& memory, Told& told) {
  stack_t stack = {}, before = {};
  stack.ss_sp = memory.data();
  stack.ss_size = 16 * kPage;
  told.status(sigaltstack(&stack, &before));
  struct sigaction action = {}, old = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  told.status(sigaction(SIGUSR1, &action, &old));
  on_stack = 0;
  told.status(raise(SIGUSR1));
  told.push_back(on_stack);
  sigaction(SIGUSR1, &old, nullptr);
  told.status(sigaltstack(&before, nullptr));
  forget(memory, 16 * kPage);
}

void thread_stack(Memory& memory, Told& told) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  told.push_back(pthread_attr_setstack(&attributes, memory.data(), kHuge));
  pthread_t thread;
  on_stack = 0;
  told.push_back(pthread_create(&thread, &attributes, [](void*) -> void* { return on_signal(0), nullptr; }, nullptr));
  told.push_back(pthread_join(thread, nullptr));
  told.push_back(on_stack);
  pthread_attr_destroy(&attributes);
  forget(memory, kHuge);
}

// The path and the arguments of a program.
void exec(Memory& memory, Told& told) {
  char* text = reinterpret_cast<char*>(memory.page(20)) - 4;
  std::memcpy(text, "/bin/echo", sizeof("/bin/echo"));
  auto** arguments = reinterpret_cast<char**>(memory.page(30) - 8);
  arguments[0] = text;
  arguments[1] = text;
  arguments[2] = nullptr;
  int ends[2];
  told.status(pipe(ends));
  // vfork lets the child read the parent's pages, which is what is tested; dup2 touches no memory.
  const pid_t child = vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (child == 0) {
    dup2(ends[1], 1);  // NOLINT(clang-analyzer-unix.Vfork)
    execve(text, arguments, environ);
    _exit(1);
  }
  close(ends[1]);
  char out[64] = {};
  told.status(::read(ends[0], out, sizeof(out)));
  told.push_back(std::strcmp(out, "/bin/echo\n"));
  close(ends[0]);
  int status = -1;
  waitpid(child, &status, 0);
  told.push_back(status);
  // It has addresses in it.
  fill(memory.page(29), 2 * kPage, 2);
}

void name_a_part(Memory& memory, Told& told) {
  told.status(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory.page(3), 5 * kPage, "part"));
  told.status(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory.page(3), 5 * kPage, nullptr));
}

int64_t advise_process(const Memory& memory, int advice) {
  const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  const iovec range = {memory.data(), memory.size()};
  const int64_t result = syscall(SYS_process_madvise, self, &range, 1, advice, 0);
  close(self);
  return result;
}

void cold_from_outside(Memory& memory, Told& told) { told.status(advise_process(memory, MADV_COLD)); }

// What it answers is another matter, below.
void collapse(Memory& memory, Told&) { (void)madvise(memory.data(), memory.size(), kCollapse); }
void collapse_from_outside(Memory& memory, Told&) { (void)advise_process(memory, kCollapse); }

void map_over(Memory& memory, Told& told) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  void* at = mmap(memory.page(2), 3 * kPage, PROT_READ, flags | MAP_FIXED_NOREPLACE, -1, 0);
  told.status(at == MAP_FAILED ? -1 : 0);
  at = mmap(memory.page(2), 3 * kPage, PROT_READ, flags | MAP_FIXED, -1, 0);
  told.status(at == memory.page(2) ? 0 : -1);
}

void unmap_the_middle(Memory& memory, Told& told) {
  told.status(munmap(memory.page(100), kHuge));
  told.status(msync(memory.data(), memory.size(), MS_SYNC));
  told.status(madvise(memory.data(), memory.size(), MADV_COLD));
}

void guard(Memory& memory, Told& told) {
  told.status(madvise(memory.page(10), 3 * kPage, kGuardInstall));
  read_all(memory.page(9), 5 * kPage, told);
  told.status(madvise(memory.page(11), kPage, kGuardRemove));
}

void through_a_pipe(Memory& memory, Told& told) {
  int ends[2];
  told.status(pipe(ends));
  std::vector<uint8_t> page(kPage);
  for (const unsigned flags : {0u, unsigned{SPLICE_F_GIFT}}) {
    const iovec piece = {memory.page(6), kPage};
    told.status(vmsplice(ends[1], &piece, 1, flags));
    told.status(::read(ends[0], page.data(), kPage));
    read_all(page.data(), kPage, told);
  }
  close(ends[0]);
  close(ends[1]);
}

struct Named {
  const char* name;
  Call call;
};

const Named kCalls[] = {
    {"Mincore", mincore_},
    {"Mbind", bind_to_node},
    {"Collapse", collapse},
    {"Cold", advise<MADV_COLD>},
    {"Pageout", advise<MADV_PAGEOUT>},
    {"PageoutSome", advise_some<MADV_PAGEOUT>},
    {"Willneed", advise<MADV_WILLNEED>},
    {"PopulateRead", advise<MADV_POPULATE_READ>},
    {"PopulateWrite", advise<MADV_POPULATE_WRITE>},
    {"Dontneed", advise<MADV_DONTNEED>},
    {"DontneedSome", advise_some<MADV_DONTNEED>},
    {"Nohugepage", advise<MADV_NOHUGEPAGE>},
    {"Hugepage", advise<MADV_HUGEPAGE>},
    {"Mergeable", advise<MADV_MERGEABLE>},
    {"Remove", advise<MADV_REMOVE>},
    {"Dontdump", advise_some<MADV_DONTDUMP>},
    {"Dontfork", advise_and_fork<MADV_DONTFORK>},
    {"WipeOnFork", advise_and_fork<MADV_WIPEONFORK>},
    {"Guard", guard},
    {"Mlock", lock},
    {"MlockOnFault", lock_on_fault},
    {"MremapDontunmap", move_and_stay},
    {"MremapAskew", move_askew},
    {"MremapShrinkAndGrow", shrink_and_grow},
    {"Mprotect", protect},
    {"PkeyMprotect", protect_by_key},
    {"Mseal", seal},
    {"ProcessVmReadv", read_of_itself},
    {"ProcessVmWritev", write_to_itself},
    {"WriteByForce", write_by_force},
    {"Futex", futexes},
    {"Sigaltstack", signal_stack},
    {"StackOfAThread", thread_stack},
    {"Execve", exec},
    {"NameOfAPart", name_a_part},
    {"ProcessMadviseCold", cold_from_outside},
    {"ProcessMadviseCollapse", collapse_from_outside},
    {"MmapOver", map_over},
    {"Munmap", unmap_the_middle},
    {"Vmsplice", through_a_pipe},
};

enum Place { kWhole, kPart };

class Calls : public ::testing::TestWithParam<std::tuple<Named, Memory::Kind, Place>> {};

Told tell(Call call, Memory::Kind kind, size_t from, size_t bytes) {
  Device gpu;
  Memory memory(kBytes, kind);
  Told told;
  fill(memory.data(), kBytes, 1);
  if (bytes != 0) {
    EXPECT_EQ(gpu.to_vram(memory.data() + from, bytes).moved, bytes / kPage);
  }
  uint8_t* data = memory.data();
  call(memory, told);
  read_all(data, kBytes, told);
  return told;
}

// In a process of its own, which may seal or unmap what it has.
TEST_P(Calls, DoTheSameToMemoryInVram) {
  const auto& [call, kind, place] = GetParam();
  const auto make = call.call;
  const size_t from = place == kWhole ? 0 : 5 * kPage, bytes = place == kWhole ? kBytes : kHuge;
  const auto pages = kind;
  EXPECT_TRUE(exited_well(in_child([=] {
    const Told in_ram = tell(make, pages, 0, 0), in_vram = tell(make, pages, from, bytes);
    ASSERT_EQ(in_ram.size(), in_vram.size());
    for (size_t at = 0; at < in_ram.size(); ++at) ASSERT_EQ(in_ram[at], in_vram[at]) << "value " << at << " of " << in_ram.size();
  })));
}

// Pages that are in VRAM, and have their bytes at the end.
class InVram : public DeviceTest, public ::testing::WithParamInterface<Memory::Kind> {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    fill(memory_.data(), kBytes, 1);
    ASSERT_EQ(gpu_.to_vram(memory_.data(), kBytes).moved, kPages);
  }
  void TearDown() override {
    EXPECT_BYTES(memory_.data(), kBytes, 1u);
    ASSERT_EQ(munmap(memory_.data(), kBytes), 0);
    memory_.release();
    DeviceTest::TearDown();
  }
  Memory memory_{kBytes, GetParam()};
  const std::vector<int> zeros_ = std::vector<int>(kPages);
};

INSTANTIATE_TEST_SUITE_P(Memory, InVram, ::testing::Values(Memory::kAnonymous, Memory::kHugePages),
                         [](const auto& kind) { return kind.param == Memory::kHugePages ? "Huge" : "Small"; });

// The stack that grows, in a child whose only thread is on it.
[[gnu::noinline]] uint64_t deep(unsigned levels) {
  volatile uint64_t local[kPage / sizeof(uint64_t)];
  for (size_t at = 0; at < kPage / sizeof(uint64_t); ++at) local[at] = levels + at;
  const uint64_t below = levels == 0 ? 0 : deep(levels - 1);
  uint64_t sum = below;
  for (const uint64_t word : local) sum += word;
  return sum;
}

TEST(Calls, TheStackGrowsWhileItIsInVram) {
  EXPECT_TRUE(exited_well(in_child([] {
    Device gpu;
    const uint64_t shallow = deep(64), deeper = deep(512);
    // Where deep() was, which nobody uses now.
    auto* top = reinterpret_cast<uint8_t*>(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) / kPage * kPage) - 16 * kPage;
    for (const auto& [levels, sum] : {std::pair(64u, shallow), std::pair(512u, deeper)}) {
      gpu.to_vram(top - 32 * kPage, 32 * kPage);
      EXPECT_GT(gpu.in_vram(top - 32 * kPage, 32 * kPage), 30u);
      EXPECT_EQ(deep(levels), sum);
    }
  })));
}

TEST(Calls, TheHeapShrinksAndGrowsWhileItIsInVram) {
  EXPECT_TRUE(exited_well(in_child([] {
    Device gpu;
    const uintptr_t end = reinterpret_cast<uintptr_t>(sbrk(0)), start = (end + kPage - 1) / kPage * kPage;
    auto* data = reinterpret_cast<uint8_t*>(start);
    ASSERT_EQ(brk(data + kBytes), 0);
    fill(data, kBytes, 3);
    EXPECT_EQ(gpu.to_vram(data, kBytes).moved, kPages);
    ASSERT_EQ(brk(data + 9 * kPage), 0);
    ASSERT_EQ(brk(data + kBytes), 0);
    EXPECT_BYTES(data, 9 * kPage, 3u);
    EXPECT_TRUE(all_zero(data + 9 * kPage, kBytes - 9 * kPage));
  })));
}

std::string name(const ::testing::TestParamInfo<Calls::ParamType>& param) {
  const auto& [call, kind, place] = param.param;
  return std::string(call.name) + (kind == Memory::kHugePages ? "Huge" : "Small") + (place == kWhole ? "" : "InPart");
}

INSTANTIATE_TEST_SUITE_P(Memory, Calls,
                         ::testing::Combine(::testing::ValuesIn(kCalls), ::testing::Values(Memory::kAnonymous, Memory::kHugePages),
                                            ::testing::Values(kWhole, kPart)),
                         name);

// What the kernel answers otherwise: pages in VRAM are to it as if they were swapped out, and it changes nothing.
TEST_P(InVram, HasNoNode) {
  std::vector<void*> pages;
  for (size_t page = 0; page < kPages; page += 7) pages.push_back(memory_.page(page));
  for (const int* to : {static_cast<const int*>(nullptr), zeros_.data()}) {
    std::vector<int> status(pages.size(), 99);
    EXPECT_EQ(syscall(SYS_move_pages, 0, pages.size(), pages.data(), to, status.data(), MPOL_MF_MOVE), 0);
    for (const int one : status) EXPECT_TRUE(one == -ENOENT || one == 0) << one;
  }
  EXPECT_EQ(gpu_.in_vram(memory_.data(), kBytes), kPages);
}

TEST_P(InVram, HugePagesAreNotMadeOfHugePages) {
  const int result = madvise(memory_.data(), kBytes, kCollapse);
  EXPECT_TRUE(result == 0 || errno == EINVAL) << errno;
}

}  // namespace
}  // namespace godwit::guest
