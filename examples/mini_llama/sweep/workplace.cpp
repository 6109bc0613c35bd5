// SPDX-License-Identifier: Apache-2.0
#include "sweep/workplace.hpp"

#include "probe/choices.hpp"

namespace mini_llama {

made_probe workplace::make_probe(const token_batch& samples, const std::string& objective,
                                 const std::string& similarity) const {
  const weight_source source{session_.llama.config(), &session_.llama};
  probe_request wanted{samples, objective, similarity_named(similarity)};
  if (!card_) return host_probe(source, wanted);
  wanted.type = type_named(choice_.type);
  return card_->make_probe(source, wanted);
}

std::unique_ptr<text_reference> workplace::reference(const std::vector<int>& ids, kvsharer::index_t window,
                                                     const evaluation_progress& on_progress,
                                                     const std::function<bool()>& cancelled) const {
  if (card_) return card_->reference(session_, ids, window, choice_, on_progress, cancelled);
  return std::make_unique<full_reference>(session_, ids, window, on_progress, cancelled);
}

generation workplace::generate(const kvsharer::cache_plan& plan, generation_request request) const {
  request.cache.type = type();
  return card_ ? card_->generate(session_, plan, request) : mini_llama::generate(session_, plan, request);
}

}  // namespace mini_llama
