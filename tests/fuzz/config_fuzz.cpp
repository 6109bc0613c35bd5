// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config.hpp"

#include "fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::folder().write("config.json", fuzz::text(data, size));
  try {
    const mini_llama::model_config c = mini_llama::read_config_file(file);
    fuzz::promise(c.layers > 0 && c.hidden > 0 && c.intermediate > 0 && c.heads > 0 && c.kv_heads > 0 && c.vocab > 0 &&
                      c.max_position > 0 && c.head_dim > 0,
                  "sizes are positive");
    fuzz::promise(c.heads % c.kv_heads == 0 && c.head_dim % 2 == 0, "heads divide, and rotate");
    fuzz::promise(c.norm_eps > 0 && c.norm_eps <= 1, "epsilon is an ordinary float");
    fuzz::promise(c.bos >= -1 && c.bos < c.vocab, "BOS is a token");
    for (const int id : c.eos) fuzz::promise(id >= 0 && id < c.vocab, "EOS is a token");
    fuzz::promise(c.rope.theta > 1 && c.rope.factor >= 1, "rotations are defined");
    fuzz::promise(!mini_llama::rope_identity(c.rope).empty(), "rotations have a name");
  } catch (const mini_llama::load_error&) {
  }
  return 0;
}
