// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/gpu.hpp"

/// What a GPU was asked for.
struct gpu_calls {
  int generated = 0, evaluated = 0, references = 0, compared = 0, probes = 0;
  std::vector<std::string> types;  ///< that generations, references and probes were to be made in
};

/// A GPU played by the host, which counts what it is asked for.
class played_gpu final : public mini_llama::gpu {
 public:
  explicit played_gpu(gpu_calls& calls) : calls_(calls) {}
  std::string name() const override { return "a player"; }
  mini_llama::generation generate(const mini_llama::session& s, const kvsharer::cache_plan& plan,
                                  const mini_llama::generation_request& request) override {
    ++calls_.generated;
    calls_.types.push_back(request.cache.type);
    return mini_llama::generate(s, plan, request);
  }
  mini_llama::evaluation evaluate(const mini_llama::session& s, const kvsharer::cache_plan& plan,
                                  std::span<const int> ids, kvsharer::index_t window, const mini_llama::gpu_choice&,
                                  const mini_llama::evaluation_progress& on_progress,
                                  const std::function<bool()>& cancelled) override {
    ++calls_.evaluated;
    return mini_llama::evaluate(s, plan, ids, window, on_progress, cancelled);
  }
  std::unique_ptr<mini_llama::text_reference> reference(const mini_llama::session& s, std::vector<int> ids,
                                                        kvsharer::index_t window, const mini_llama::gpu_choice& choice,
                                                        const mini_llama::evaluation_progress& on_progress,
                                                        const std::function<bool()>& cancelled) override {
    ++calls_.references;
    calls_.types.push_back(choice.type);
    return std::make_unique<counted_reference>(
        calls_, mini_llama::full_reference(s, std::move(ids), window, on_progress, cancelled));
  }
  std::vector<std::vector<float>> logits(const mini_llama::session&, const kvsharer::cache_plan&,
                                         const mini_llama::token_batch&, const mini_llama::gpu_choice&) override {
    return {};
  }
  mini_llama::throughput_report measure(const mini_llama::throughput_request& request) override {
    return measure_throughput(request);
  }
  mini_llama::made_probe make_probe(const mini_llama::weight_source& source,
                                    const mini_llama::probe_request& wanted) override {
    ++calls_.probes;
    const mini_llama::dtype type = type_of(source, wanted);
    calls_.types.push_back(type == mini_llama::dtype::f32 ? "f32" : "half");
    return host_probe(source, {wanted.samples, wanted.objective, wanted.similarity});
  }

 private:
  class counted_reference final : public mini_llama::text_reference {
   public:
    counted_reference(gpu_calls& calls, mini_llama::full_reference host) : calls_(calls), host_(std::move(host)) {}
    const mini_llama::evaluation& full() const noexcept override { return host_.full(); }
    mini_llama::evaluation compare(const kvsharer::cache_plan& plan, const mini_llama::evaluation_progress& on_progress,
                                   const std::function<bool()>& cancelled) override {
      ++calls_.compared;
      return host_.compare(plan, on_progress, cancelled);
    }

   private:
    gpu_calls& calls_;
    mini_llama::full_reference host_;
  };

  gpu_calls& calls_;
};
