// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_pipelines.h"

#include "runtime/src/device/vulkan/gemm_complex_double.h"
#include "runtime/src/device/vulkan/gemm_complex_float.h"
#include "runtime/src/device/vulkan/gemm_cpu_complex_double.h"
#include "runtime/src/device/vulkan/gemm_cpu_complex_float.h"
#include "runtime/src/device/vulkan/gemm_cpu_double.h"
#include "runtime/src/device/vulkan/gemm_cpu_float.h"
#include "runtime/src/device/vulkan/gemm_double.h"
#include "runtime/src/device/vulkan/gemm_float.h"
#include "runtime/src/device/vulkan/rows.h"
#include "runtime/src/device/vulkan/walk.h"
#include "runtime/src/device/vulkan/words_add.h"
#include "runtime/src/device/vulkan/words_fill.h"
#include "runtime/src/device/vulkan/words_sum.h"

namespace godwit::vulkan {
namespace {

using Code32 = std::span<const std::uint32_t>;

struct Kernel {
  Code32 code;
  Tile tile;
};

// By ScalarType. The tile is THREADS * BLOCK of the target in BUILD.bazel, squared.
constexpr Kernel kForGpu[4] = {{spirv::kGemmFloat, {64, 64}},
                               {spirv::kGemmDouble, {64, 64}},
                               {spirv::kGemmComplexFloat, {64, 64}},
                               {spirv::kGemmComplexDouble, {32, 32}}};
constexpr Kernel kForCpu[4] = {{spirv::kGemmCpuFloat, {64, 64}},
                               {spirv::kGemmCpuDouble, {64, 64}},
                               {spirv::kGemmCpuComplexFloat, {32, 32}},
                               {spirv::kGemmCpuComplexDouble, {32, 32}}};

const Kernel& kernel(const Gpu& gpu, ScalarType type) {
  return (gpu.physical().is_cpu ? kForCpu : kForGpu)[static_cast<std::size_t>(type)];
}

}  // namespace

Result<std::unique_ptr<Pipelines>> Pipelines::create(Gpu& gpu) {
  std::unique_ptr<Pipelines> pipelines(new Pipelines(gpu));
  VkPushConstantRange range{};
  range.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  range.size = kPushBytes;
  VkPipelineLayoutCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  info.pushConstantRangeCount = 1;
  info.pPushConstantRanges = &range;
  const VkResult result =
      gpu.vk.vkCreatePipelineLayout(gpu.handle(), &info, nullptr, &pipelines->layout_);
  if (result != VK_SUCCESS) {
    return fail(Code::kOutOfMemory, "no pipeline layout", {result_name(result)});
  }
  return pipelines;
}

Pipelines::~Pipelines() {
  for (const Entry& entry : entries_) {
    if (entry.pipeline != VK_NULL_HANDLE) {
      gpu_.vk.vkDestroyPipeline(gpu_.handle(), entry.pipeline, nullptr);
    }
  }
  for (const Entry& entry : walks_) {
    if (entry.pipeline != VK_NULL_HANDLE) {
      gpu_.vk.vkDestroyPipeline(gpu_.handle(), entry.pipeline, nullptr);
    }
  }
  if (layout_ != VK_NULL_HANDLE) {
    gpu_.vk.vkDestroyPipelineLayout(gpu_.handle(), layout_, nullptr);
  }
}

Tile Pipelines::tile(ScalarType type) const { return kernel(gpu_, type).tile; }

int Pipelines::words(WordOperation operation, VkPipeline* pipeline) noexcept {
  static constexpr Code32 kCode[kWords] = {spirv::kWordsFill, spirv::kWordsAdd, spirv::kWordsSum};
  const auto index = static_cast<std::size_t>(operation);
  return get(entries_[index], kCode[index], {}, pipeline);
}

int Pipelines::walk(bool rows, VkPipeline* pipeline) noexcept {
  return rows ? get(walks_[1], spirv::kRows, {}, pipeline)
              : get(walks_[0], spirv::kWalk, {}, pipeline);
}

int Pipelines::gemm(ScalarType type, Transpose transa, Transpose transb,
                    VkPipeline* pipeline) noexcept {
  // A conjugate of real numbers is nothing to compile for.
  const bool real = type == ScalarType::kFloat || type == ScalarType::kDouble;
  if (real && transa == Transpose::kConjTrans) transa = Transpose::kTrans;
  if (real && transb == Transpose::kConjTrans) transb = Transpose::kTrans;
  const std::uint32_t constants[2] = {static_cast<std::uint32_t>(transa),
                                      static_cast<std::uint32_t>(transb)};
  const std::size_t index = kWords + static_cast<std::size_t>(type) * kTransposes +
                            std::size_t{constants[0]} * 3 + constants[1];
  return get(entries_[index], kernel(gpu_, type).code, constants, pipeline);
}

int Pipelines::get(Entry& entry, Code32 code, std::span<const std::uint32_t> constants,
                   VkPipeline* pipeline) noexcept {
  const std::lock_guard guard(entry.lock);
  if (entry.pipeline == VK_NULL_HANDLE) {
    VkShaderModuleCreateInfo module_info{};
    module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module_info.codeSize = code.size_bytes();
    module_info.pCode = code.data();
    VkShaderModule module = VK_NULL_HANDLE;
    VkResult result = gpu_.vk.vkCreateShaderModule(gpu_.handle(), &module_info, nullptr, &module);
    if (result != VK_SUCCESS) return gpu_.error_of(result);

    constexpr std::uint32_t kWord = sizeof(std::uint32_t);
    static constexpr VkSpecializationMapEntry kMap[2] = {{0, 0, kWord}, {1, kWord, kWord}};
    VkSpecializationInfo special{};
    special.mapEntryCount = static_cast<std::uint32_t>(constants.size());
    special.pMapEntries = kMap;
    special.dataSize = constants.size_bytes();
    special.pData = constants.data();
    VkComputePipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module;
    info.stage.pName = "main";
    info.stage.pSpecializationInfo = constants.empty() ? nullptr : &special;
    info.layout = layout_;
    info.basePipelineIndex = -1;
    result = gpu_.vk.vkCreateComputePipelines(gpu_.handle(), VK_NULL_HANDLE, 1, &info, nullptr,
                                              &entry.pipeline);
    gpu_.vk.vkDestroyShaderModule(gpu_.handle(), module, nullptr);
    if (result != VK_SUCCESS) {
      entry.pipeline = VK_NULL_HANDLE;
      return gpu_.error_of(result);
    }
  }
  *pipeline = entry.pipeline;
  return 0;
}

}  // namespace godwit::vulkan
