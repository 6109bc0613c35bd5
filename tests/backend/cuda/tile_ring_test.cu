// SPDX-License-Identifier: Apache-2.0
// A ring of stages alone: one warp fills it by copies in bulk, others read.
#include "kvsharer/backend/cuda/attention/tile_ring.cuh"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cuda/device.hpp"
#include "kvsharer/backend/cuda/launch.cuh"

namespace {

using namespace device_test;

constexpr int readers = 3, stage_words = 256, most_stages = 4;

/// Reader r adds its number of the ring to out[unit][r * 32 + lane]: words[unit][7 * lane + r], or 0 for every fifth
/// unit, which is filled with zeros by hand. Every reader also overwrites words of its own, as attention does with
/// values.
__global__ void ring_kernel(const std::uint32_t* words, std::uint32_t* out, int units, int stages) {
  auto* const shared = cuda::ptx::dynamic_shared();
  auto* const barriers = reinterpret_cast<cuda::ptx::barrier*>(shared + most_stages * stage_words * 4);
  cuda::detail::tile_ring ring(shared, barriers, stages, stage_words * 4);
  if (threadIdx.x == 0) ring.make(readers);
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int unit = 0; unit < units; ++unit) {
    if (warp == readers) {
      auto* const to = reinterpret_cast<std::uint32_t*>(ring.begin_fill()) + 8 * lane;
      if (unit % 5 == 4) {
        for (int i = 0; i < 8; ++i) to[i] = 0;
        cuda::ptx::fence_async_proxy();
      } else if (lane % 2 == 0) {  // 16 copies of 64 bytes
        ring.copy(reinterpret_cast<std::byte*>(to), words + unit * stage_words + 8 * lane, 64);
      }
      ring.end_fill();
    } else {
      auto* const stage = reinterpret_cast<std::uint32_t*>(ring.wait());
      const std::uint32_t x = stage[7 * lane + warp];
      out[(unit * readers + warp) * 32 + lane] = x;
      __syncwarp();
      if (lane == 0) stage[250 + warp] = 77;
      cuda::ptx::fence_async_proxy();
      ring.release();
    }
  }
}

TEST_CASE("readers see every unit, in order, however many stages there are") {
  device on;
  if (on.properties.capability < 90) return;
  constexpr int units = 53;
  std::vector<std::uint32_t> words;
  for (std::uint32_t i = 0; i < units * stage_words; ++i) words.push_back(i * 2654435761u);
  const auto there = on_device(on.stream, words);
  for (const int stages : {1, 2, 3, most_stages}) {
    auto out = poisoned<std::uint32_t>(on.stream, static_cast<std::size_t>(units * readers * 32));
    cuda::detail::launch("a ring", on.stream,
                         {dim3(1), (readers + 1) * 32, most_stages * stage_words * 4 + most_stages * 16}, ring_kernel,
                         there.data(), out.data(), units, stages);
    const auto got = on_host(out);
    std::size_t wrong = 0;
    for (std::size_t unit = 0; unit < units; ++unit)
      for (std::size_t r = 0; r < readers; ++r)
        for (std::size_t lane = 0; lane < 32; ++lane) {
          const std::uint32_t want = unit % 5 == 4 ? 0 : words[unit * stage_words + 7 * lane + r];
          wrong += got[(unit * readers + r) * 32 + lane] != want;
        }
    CHECK(wrong == 0);
  }
}

}  // namespace
