#pragma once

namespace strongroom {

/// Freer makes a unique_ptr deleter of a C library's free function: std::unique_ptr<BIGNUM, Freer<BN_free>>.
template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};

}  // namespace strongroom
