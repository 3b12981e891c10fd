// Visitor: one lambda for each alternative of a variant.
#pragma once

namespace longspan {

template <class... Lambdas>
struct Visitor : Lambdas... {
  using Lambdas::operator()...;
};
template <class... Lambdas>
Visitor(Lambdas...) -> Visitor<Lambdas...>;

}  // namespace longspan
