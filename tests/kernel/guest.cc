// SPDX-License-Identifier: MIT
#include "tests/kernel/guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

namespace godwit::guest {
namespace {

bool is_godwit(int fd) {
  char name[32] = {};
  drm_version version = {};
  version.name = name;
  version.name_len = sizeof(name) - 1;
  return ioctl(fd, DRM_IOCTL_VERSION, &version) == 0 && std::string(name) == "godwit";
}

// Paths of our render nodes, in the order of registration.
std::vector<std::string> nodes() {
  std::map<uint64_t, std::string> found;
  DIR* folder = opendir("/dev/dri");
  if (folder == nullptr) return {};
  while (dirent* entry = readdir(folder)) {
    const std::string path = std::string("/dev/dri/") + entry->d_name;
    if (path.find("renderD") == std::string::npos) continue;
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) continue;
    drm_godwit_device_info info = {};
    drm_godwit_query query = {};
    query.what = GODWIT_QUERY_DEVICE;
    query.size = sizeof(info);
    query.data = reinterpret_cast<uintptr_t>(&info);
    if (is_godwit(fd) && ioctl(fd, DRM_IOCTL_GODWIT_QUERY, &query) == 0) {
      found[info.generation] = path;
    }
    close(fd);
  }
  closedir(folder);
  std::vector<std::string> paths;
  paths.reserve(found.size());
  for (const auto& [generation, path] : found) paths.push_back(path);
  return paths;
}

// A different value for every seed and offset.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

thread_local sigjmp_buf jump;
thread_local volatile sig_atomic_t caught;

void on_signal(int number) {
  caught = number;
  siglongjmp(jump, 1);
}

}  // namespace

Device::Device(int index) {
  const std::vector<std::string> paths = nodes();
  if (static_cast<size_t>(index) >= paths.size()) {
    ADD_FAILURE() << "no godwit device number " << index << ", there are " << paths.size();
    return;
  }
  fd_ = open(paths[static_cast<size_t>(index)].c_str(), O_RDWR | O_CLOEXEC);
  if (fd_ < 0) ADD_FAILURE() << paths[static_cast<size_t>(index)] << ": " << strerror(errno);
}

Device::~Device() { close(); }

void Device::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int Device::count() { return static_cast<int>(nodes().size()); }

int Device::raw(unsigned long request, void* args) const {
  return ioctl(fd_, request, args) == 0 ? 0 : -errno;
}

drm_godwit_device_info Device::info() const {
  drm_godwit_device_info info = {};
  query(GODWIT_QUERY_DEVICE, &info, sizeof(info));
  return info;
}

drm_godwit_limits Device::limits() const {
  drm_godwit_limits limits = {};
  query(GODWIT_QUERY_LIMITS, &limits, sizeof(limits));
  return limits;
}

void Device::query(uint32_t what, void* answer, uint32_t size) const {
  drm_godwit_query query = {};
  query.what = what;
  query.size = size;
  query.data = reinterpret_cast<uintptr_t>(answer);
  EXPECT_EQ(call(DRM_IOCTL_GODWIT_QUERY, &query), 0);
}

uint64_t Device::stat(drm_godwit_stat which, bool of_device) const {
  uint64_t values[GODWIT_STAT_COUNT] = {};
  drm_godwit_stats stats = {};
  stats.scope = of_device ? GODWIT_STATS_DEVICE : GODWIT_STATS_CLIENT;
  stats.count = GODWIT_STAT_COUNT;
  stats.values = reinterpret_cast<uintptr_t>(values);
  EXPECT_EQ(call(DRM_IOCTL_GODWIT_STATS, &stats), 0);
  return values[which];
}

drm_godwit_migrate Device::migrate(const void* addr, size_t length, uint32_t to, uint32_t flags,
                                   std::vector<uint8_t>* reasons) const {
  drm_godwit_migrate args = {};
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  args.to = to;
  args.flags = flags;
  if (reasons != nullptr) {
    reasons->assign(length / kPage, 0xff);
    args.reasons = reinterpret_cast<uintptr_t>(reasons->data());
    args.reasons_size = reasons->size();
  }
  EXPECT_EQ(call(DRM_IOCTL_GODWIT_MIGRATE, &args), 0);
  uint64_t accounted = args.moved + args.already;
  for (const uint64_t stayed : args.stayed) accounted += stayed;
  EXPECT_EQ(accounted, length / kPage) << "pages without an outcome";
  // What a test expects to move says by this why it did not.
  for (size_t reason = 0; reason < GODWIT_STAY_SLOTS; ++reason) {
    if (args.stayed[reason] == 0) continue;
    std::printf("%llu pages stayed for reason %zu\n",
                static_cast<unsigned long long>(args.stayed[reason]), reason);
  }
  return args;
}

drm_godwit_evict Device::evict(uint32_t what, const void* addr, size_t length,
                               uint32_t client) const {
  drm_godwit_evict args = {};
  args.what = what;
  args.client = client;
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  EXPECT_EQ(call(DRM_IOCTL_GODWIT_EVICT, &args), 0);
  return args;
}

int Device::pin(const void* addr, size_t length, uint32_t place, uint32_t* handle) const {
  drm_godwit_pin args = {};
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  args.place = place;
  const int status = call(DRM_IOCTL_GODWIT_PIN, &args);
  if (handle != nullptr) *handle = args.handle;
  return status;
}

int Device::unpin(uint32_t handle) const {
  drm_godwit_unpin args = {};
  args.handle = handle;
  return call(DRM_IOCTL_GODWIT_UNPIN, &args);
}

int Device::advise(const void* addr, size_t length, uint32_t advice, uint32_t value) const {
  drm_godwit_advise args = {};
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  args.advice = advice;
  args.value = value;
  return call(DRM_IOCTL_GODWIT_ADVISE, &args);
}

drm_godwit_discard Device::discard(const void* addr, size_t length) const {
  drm_godwit_discard args = {};
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  EXPECT_EQ(call(DRM_IOCTL_GODWIT_DISCARD, &args), 0);
  return args;
}

drm_godwit_residency Device::residency(const void* addr, size_t length,
                                       std::vector<uint32_t>* pages) const {
  drm_godwit_residency args = {};
  args.addr = reinterpret_cast<uintptr_t>(addr);
  args.length = length;
  if (pages != nullptr) {
    pages->assign(length / kPage, 0xffffffffu);
    args.pages = reinterpret_cast<uintptr_t>(pages->data());
    args.pages_size = pages->size() * sizeof(uint32_t);
  }
  int status;
  // It has changed without pause for a second: on a busy machine the kernel's thread that merges pages does that.
  do status = call(DRM_IOCTL_GODWIT_RESIDENCY, &args);
  while (status == -EBUSY);
  EXPECT_EQ(status, 0);
  return args;
}

SoftDevice::SoftDevice(const std::string& spec) {
  index_ = Device::count();
  EXPECT_EQ(write_file("/sys/module/godwit_soft/parameters/add", spec), 0) << spec;
  if (Device::count() != index_ + 1) {
    ADD_FAILURE() << "no device came for " << spec;
    return;
  }
  name_ = Device(index_).info().name;
}

SoftDevice::~SoftDevice() { remove(); }

void SoftDevice::remove() {
  if (name_.empty()) return;
  EXPECT_EQ(write_file("/sys/module/godwit_soft/parameters/remove", name_), 0) << name_;
  name_.clear();
}

Memory::Memory(size_t bytes, Kind kind) : size_(bytes) {
  const int flags = kind == kShared ? MAP_SHARED | MAP_ANONYMOUS : MAP_PRIVATE | MAP_ANONYMOUS;
  if (kind == kHugetlb) {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
    data_ = at == MAP_FAILED ? nullptr : static_cast<uint8_t*>(at);
    return;
  }
  // Aligned to huge pages, with nothing of ours next to it.
  const size_t room = bytes + 2 * kHuge;
  auto* base = static_cast<uint8_t*>(
      mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (base == MAP_FAILED) {
    ADD_FAILURE() << "mmap: " << strerror(errno);
    return;
  }
  auto* aligned = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(base) + kHuge - 1) &
                                             ~(kHuge - 1));
  // Within the room, so that no other thread's mapping can come in between.
  void* at = mmap(aligned, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
  const int error = errno;
  if (aligned != base) munmap(base, static_cast<size_t>(aligned - base));
  munmap(aligned + bytes, static_cast<size_t>(base + room - (aligned + bytes)));
  if (at == MAP_FAILED) {
    ADD_FAILURE() << "mmap: " << strerror(error);
    return;
  }
  data_ = static_cast<uint8_t*>(at);
  madvise(data_, bytes, kind == kHugePages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

Memory::Memory(size_t bytes, int flags, int fd, int protection) : size_(bytes) {
  void* at = mmap(nullptr, bytes, protection, flags, fd, 0);
  if (at == MAP_FAILED) {
    ADD_FAILURE() << "mmap: " << strerror(errno);
    return;
  }
  data_ = static_cast<uint8_t*>(at);
}

Memory::~Memory() {
  if (data_ != nullptr) munmap(data_, size_);
}

Migrators::Migrators(int device, const std::vector<Memory::Kind>& kinds) {
  int started[2];
  EXPECT_EQ(pipe(started), 0);
  for (uint64_t seed = 0; seed < kinds.size(); ++seed) {
    fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) work(device, kinds[seed], seed, started[1]);
    children_.push_back(child);
  }
  // A child that died writes nothing.
  ::close(started[1]);
  char byte = 0;
  for (size_t i = 0; i < children_.size(); ++i) EXPECT_EQ(read(started[0], &byte, 1), 1);
  ::close(started[0]);
}

Migrators::~Migrators() {
  for (const pid_t child : children_) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(exited_well(status)) << status;
  }
}

void Migrators::work(int device, Memory::Kind kind, uint64_t seed, int started) {
  Device gpu(device);
  Memory memory(4 * kHuge, kind);
  fill(memory.data(), memory.size(), seed);
  drm_godwit_migrate args = {};
  args.addr = reinterpret_cast<uintptr_t>(memory.data());
  args.length = memory.size();
  args.to = GODWIT_PLACE_VRAM;
  int result = gpu.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
  if (write(started, "x", 1) != 1) _exit(2);
  while (result == 0) {
    if (differs(memory.data(), memory.size(), seed) != -1) _exit(3);
    result = gpu.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
  }
  if (result != -ENODEV) _exit(4);
  _exit(differs(memory.data(), memory.size(), seed) == -1 ? 0 : 5);
}

void fill(void* data, size_t bytes, uint64_t seed) {
  auto* words = static_cast<uint64_t*>(data);
  for (size_t i = 0; i < bytes / 8; ++i) words[i] = mix(seed * 0x100000001b3u + i);
}

ptrdiff_t differs(const void* data, size_t bytes, uint64_t seed) {
  const auto* words = static_cast<const uint64_t*>(data);
  for (size_t i = 0; i < bytes / 8; ++i) {
    if (words[i] != mix(seed * 0x100000001b3u + i)) return static_cast<ptrdiff_t>(i * 8);
  }
  return -1;
}

bool all_zero(const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  return std::all_of(from, from + bytes, [](uint8_t byte) { return byte == 0; });
}

namespace {

pid_t start_child(const std::function<void()>& body) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    body();
    fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  EXPECT_GT(child, 0);
  return child;
}

int end_of_child(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

int in_child(const std::function<void()>& body) { return end_of_child(start_child(body)); }

void in_children(uint64_t count, const std::function<void(uint64_t)>& body) {
  std::vector<pid_t> children;
  for (uint64_t number = 0; number < count; ++number) {
    children.push_back(start_child([&] { body(number); }));
  }
  for (const pid_t child : children) {
    const int status = end_of_child(child);
    EXPECT_TRUE(exited_well(status)) << status;
  }
}

Processor::Processor() { EXPECT_EQ(sched_getaffinity(0, sizeof(before_), &before_), 0); }

Processor::~Processor() { EXPECT_EQ(sched_setaffinity(0, sizeof(before_), &before_), 0); }

void Processor::run_on(int number) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(number, &set);
  EXPECT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

void Processor::free_elsewhere(const Memory& memory) const {
  run_on(0);
  EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_FREE), 0);
  run_on(1);
}

bool exited_well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

bool soon(const std::function<bool()>& is_so) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

int signal_of(const std::function<void()>& body) {
  struct sigaction action = {}, old[3];
  const int numbers[] = {SIGBUS, SIGSEGV, SIGILL};
  action.sa_handler = on_signal;
  action.sa_flags = SA_NODEFER;
  for (size_t i = 0; i < 3; ++i) sigaction(numbers[i], &action, &old[i]);
  caught = 0;
  if (sigsetjmp(jump, 1) == 0) body();
  for (size_t i = 0; i < 3; ++i) sigaction(numbers[i], &old[i], nullptr);
  return caught;
}

int temporary_file(size_t bytes, uint64_t seed, const char* folder) {
  const int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) {
    ADD_FAILURE() << folder << ": " << strerror(errno);
    return -1;
  }
  std::vector<uint64_t> words(bytes / 8);
  fill(words.data(), bytes, seed);
  size_t done = 0;
  while (done < bytes) {
    const ssize_t wrote =
        write(fd, reinterpret_cast<const char*>(words.data()) + done, bytes - done);
    if (wrote <= 0) {
      ADD_FAILURE() << "write: " << strerror(errno);
      break;
    }
    done += static_cast<size_t>(wrote);
  }
  return fd;
}

size_t huge_kib(const void* data) {
  std::istringstream maps(read_file("/proc/self/smaps"));
  const auto address = reinterpret_cast<uintptr_t>(data);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long start = 0, end = 0;
    size_t kib = 0;
    if (sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2) {
      inside = start <= address && address < end;
    } else if (inside && sscanf(line.c_str(), "AnonHugePages: %zu kB", &kib) == 1) {
      return kib;
    }
  }
  return 0;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int write_file(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const ssize_t wrote = write(fd, text.data(), text.size());
  const int result = wrote < 0 ? -errno : 0;
  close(fd);
  return result;
}

uint64_t wait_for_free(const Device& device, uint64_t bytes) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  uint64_t free = device.info().vram_free;
  for (int round = 1; free < bytes && std::chrono::steady_clock::now() < deadline; ++round) {
    // A page of coherent VRAM can be in another processor's list of pages to put on an LRU, or
    // to take the mlock off. Compaction begins by emptying these.
    if (round % 100 == 0) write_file("/proc/sys/vm/compact_memory", "1");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    free = device.info().vram_free;
  }
  return free;
}

void DeviceTest::SetUp() {
  ASSERT_GE(gpu_.fd(), 0);
  free_before_ = gpu_.info().vram_free;
  EXPECT_EQ(free_before_, gpu_.info().vram_total) << "VRAM is in use before the test";
}

void DeviceTest::TearDown() {
  if (gpu_.fd() < 0) return;
  EXPECT_EQ(wait_for_free(gpu_, free_before_), free_before_) << "VRAM leaked";
}

}  // namespace godwit::guest
