// SPDX-License-Identifier: MIT
// A 32-bit program, which sees the same structures and gets the same answers (godwit_drm.h, its rules). It has neither a C
// library nor GoogleTest, since a 64-bit Debian has them for its own programs only: system calls, and a line for each case.
#include <asm/unistd_32.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "godwit_drm.h"

#include <godwit/layout.h>

_Static_assert(sizeof(void*) == 4, "this is to be built for 32 bits");

enum { kPage = 4096, kBytes = 1 << 20, kWords = kBytes / 4, kFirstNode = 128, kNodes = 64 };

static long call(long number, long a, long b, long c, long d, long e, long f) {
  const long in[2] = {number, f};
  long out;
  // The sixth argument is in the register of the stack's frames.
  __asm__ volatile(
      "pushl %%ebp\n\t"
      "movl 4(%%eax), %%ebp\n\t"
      "movl (%%eax), %%eax\n\t"
      "int $0x80\n\t"
      "popl %%ebp"
      : "=a"(out)
      : "0"(in), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
      : "memory");
  return out;
}

static long godwit(int fd, unsigned long request, void* args) { return call(__NR_ioctl, fd, (long)request, (long)args, 0, 0, 0); }

static void* map(int fd, size_t bytes, uint64_t offset) {
  const long flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  const long at = call(__NR_mmap2, 0, (long)bytes, PROT_READ | PROT_WRITE, flags, fd, (long)(offset / kPage));
  return at < 0 && at > -kPage ? NULL : (void*)at;
}

static uint64_t address(const void* pointer) { return (uintptr_t)pointer; }

static void write_all(const char* text) {
  long left = 0;
  while (text[left] != '\0') ++left;
  while (left > 0) {
    const long wrote = call(__NR_write, 1, (long)text, left, 0, 0, 0);
    if (wrote <= 0) return;
    text += wrote;
    left -= wrote;
  }
}

static bool failed;

// `what` is what was expected of a case and did not hold, or NULL.
static void report(const char* name, const char* what) {
  write_all(what != NULL ? "FAIL Compat." : "PASS Compat.");
  write_all(name);
  if (what != NULL) {
    write_all(": not so: ");
    write_all(what);
    failed = true;
  }
  write_all("\n");
}

#define EXPECT(condition) \
  if (!(condition)) return #condition

// The compiler makes calls of these.
void* memset(void* to, int value, size_t bytes);
void* memset(void* to, int value, size_t bytes) {
  for (volatile unsigned char* at = to; bytes != 0; --bytes) *at++ = (unsigned char)value;
  return to;
}

static void fill(uint32_t* words, uint32_t seed) {
  for (uint32_t word = 0; word < kWords; ++word) words[word] = seed + word * 2654435761u;
}

static bool is_filled(const uint32_t* words, uint32_t seed) {
  for (uint32_t word = 0; word < kWords; ++word) {
    if (words[word] != seed + word * 2654435761u) return false;
  }
  return true;
}

static long query(int fd, struct drm_godwit_device_info* info) {
  struct drm_godwit_query args = {0};
  args.what = GODWIT_QUERY_DEVICE;
  args.size = sizeof(*info);
  args.data = address(info);
  return godwit(fd, DRM_IOCTL_GODWIT_QUERY, &args);
}

// The first render node that is ours, or a negative errno.
static int open_device(void) {
  for (int node = kFirstNode; node < kFirstNode + kNodes; ++node) {
    char path[] = "/dev/dri/renderD...";
    char* digits = path + sizeof(path) - 4;
    digits[0] = (char)('0' + node / 100);
    digits[1] = (char)('0' + node / 10 % 10);
    digits[2] = (char)('0' + node % 10);
    const long fd = call(__NR_open, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0, 0);
    if (fd < 0) continue;
    char name[8] = {0};
    struct drm_version version = {0};
    version.name = name;
    version.name_len = sizeof(name) - 1;
    if (godwit((int)fd, DRM_IOCTL_VERSION, &version) == 0 && name[0] == 'g' && name[5] == 't') return (int)fd;
    call(__NR_close, fd, 0, 0, 0, 0, 0);
  }
  return -1;
}

static const char* tells_of_itself(int fd) {
  struct drm_godwit_device_info info = {0};
  EXPECT(query(fd, &info) == 0);
  EXPECT(info.kind == GODWIT_KIND_PRIVATE || info.kind == GODWIT_KIND_COHERENT);
  EXPECT(info.vram_total != 0 && info.vram_total % kPage == 0 && info.vram_free <= info.vram_total);
  EXPECT(info.name[0] != '\0');
  return NULL;
}

static long migrate(int fd, uint64_t addr, uint64_t length, uint32_t to, struct drm_godwit_migrate* args) {
  *args = (struct drm_godwit_migrate){0};
  args->addr = addr;
  args->length = length;
  args->to = to;
  return godwit(fd, DRM_IOCTL_GODWIT_MIGRATE, args);
}

static const char* pages_go_and_come_home(int fd) {
  struct drm_godwit_migrate args;
  uint32_t* words = map(-1, kBytes, 0);
  EXPECT(words != NULL);
  fill(words, 1);
  EXPECT(migrate(fd, address(words), kBytes, GODWIT_PLACE_VRAM, &args) == 0 && args.moved == kBytes / kPage);
  EXPECT(migrate(fd, address(words), kBytes, GODWIT_PLACE_SYSTEM, &args) == 0 && args.moved == kBytes / kPage);
  EXPECT(is_filled(words, 1));
  EXPECT(migrate(fd, address(words), kBytes, GODWIT_PLACE_VRAM, &args) == 0 && args.moved == kBytes / kPage);
  // By being touched.
  EXPECT(is_filled(words, 1));
  return NULL;
}

static const char* has_no_memory_above_4_gib(int fd) {
  struct drm_godwit_migrate args;
  EXPECT(migrate(fd, UINT64_C(1) << 32, kBytes, GODWIT_PLACE_VRAM, &args) == -22);  // EINVAL
  // What would be this one if the upper half were lost.
  uint32_t* words = map(-1, kBytes, 0);
  EXPECT(words != NULL);
  fill(words, 2);
  EXPECT(migrate(fd, (UINT64_C(1) << 32) + address(words), kBytes, GODWIT_PLACE_VRAM, &args) == -22);
  EXPECT(migrate(fd, address(words), (UINT64_C(1) << 32) + kBytes, GODWIT_PLACE_VRAM, &args) == -22);
  EXPECT(migrate(fd, address(words), kBytes, GODWIT_PLACE_SYSTEM, &args) == 0 && args.already == kBytes / kPage);
  return NULL;
}

static const char* a_job_works_on_its_memory(int fd) {
  struct drm_godwit_command commands[2] = {{0}, {0}};
  struct drm_godwit_result results[2] = {{0}, {0}};
  struct drm_godwit_execute args = {0};
  uint32_t* words = map(-1, kBytes, 0);
  EXPECT(words != NULL);
  uint64_t* counters = (uint64_t*)words;
  counters[1] = 40;
  commands[0].op = GODWIT_OP_ATOMIC_ADD;
  commands[0].addr = address(counters);
  commands[0].length = 16;
  commands[0].operand = UINT64_C(0x100000002);
  commands[1].op = GODWIT_OP_COPY;
  commands[1].addr = address(words) + kBytes / 2;
  commands[1].source = address(words);
  commands[1].length = 16;
  args.commands = address(commands);
  args.command_count = 2;
  args.command_stride = sizeof(commands[0]);
  args.results = address(results);
  args.result_stride = sizeof(results[0]);
  args.flags = GODWIT_EXECUTE_WAIT;
  EXPECT(godwit(fd, DRM_IOCTL_GODWIT_EXECUTE, &args) == 0 && args.status == 0);
  EXPECT(results[0].status == 0 && results[0].done == 16 && results[0].pages_moved != 0);
  EXPECT(results[1].status == 0 && results[1].done == 16);
  EXPECT(counters[0] == UINT64_C(0x100000002) && counters[1] == UINT64_C(0x10000002a));
  EXPECT(words[kWords / 2] == 2 && words[kWords / 2 + 1] == 1 && words[kWords / 2 + 2] == 42);
  return NULL;
}

static const char* a_view_shows_its_memory(int fd) {
  struct drm_godwit_view args = {0};
  uint32_t* words = map(-1, kBytes, 0);
  EXPECT(words != NULL);
  fill(words, 3);
  args.addr = address(words);
  args.length = kBytes;
  EXPECT(godwit(fd, DRM_IOCTL_GODWIT_VIEW, &args) == 0);
  uint32_t* view = map(args.fd, kBytes, 0);
  EXPECT(view != NULL);
  EXPECT(is_filled(view, 3));
  fill(view, 4);
  EXPECT(is_filled(words, 4));
  return NULL;
}

// Its place in the device's file is behind 4 GiB.
static const char* an_object_can_be_mapped(int fd) {
  struct drm_godwit_gem_create args = {0};
  struct drm_godwit_gem_move move = {0};
  args.size = kBytes;
  args.place = GODWIT_PLACE_VRAM;
  EXPECT(godwit(fd, DRM_IOCTL_GODWIT_GEM_CREATE, &args) == 0);
  EXPECT(args.map_offset >= UINT64_C(1) << 32);
  uint32_t* words = map(fd, kBytes, args.map_offset);
  EXPECT(words != NULL);
  fill(words, 5);
  move.handle = args.handle;
  move.place = GODWIT_PLACE_SYSTEM;
  EXPECT(godwit(fd, DRM_IOCTL_GODWIT_GEM_MOVE, &move) == 0);
  EXPECT(is_filled(words, 5));
  return NULL;
}

// A newer program's structure is longer. What it does not use is zero there.
static const char* a_longer_structure_is_looked_at(int fd) {
  struct {
    struct drm_godwit_query known;
    uint64_t more;
  } args;
  const unsigned long longer = _IOC(_IOC_READ | _IOC_WRITE, 'd', DRM_COMMAND_BASE + DRM_GODWIT_QUERY, sizeof(args));
  struct drm_godwit_device_info info = {0};
  for (uint64_t more = 0; more < 2; ++more) {
    memset(&args, 0, sizeof(args));
    args.known.what = GODWIT_QUERY_DEVICE;
    args.known.size = sizeof(info);
    args.known.data = address(&info);
    args.more = more;
    EXPECT(godwit(fd, longer, &args) == (more ? -7 : 0));  // E2BIG
  }
  return NULL;
}

// It is where a system call of 32 bits can still point.
static const char* the_event_ring_can_be_mapped(int fd) {
  struct drm_godwit_events args = {0};
  struct drm_godwit_migrate moved;
  args.capacity = 64;
  args.types = 1ull << GODWIT_EVENT_MIGRATE;
  EXPECT(godwit(fd, DRM_IOCTL_GODWIT_EVENTS, &args) == 0);
  const struct drm_godwit_ring* ring = map(fd, (size_t)args.map_length, args.map_offset);
  EXPECT(ring != NULL);
  EXPECT(ring->capacity == 64 && ring->head == 0);
  uint32_t* words = map(-1, kBytes, 0);
  EXPECT(words != NULL);
  EXPECT(migrate(fd, address(words), kBytes, GODWIT_PLACE_VRAM, &moved) == 0);
  EXPECT(ring->head != 0);
  return NULL;
}

int run(void);
int run(void) {
  const int fd = open_device();
  if (fd < 0) {
    report("FindsADevice", "there is one");
    return 1;
  }
  report("TellsOfItself", tells_of_itself(fd));
  report("PagesGoAndComeHome", pages_go_and_come_home(fd));
  report("HasNoMemoryAbove4GiB", has_no_memory_above_4_gib(fd));
  report("AJobWorksOnItsMemory", a_job_works_on_its_memory(fd));
  report("AViewShowsItsMemory", a_view_shows_its_memory(fd));
  report("AnObjectCanBeMapped", an_object_can_be_mapped(fd));
  report("ALongerStructureIsLookedAt", a_longer_structure_is_looked_at(fd));
  report("TheEventRingCanBeMapped", the_event_ring_can_be_mapped(fd));
  return failed;
}

__asm__(
    ".globl _start\n"
    "_start:\n\t"
    "andl $-16, %esp\n\t"
    "call run\n\t"
    "movl %eax, %ebx\n\t"
    "movl $1, %eax\n\t"  // exit
    "int $0x80\n");
