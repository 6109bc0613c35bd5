// SPDX-License-Identifier: Apache-2.0
#include "network/linear.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>

#include "kvsharer/backend/cpu/parallel.hpp"
#include "network/lanes.hpp"

namespace mini_llama {

using kvsharer::index_t;
using kvsharer::cpu::detail::decode;

namespace {

using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// f(pointer to the first element), with the type the weight is stored in.
template <class F>
void with_stored_type(const weight& w, F&& f) {
  switch (w.type) {
    case dtype::f32:
      return f(reinterpret_cast<const float*>(w.data));
    case dtype::f16:
      return f(reinterpret_cast<const kvsharer::float16*>(w.data));
    case dtype::bf16:
      return f(reinterpret_cast<const kvsharer::bfloat16*>(w.data));
  }
}

/// Outs weight rows times Rows rows of x: each weight is loaded and decoded once. Every sum is formed in the same order
/// whatever Outs and Rows are, so that grouping never shows in the results.
template <int Outs, int Rows, class E>
void stream(const E* w, const float* x, index_t in, float* y, index_t y_stride, bool add) {
  float_lanes sums[Outs][Rows] = {};
  index_t i = 0;
  for (; i + lanes <= in; i += lanes) {
    float_lanes rows[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) rows[r] = load_lanes(x + r * in + i);
#pragma GCC unroll 4
    for (int o = 0; o < Outs; ++o) {
      __builtin_prefetch(w + (o + Outs) * in + i, 0, 3);
      const float_lanes weights = load_lanes(w + o * in + i);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) sums[o][r] += weights * rows[r];
    }
  }
  for (int o = 0; o < Outs; ++o)
    for (int r = 0; r < Rows; ++r) {
      float sum = sum_lanes(sums[o][r]);
      for (index_t j = i; j < in; ++j) sum += static_cast<float>(w[o * in + j]) * x[r * in + j];
      float& target = y[r * y_stride + o];
      target = add ? target + sum : sum;
    }
}

template <int Rows>
void stream_block(const projection& p, const float* x, index_t begin, index_t end) {
  with_stored_type(p.w, [&]<class E>(const E* w) {
    constexpr int outs = 4;
    index_t o = begin;
    for (; o + outs <= end; o += outs) stream<outs, Rows>(w + o * p.w.in, x, p.w.in, p.y + o, p.w.out, p.add);
    for (; o < end; ++o) stream<1, Rows>(w + o * p.w.in, x, p.w.in, p.y + o, p.w.out, p.add);
  });
}

void stream_block(const projection& p, const float* x, index_t rows, index_t begin, index_t end) {
  switch (rows) {
    case 1:
      return stream_block<1>(p, x, begin, end);
    case 2:
      return stream_block<2>(p, x, begin, end);
    case 3:
      return stream_block<3>(p, x, begin, end);
    default:
      return stream_block<streamed_rows>(p, x, begin, end);
  }
}

index_t divide_up(index_t n, index_t by) { return (n + by - 1) / by; }

/// All weight rows of the group are one list, cut into blocks of equal work.
void stream_all(std::span<const projection> group, const float* x, index_t rows) {
  constexpr index_t worthwhile = 1 << 15;  // multiply-adds below which a block costs less than handing it out
  index_t total = 0;
  for (const projection& p : group) total += p.w.out;
  const index_t in = std::max<index_t>(group.front().w.in, 1);
  const index_t block = std::max(divide_up(divide_up(worthwhile, in * rows), 4) * 4, divide_up(total, 64));
  kvsharer::cpu::parallel_for(divide_up(total, block), [&](index_t i) {
    index_t begin = i * block, end = std::min(total, begin + block);
    for (const projection& p : group) {
      if (begin < p.w.out && end > 0) stream_block(p, x, rows, std::max<index_t>(begin, 0), std::min(end, p.w.out));
      begin -= p.w.out;
      end -= p.w.out;
    }
  });
}

/// Block by block: decode, then multiply in tiles of token rows and outputs.
void multiply(const projection& p, const float* x, index_t rows, linear_scratch& scratch) {
  constexpr index_t block_floats = 1 << 20;  // 4 MiB, so that a block stays in the last-level cache
  constexpr index_t tile_rows = 192;
  const index_t in = p.w.in;
  const index_t threads = kvsharer::cpu::thread_count();
  const index_t row_tiles = std::max(divide_up(rows, tile_rows), std::min(threads, divide_up(rows, 16)));
  const index_t step = divide_up(rows, row_tiles);
  const index_t block = std::max<index_t>(1, std::min(p.w.out, block_floats / std::max<index_t>(in, 1)));
  for (index_t first = 0; first < p.w.out; first += block) {
    const index_t outs = std::min(block, p.w.out - first);
    const float* decoded = nullptr;
    with_stored_type(p.w, [&]<class E>(const E* w) {
      if constexpr (std::is_same_v<E, float>) {
        decoded = w + first * in;
      } else {
        const auto size = static_cast<std::size_t>(outs * in);
        if (scratch.weights.size() < size) scratch.weights.resize(size);
        constexpr index_t piece = 1 << 14;
        kvsharer::cpu::parallel_for(divide_up(outs * in, piece), [&](index_t i) {
          decode(w + first * in + i * piece, std::min(piece, outs * in - i * piece),
                 scratch.weights.data() + i * piece);
        });
        decoded = scratch.weights.data();
      }
    });
    const index_t out_tiles = divide_up(std::min(threads, outs), std::max<index_t>(row_tiles / 2, 1));
    const index_t out_step = divide_up(outs, out_tiles);
    kvsharer::cpu::parallel_for(row_tiles * out_tiles, [&](index_t tile) {
      const index_t r = tile / out_tiles * step, o = tile % out_tiles * out_step;
      const index_t n = std::min(step, rows - r), m = std::min(out_step, outs - o);
      if (n <= 0 || m <= 0) return;
      const Eigen::Map<const row_major> a(x + r * in, n, in), b(decoded + o * in, m, in);
      Eigen::Map<row_major, 0, Eigen::OuterStride<>> c(p.y + r * p.w.out + first + o, n, m,
                                                       Eigen::OuterStride<>(p.w.out));
      if (p.add) {
        c.noalias() += a * b.transpose();
      } else {
        c.noalias() = a * b.transpose();
      }
    });
  }
}

}  // namespace

void linear(std::span<const projection> group, const float* x, index_t rows, linear_scratch& scratch) {
  if (group.empty() || rows == 0) return;
  if (rows <= streamed_rows) return stream_all(group, x, rows);
  for (const projection& p : group) multiply(p, x, rows, scratch);
}

void linear(const weight& w, const float* x, float* y, index_t rows, linear_scratch& scratch) {
  const projection one{w, y};
  linear({&one, 1}, x, rows, scratch);
}

void decode_row(const weight& w, index_t row, float* y) {
  with_stored_type(w, [&]<class E>(const E* data) { decode(data + row * w.in, w.in, y); });
}

}  // namespace mini_llama
