// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "checkpoint/config.hpp"
#include "kvsharer/kvsharer.hpp"

namespace mini_llama {

/// What brings each reader layer nearer to the keys and values it would have computed, by layer.
using alignment = std::map<int, kvsharer::layer_alignment>;

/// An alignment as the bytes of a safetensors file: of each reader l the F32 tensors "layers.l.values"
/// [kv_heads][head_dim][head_dim], "layers.l.offset" [kv_heads][head_dim] and "layers.l.key_gain"
/// [kv_heads][head_dim / 2][2]; see kvsharer::layer_alignment. The pairing, half-split, stands in the metadata.
std::string alignment_bytes(const alignment& readers);

/// What alignment_record::hash holds of such bytes: FNV-1a, 16 hexadecimal digits.
std::string alignment_hash(std::string_view bytes);

/// "OUT.align.safetensors" for a plan file "OUT.json", or "OUT.align.safetensors" for any other "OUT".
std::filesystem::path alignment_beside(const std::filesystem::path& plan_file);

/// The alignment that a plan file names, from the file beside it. Throws kvsharer::error (alignment_file) when it
/// cannot be read or has another hash, and load_error when it holds something else than the alignment of every reader
/// of `map` in a model of these sizes.
alignment read_alignment(const std::filesystem::path& plan_file, const kvsharer::alignment_record& named,
                         const kvsharer::share_map& map, const model_config& config);

}  // namespace mini_llama
