// What must hold between keys, and what follows from others where a key says auto.
#pragma once

#include "trainer/config/config.h"
#include "trainer/config/faults.h"

namespace longspan {

// Resolves model.kv_heads, model.head_dim and model.vocab, then checks what no key can be told alone. A relation with a
// key that is wrong by itself is left out.
void resolve_relations(Config& config, const GivenKeys& given, Faults& faults);

}  // namespace longspan
