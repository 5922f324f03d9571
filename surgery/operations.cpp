#include "graft/surgery/operations.h"

#include <algorithm>
#include "graft/nn/conv.h"
#include "graft/nn/linear.h"

namespace graft::inline v1::surgery {

Answer Answer::declined(std::string code, std::string text) {
  Answer a;
  a.kind = Kind::decline;
  a.code = std::move(code);
  a.text = std::move(text);
  return a;
}
Answer Answer::removed(Removal how) {
  Answer a;
  a.kind = Kind::remove;
  a.removal = how;
  return a;
}
Answer Answer::inserted(nn::ModulePtr m, bool behind) {
  Answer a;
  if (m) a.kind = Kind::insert;
  a.module = std::move(m);
  a.behind = behind;
  return a;
}
Answer Answer::exchanged(nn::ModulePtr with) {
  Answer a;
  a.kind = Kind::exchange;
  a.module = std::move(with);
  return a;
}

namespace detail {

std::function<bool(const nn::Module&)> among(const Selection& s) {
  const auto set = std::make_shared<PointerSet>();
  for (const nn::ModulePtr& m : s.modules()) set->insert(m ? m.get() : &s.root());
  return [set](const nn::Module& m) { return set->contains(&m); };
}
void check_types(const Selection& s, const std::string& type, bool (*is)(const nn::Module&)) {
  const auto modules = s.modules();
  for (size_t i = 0; i < modules.size(); ++i) {
    const nn::Module& m = modules[i] ? *modules[i] : s.root();
    GRAFT_CHECK(is(m), ErrorCode::type_error, "surgery: a policy for ", type, " is given '", s.paths()[i], "', which is ",
                nn::type_name(m), "; narrow the selection by where<", type, ">()");
  }
}

static Policy for_all(const Selection& s, const char* name, std::function<Answer(const nn::Module&, const Site&)> answer) {
  Policy p = on<nn::Module>(s, [answer = std::move(answer)](const nn::Module& m, const Site& site) { return answer(m, site); });
  p.name = name;
  return p;
}

Policy wrap(const Selection& s, Maker make) {
  return for_all(s, "wrap", [make = std::move(make)](const nn::Module& m, const Site& site) -> Answer {
    const nn::ModulePtr outer = make(m, site);
    if (!outer) return nullptr;
    const auto parts = outer->modules();
    GRAFT_CHECK(outer.get() != &m && std::ranges::find(parts, &m) != parts.end(), ErrorCode::plan_refused, "wrap: the ",
                nn::type_name(*outer), " does not contain the module that it is to wrap");
    return outer;
  });
}
Policy insert(const Selection& s, Maker make, bool behind) {
  return for_all(s, behind ? "insert_after" : "insert_before",
                 [make = std::move(make), behind](const nn::Module& m, const Site& site) {
                   return Answer::inserted(make(m, site), behind);
                 });
}

}  // namespace detail

Policy remove(const Selection& s, Removal how) {
  return detail::for_all(s, "remove", [how](const nn::Module&, const Site&) { return Answer::removed(how); });
}
Policy swap(const Selection& one, const Selection& other) {
  one.expect(1), other.expect(1);
  const nn::ModulePtr second = other.module();
  GRAFT_CHECK(&one.root() == &other.root(), "swap: '", one.description(), "' and '", other.description(),
              "' are of different models");
  return detail::for_all(one, "swap", [second](const nn::Module&, const Site&) { return Answer::exchanged(second); });
}

// ---- other numbers of channels -------------------------------------------------------------------------------

namespace {

template <int N> Answer resized(const nn::ConvNd<N>& c, std::optional<int64_t> in, std::optional<int64_t> out) {
  if (c.groups != 1) return Answer::declined("grouped", concat("it has ", c.groups, " groups"));
  const nn::ConvLayerOptions<N> o{.stride = c.stride,
                                  .padding = c.padding,
                                  .dilation = c.dilation,
                                  .groups = 1,
                                  .bias = bool(c.bias),
                                  .padding_mode = c.padding_mode,
                                  .options = {}};
  const int64_t inputs = in.value_or(c.in_channels), outputs = out.value_or(c.out_channels);
  if constexpr (N == 1) return nn::make<nn::Conv1d>(inputs, outputs, c.kernel_size, o);
  else if constexpr (N == 2) return nn::make<nn::Conv2d>(inputs, outputs, c.kernel_size, o);
  else return nn::make<nn::Conv3d>(inputs, outputs, c.kernel_size, o);
}
Answer resized(const nn::Module& m, std::optional<int64_t> in, std::optional<int64_t> out) {
  if (typeid(m) == typeid(nn::Conv1d)) return resized(dynamic_cast<const nn::ConvNd<1>&>(m), in, out);
  if (typeid(m) == typeid(nn::Conv2d)) return resized(dynamic_cast<const nn::ConvNd<2>&>(m), in, out);
  if (typeid(m) == typeid(nn::Conv3d)) return resized(dynamic_cast<const nn::ConvNd<3>&>(m), in, out);
  if (typeid(m) == typeid(nn::Linear)) {
    const auto& l = dynamic_cast<const nn::Linear&>(m);
    return nn::make<nn::Linear>(in.value_or(l.in_features), out.value_or(l.out_features), bool(l.bias));
  }
  return Answer::declined("other_type", nn::type_name(m) + " is neither Conv1d-3d nor Linear");
}
Policy resize(const Selection& s, const char* name, int64_t n, std::optional<int64_t> in, std::optional<int64_t> out, Carry carry) {
  GRAFT_CHECK(n > 0, name, ": needs a positive number, not ", n);
  Policy p = detail::for_all(s, name, [in, out](const nn::Module& m, const Site&) { return resized(m, in, out); });
  p.options.carry = carry;
  return p;
}

}  // namespace

Policy in_channels(const Selection& s, int64_t n) { return resize(s, "in_channels", n, n, {}, Carry::inflate); }
Policy num_classes(const Selection& s, int64_t n) { return resize(s, "num_classes", n, {}, n, Carry::slice); }

}  // namespace graft
