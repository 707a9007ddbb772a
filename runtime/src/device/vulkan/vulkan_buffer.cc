// SPDX-License-Identifier: MIT
// Buffer of vulkan_memory.h.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "runtime/src/device/vulkan/vulkan_memory.h"

namespace godwit::vulkan {
namespace {

constexpr VkMemoryPropertyFlags kHostFlags =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkExternalMemoryHandleTypeFlagBits kHostPointer =
    VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
constexpr std::uint32_t kNoType = ~std::uint32_t{0};

// Pages for an import: not inherited by fork, since a child has no use for the device and a copy
// on write would part the device from the parent.
std::byte* map_pages(std::uint64_t bytes) noexcept {
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  static_cast<void>(madvise(pages, bytes, MADV_DONTFORK));
  static_cast<void>(madvise(pages, bytes, MADV_HUGEPAGE));
  return static_cast<std::byte*>(pages);
}

// The first type in `bits` with all of `need`, one with `prefer` before others.
std::uint32_t find_type(const Gpu& gpu, std::uint32_t bits, VkMemoryPropertyFlags need,
                        VkMemoryPropertyFlags prefer) noexcept {
  std::uint32_t found = kNoType;
  for (std::uint32_t i = 0; i < gpu.memory().memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = gpu.memory().memoryTypes[i].propertyFlags;
    if ((bits >> i & 1U) == 0 || (flags & need) != need) continue;
    if ((flags & prefer) == prefer) return i;
    if (found == kNoType) found = i;
  }
  return found;
}

}  // namespace

void Buffer::swap(Buffer& other) noexcept {
  std::swap(gpu_, other.gpu_);
  std::swap(buffer_, other.buffer_);
  std::swap(memory_, other.memory_);
  std::swap(address_, other.address_);
  std::swap(data_, other.data_);
  std::swap(mapping_, other.mapping_);
  std::swap(bytes_, other.bytes_);
}

Buffer::~Buffer() {
  if (gpu_ == nullptr) return;
  if (buffer_ != VK_NULL_HANDLE) gpu_->vk.vkDestroyBuffer(gpu_->handle(), buffer_, nullptr);
  // Unmaps, too.
  if (memory_ != VK_NULL_HANDLE) gpu_->vk.vkFreeMemory(gpu_->handle(), memory_, nullptr);
  if (mapping_ != nullptr) munmap(mapping_, bytes_);
}

int Buffer::make_buffer(VkExternalMemoryHandleTypeFlagBits external) noexcept {
  VkExternalMemoryBufferCreateInfo outside{};
  outside.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO;
  outside.handleTypes = external;
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.pNext = external != 0 ? &outside : nullptr;
  info.size = bytes_;
  info.usage = VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
               VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  info.sharingMode =
      gpu_->families().size() > 1 ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE;
  info.queueFamilyIndexCount = static_cast<std::uint32_t>(gpu_->families().size());
  info.pQueueFamilyIndices = gpu_->families().data();
  const VkResult result = gpu_->vk.vkCreateBuffer(gpu_->handle(), &info, nullptr, &buffer_);
  if (result == VK_SUCCESS) return 0;
  buffer_ = VK_NULL_HANDLE;
  return gpu_->error_of(result);
}

int Buffer::bind_memory(const VkMemoryAllocateInfo& allocate, bool map) noexcept {
  VkResult result = gpu_->vk.vkAllocateMemory(gpu_->handle(), &allocate, nullptr, &memory_);
  if (result != VK_SUCCESS) {
    memory_ = VK_NULL_HANDLE;
    return result == VK_ERROR_INVALID_EXTERNAL_HANDLE ? -EOPNOTSUPP : gpu_->error_of(result);
  }
  result = gpu_->vk.vkBindBufferMemory(gpu_->handle(), buffer_, memory_, 0);
  if (result != VK_SUCCESS) return gpu_->error_of(result);
  const VkMemoryPropertyFlags type =
      gpu_->memory().memoryTypes[allocate.memoryTypeIndex].propertyFlags;
  if (map && (type & kHostFlags) == kHostFlags) {
    void* data = nullptr;
    result = gpu_->vk.vkMapMemory(gpu_->handle(), memory_, 0, VK_WHOLE_SIZE, 0, &data);
    if (result == VK_ERROR_MEMORY_MAP_FAILED) return -ENOMEM;
    if (result != VK_SUCCESS) return gpu_->error_of(result);
    data_ = static_cast<std::byte*>(data);
  }
  VkBufferDeviceAddressInfo address{};
  address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
  address.buffer = buffer_;
  address_ = gpu_->vk.vkGetBufferDeviceAddress(gpu_->handle(), &address);
  return 0;
}

int Buffer::create(Gpu& gpu, std::uint64_t bytes, std::uint32_t type, bool import,
                   Buffer* out) noexcept {
  Buffer made;
  made.gpu_ = &gpu;
  made.bytes_ = bytes;
  int error = made.make_buffer(import ? kHostPointer : VkExternalMemoryHandleTypeFlagBits{});
  if (error != 0) return error;

  VkMemoryRequirements needs{};
  gpu.vk.vkGetBufferMemoryRequirements(gpu.handle(), made.buffer_, &needs);
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  VkImportMemoryHostPointerInfoEXT host{};
  host.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
  host.handleType = kHostPointer;
  std::uint32_t bits = needs.memoryTypeBits;
  if (import) {
    if (needs.size > bytes || bytes % gpu.physical().import_alignment != 0) return -EINVAL;
    made.mapping_ = map_pages(bytes);
    if (made.mapping_ == nullptr) return -ENOMEM;
    VkMemoryHostPointerPropertiesEXT properties{};
    properties.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT;
    if (gpu.vk.vkGetMemoryHostPointerPropertiesEXT(gpu.handle(), kHostPointer, made.mapping_,
                                                   &properties) != VK_SUCCESS) {
      return -EOPNOTSUPP;
    }
    bits &= properties.memoryTypeBits;
    host.pHostPointer = made.mapping_;
    flags.pNext = &host;
    if (type == kNoType) {
      type = find_type(gpu, bits, kHostFlags, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
    }
  }
  if (type >= gpu.memory().memoryTypeCount || (bits >> type & 1U) == 0) return -EOPNOTSUPP;

  VkMemoryAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.pNext = &flags;
  allocate.allocationSize = import ? bytes : needs.size;
  allocate.memoryTypeIndex = type;
  error = made.bind_memory(allocate, !import);
  if (error != 0) return error;
  if (import) made.data_ = made.mapping_;
  out->swap(made);
  return 0;
}

int Buffer::import_dma_buf(Gpu& gpu, int fd, Buffer* out) noexcept {
  constexpr auto kDmaBuf = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
  const off_t size = ::lseek(fd, 0, SEEK_END);
  if (size <= 0) return -EINVAL;
  Buffer made;
  made.gpu_ = &gpu;
  made.bytes_ = static_cast<std::uint64_t>(size);
  if (const int error = made.make_buffer(kDmaBuf); error != 0) return error;
  VkMemoryRequirements needs{};
  gpu.vk.vkGetBufferMemoryRequirements(gpu.handle(), made.buffer_, &needs);
  VkMemoryFdPropertiesKHR properties{};
  properties.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR;
  if (gpu.vk.vkGetMemoryFdPropertiesKHR(gpu.handle(), kDmaBuf, fd, &properties) != VK_SUCCESS) {
    return -EOPNOTSUPP;
  }
  const std::uint32_t bits = needs.memoryTypeBits & properties.memoryTypeBits;
  const std::uint32_t type =
      find_type(gpu, bits, kHostFlags, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  if (type == kNoType) return -EOPNOTSUPP;
  // Vulkan takes the descriptor where the import succeeds.
  VkImportMemoryFdInfoKHR import{};
  import.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR;
  import.handleType = kDmaBuf;
  import.fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (import.fd < 0) return -errno;
  VkMemoryAllocateFlagsInfo flags{};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.pNext = &import;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  VkMemoryAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.pNext = &flags;
  allocate.allocationSize = made.bytes_;
  allocate.memoryTypeIndex = type;
  const int error = made.bind_memory(allocate, true);
  if (error != 0) {
    if (made.memory_ == VK_NULL_HANDLE) ::close(import.fd);
    return error;
  }
  // A child would see its parent's memory through it.
  if (made.data_ != nullptr) (void)::madvise(made.data_, made.bytes_, MADV_DONTFORK);
  out->swap(made);
  return 0;
}

int Buffer::create_host(Gpu& gpu, std::uint64_t bytes, Use use, Source source,
                        Buffer* out) noexcept {
  const bool can_import = gpu.physical().memory_host;
  const bool import =
      source == Source::kImport || (source == Source::kAuto && gpu.physical().is_cpu && can_import);
  if (import) {
    if (!can_import) return -EOPNOTSUPP;
    const std::uint64_t unit =
        std::max<std::uint64_t>(kPageBytes, gpu.physical().import_alignment);
    return create(gpu, align_up(bytes, unit), kNoType, true, out);
  }
  // Tables in VRAM where the host can write there: shaders read each entry often.
  const VkMemoryPropertyFlags prefer = use == Use::kTable
                                           ? VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
                                           : VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  const std::uint32_t type = find_type(gpu, ~std::uint32_t{0}, kHostFlags, prefer);
  const int error = create(gpu, bytes, type, false, out);
  if (use != Use::kTable || (error != -ENOMEM && error != -EOPNOTSUPP)) return error;
  const std::uint32_t plain =
      find_type(gpu, ~std::uint32_t{0}, kHostFlags, VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  return plain == type ? error : create(gpu, bytes, plain, false, out);
}

}  // namespace godwit::vulkan
