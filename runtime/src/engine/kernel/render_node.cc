// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/render_node.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xf86drm.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "runtime/src/base/descriptor.h"

namespace godwit::kernel {
namespace {

constexpr const char* kDriverName = "godwit";

class RenderNode final : public Driver {
 public:
  RenderNode(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~RenderNode() override { close(); }
  RenderNode(const RenderNode&) = delete;
  RenderNode& operator=(const RenderNode&) = delete;

  [[nodiscard]] int call(unsigned long request, void* args) const noexcept override {
    const int saved = errno;
    const int result = drmIoctl(fd_, request, args) == 0 ? 0 : -errno;
    errno = saved;
    return result;
  }
  [[nodiscard]] void* map(std::uint64_t offset, std::size_t bytes) const noexcept override {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_,
                      static_cast<off_t>(offset));
    return at == MAP_FAILED ? nullptr : at;
  }
  void unmap(void* at, std::size_t bytes) const noexcept override { ::munmap(at, bytes); }
  [[nodiscard]] int fd() const noexcept override { return fd_; }
  [[nodiscard]] const std::string& path() const noexcept override { return path_; }
  void close() noexcept override {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  std::string path_;
  int fd_;
};

/// Paths of all render nodes, those that libdrm knows first. It passes over devices on buses that it
/// does not know (Linux's faux bus, before 2.4.125), so the folder is read as well.
std::vector<std::string> paths_of_nodes() {
  std::vector<std::string> paths;
  std::set<std::string> seen;
  const auto add = [&](std::string path) {
    if (seen.insert(path).second) paths.push_back(std::move(path));
  };
  if (const int count = drmGetDevices2(0, nullptr, 0); count > 0) {
    std::vector<drmDevicePtr> devices(static_cast<std::size_t>(count));
    const int got = drmGetDevices2(0, devices.data(), count);
    for (int index = 0; index < got; ++index) {
      const drmDevice& device = *devices[static_cast<std::size_t>(index)];
      if ((device.available_nodes & (1 << DRM_NODE_RENDER)) != 0) {
        add(device.nodes[DRM_NODE_RENDER]);
      }
    }
    if (got > 0) drmFreeDevices(devices.data(), got);
  }
  std::vector<std::string> others;
  if (DIR* folder = ::opendir(DRM_DIR_NAME); folder != nullptr) {
    while (const dirent* entry = ::readdir(folder)) {
      const std::string name = entry->d_name;
      if (name.starts_with(DRM_RENDER_MINOR_NAME)) others.push_back(DRM_DIR_NAME "/" + name);
    }
    ::closedir(folder);
  }
  std::sort(others.begin(), others.end());
  for (std::string& path : others) add(std::move(path));
  return paths;
}

std::string driver_of(int fd) {
  drmVersionPtr version = drmGetVersion(fd);
  if (version == nullptr) return "";
  std::string name(version->name, static_cast<std::size_t>(version->name_len));
  drmFreeVersion(version);
  return name;
}

std::string lack_of(const drm_godwit_device_info& info) {
  constexpr std::uint64_t kNeeds = GODWIT_CAP_MIGRATE | GODWIT_CAP_VIEW;
  if ((info.capabilities & kNeeds) == kNeeds) return "";
  return kind_name(info.kind) + " VRAM: memory of processes does not migrate there";
}

NodeEntry look_at(const std::string& path) {
  NodeEntry entry;
  entry.path = path;
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    entry.reason = std::strerror(errno);
    if (errno == EACCES) entry.reason += "; the group render has it";
    return entry;
  }
  const RenderNode node(path, fd);
  const std::string driver = driver_of(fd);
  if (driver != kDriverName) {
    entry.reason = "driver " + (driver.empty() ? std::string("unknown") : driver) +
                   ", not " + kDriverName;
    return entry;
  }
  entry.ours = true;
  if (const int error = node.query(&entry.info); error != 0) {
    entry.reason = std::string("does not say what it is: ") + std::strerror(-error);
    return entry;
  }
  (void)node.query(&entry.limits);  // zeros where the driver has none
  entry.reason = lack_of(entry.info);
  return entry;
}

std::string name_of(const NodeEntry& entry) {
  return entry.ours && entry.info.name[0] != '\0' ? entry.path + " (" + entry.info.name + ")"
                                                  : entry.path;
}

bool selected(const NodeEntry& entry, const std::string& select) {
  return select.empty() || entry.path.find(select) != std::string::npos ||
         (entry.ours && std::string(entry.info.name).find(select) != std::string::npos);
}

}  // namespace

std::string kind_name(std::uint32_t kind) {
  switch (kind) {
    case GODWIT_KIND_PRIVATE: return "private";
    case GODWIT_KIND_COHERENT: return "coherent";
    case GODWIT_KIND_EXPLICIT: return "explicit";
    default: return "kind " + std::to_string(kind);
  }
}

std::vector<NodeEntry> list_render_nodes() {
  std::vector<NodeEntry> entries;
  for (const std::string& path : paths_of_nodes()) entries.push_back(look_at(path));
  std::stable_sort(entries.begin(), entries.end(), [](const NodeEntry& a, const NodeEntry& b) {
    if (a.ours != b.ours) return a.ours;
    return a.info.generation < b.info.generation;
  });
  return entries;
}

Result<std::unique_ptr<Driver>> open_render_node(const std::string& select,
                                                 std::uint32_t version) {
  const std::vector<NodeEntry> entries = list_render_nodes();
  std::vector<std::string> reasons;
  bool named = false;
  for (const NodeEntry& entry : entries) {
    if (!selected(entry, select)) continue;
    named = true;
    if (!entry.reason.empty()) {
      reasons.push_back(name_of(entry) + ": " + entry.reason);
      continue;
    }
    const int fd = out_of_the_way(::open(entry.path.c_str(), O_RDWR | O_CLOEXEC));
    if (fd < 0) {
      reasons.push_back(name_of(entry) + ": " + std::strerror(errno));
      continue;
    }
    auto node = std::make_unique<RenderNode>(entry.path, fd);
    auto info = shake_hands(*node, version);
    if (info) return std::unique_ptr<Driver>(std::move(node));
    reasons.push_back(info.error().message);
  }
  if (!select.empty() && !named && !entries.empty()) {
    for (const NodeEntry& entry : entries) reasons.push_back("there is " + name_of(entry));
    return fail(Code::kInvalidArgument,
                "no render node has a path or a name with \"" + select + "\"", reasons);
  }
  if (entries.empty()) {
    return fail(Code::kUnavailable,
                "no device of the godwit module was found (there is no render node); load the "
                "module, or use --engine=user");
  }
  return fail(Code::kUnavailable,
              "no device of the godwit module can be used; load the module, or use --engine=user",
              reasons);
}

}  // namespace godwit::kernel
