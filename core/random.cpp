// The generator. The ops that draw are in ops/random.cpp.
#include "graft/core/random.h"

namespace graft::inline v1 {

static constinit thread_local Generator* t_generator = nullptr;

Generator& default_generator() {
  static auto* process = new Generator;  // never destroyed: a static model may be made or run during exit
  return t_generator ? *t_generator : *process;
}
void manual_seed(uint64_t seed) { default_generator().manual_seed(seed); }

UseGenerator::UseGenerator(Generator& g) : before_(std::exchange(t_generator, &g)) {}
UseGenerator::~UseGenerator() { t_generator = before_; }

Generator::Generator(uint64_t seed) : at_{seed, 0}, self_(std::make_shared<Generator* const>(this)) {}
Generator::Generator(const Generator& o) : at_(o.position()), self_(std::make_shared<Generator* const>(this)) {}
Generator::~Generator() = default;
Generator& Generator::operator=(const Generator& o) {
  const Stream there = o.position();
  const std::lock_guard lock(mutex_);
  at_ = there;
  return *this;
}
void Generator::manual_seed(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  at_ = {seed, 0};
}
Stream Generator::position() const {
  const std::lock_guard lock(mutex_);
  return at_;
}
Stream Generator::take(uint64_t blocks) {
  const std::lock_guard lock(mutex_);
  const Stream here = at_;
  at_.first += blocks;
  return here;
}

// Little-endian, so that a checkpoint may move between machines.
Tensor Generator::state() const {
  const Stream s = position();
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < 8; ++i) {
    bytes[i] = uint8_t(s.seed >> (8 * i));
    bytes[8 + i] = uint8_t(s.first >> (8 * i));
  }
  return tensor(std::span<const uint8_t>(bytes), {16});
}
void Generator::set_state(const Tensor& state) {
  GRAFT_CHECK(state.defined() && state.dtype() == u8 && state.numel() == 16 && state.is_contiguous() &&
                  state.device() == Device::cpu,
              "Generator::set_state: needs what state() returned, u8[16]@cpu, not ", state);
  const auto* from = state.data<uint8_t>();
  Stream s;
  for (int i = 0; i < 8; ++i) {
    s.seed |= uint64_t{from[i]} << (8 * i);
    s.first |= uint64_t{from[8 + i]} << (8 * i);
  }
  const std::lock_guard lock(mutex_);
  at_ = s;
}

}  // namespace graft
