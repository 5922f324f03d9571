// plan, apply, fuse, undo: operating on model files.
#include <iostream>
#include <memory>
#include "command.h"
#include "graft/nn/registry.h"
#include "graft/surgery/catalog.h"
#include "graft/surgery/fuse_modules.h"

namespace command {

using namespace graft;

namespace {

struct Arguments {
  std::string model, surgery, recipe, output;
  std::vector<std::string> pairs, inputs, names;
  bool json = false, tree = false, force = false, forget = false, verify = false;
  double ulps = 256;
};

surgery::Recipe load_recipe(const std::string& path) {
  try {
    return surgery::Recipe::load(path);
  } catch (const Error& e) {
    throw BadFile(e.what());
  }
}
surgery::Plan plan_of(const Arguments& a, nn::Module& model) {
  surgery::Options o;
  o.example = inputs_of(a.inputs);
  return surgery::plan(model, surgery::make_surgery(a.surgery, arguments_of(a.pairs), model), o);
}

int plan(const Arguments& a) {
  const surgery::ModelFile f = load(a.model);
  const surgery::Plan p = plan_of(a, *f.model);
  if (a.json) std::cout << p.json() << '\n';
  else if (a.tree) print_marked(p.tree());
  else std::cout << p;
  return kOk;
}

// The model as it is, with its file's history; to be kept beside what it becomes.
std::shared_ptr<const surgery::ModelFile> kept(const surgery::ModelFile& f, const Arguments& a) {
  if (a.forget) return nullptr;
  return std::make_shared<const surgery::ModelFile>(surgery::ModelFile{f.model->clone(), f.recipe, f.before});
}
void save(const Arguments& a, const surgery::ModelFile& f, const surgery::Recipe& more, std::shared_ptr<const surgery::ModelFile> before) {
  const Working line("writing " + a.output);
  surgery::Recipe all = f.recipe.after() == more.before() ? f.recipe : surgery::Recipe();  // else it was changed by other means
  all += more;
  surgery::save_model(a.output, *f.model, {.recipe = std::move(all), .before = std::move(before)});
}
void report(const Arguments& a, const surgery::Recipe& r) {
  if (a.json) std::cout << r.json() << '\n';
  else std::cout << r;
}

// Runs `operate` and compares the answers on the inputs, if asked to; the file is not written where they differ.
int operate(const Arguments& a, surgery::ModelFile& f, const std::function<surgery::Recipe()>& operate_on, bool in_eval_mode = false) {
  const nn::Values inputs = inputs_of(a.inputs);
  GRAFT_CHECK(!a.verify || !inputs.empty(), "--verify needs --input");
  const auto before = kept(f, a);
  if (in_eval_mode) f.model->eval();
  const nn::Value answer = a.verify ? surgery::detail::run_quietly(*f.model, inputs) : nn::Value();
  const surgery::Recipe recipe = operate_on();
  if (a.verify) {
    const surgery::Difference d = surgery::difference(answer, surgery::detail::run_quietly(*f.model, inputs), a.ulps);
    if (!(d.ulps <= a.ulps)) {
      std::cerr << "graft: the edited model answers otherwise, and nothing was written: " << d.text << '\n';
      return kDiffers;
    }
  }
  if (!a.output.empty()) save(a, f, recipe, before);
  report(a, recipe);
  return kOk;
}

int apply(const Arguments& a) {
  GRAFT_CHECK(a.surgery.empty() != a.recipe.empty(), "apply: name a surgery, or a recipe by --recipe; `graft apply --help` lists surgeries");
  surgery::ModelFile f = load(a.model);
  if (a.recipe.empty()) return operate(a, f, [&] {
    surgery::Plan p = plan_of(a, *f.model);
    GRAFT_CHECK(!p.empty(), ErrorCode::plan_refused, a.surgery, ": there is nothing in the model to change");
    return p.apply().recipe();
  });
  const surgery::Recipe r = load_recipe(a.recipe);
  return operate(a, f, [&] { return r.replay(f.model, {.force = a.force}).recipe(); });
}

int fuse(const Arguments& a) {
  GRAFT_CHECK(!a.inputs.empty() || !a.names.empty(), "fuse: --input says what the model reads, or --names what runs one after the other");
  surgery::ModelFile f = load(a.model);
  std::optional<surgery::Fusion> done;
  const int code = operate(a, f, [&] {
    if (a.names.empty()) {
      done = surgery::fuse(*f.model, inputs_of(a.inputs));
    } else {
      std::vector<std::vector<std::string>> groups;
      for (const std::string& list : a.names) groups.push_back(CLI::detail::split(list, ','));
      surgery::FuseModulesOptions o;
      o.example = inputs_of(a.inputs);
      done = surgery::fuse(*f.model, surgery::ModuleNames(groups), o);
    }
    return done->edit.recipe();
  }, true);
  if (code == kOk && !a.json) std::cout << *done;
  return code;
}

int undo(const Arguments& a) {
  const surgery::ModelFile f = load(a.model);
  if (!f.before) throw BadFile(a.model + ": keeps no earlier version of the model; it was written with --forget, or never operated on");
  const Working line("writing " + a.output);
  surgery::save_model(a.output, *f.before->model, {.recipe = f.before->recipe, .before = f.before->before});
  return kOk;
}

std::string list_of_surgeries() {
  std::string text = "Surgeries:\n";
  for (const surgery::Surgery& s : surgery::surgeries()) {
    text += "  " + s.name + (s.usage.empty() ? "" : " " + s.usage) + "\n      " + s.summary + "\n";
  }
  return text;
}

}  // namespace

void add_operations(Commands& c) {
  const auto add = [&c](const char* name, const char* what, const std::string& footer, int (*run)(const Arguments&), bool writes) {
    CLI::App* verb = c.app.add_subcommand(name, what);
    verb->footer(footer);
    auto a = std::make_shared<Arguments>();
    verb->add_option("MODEL", a->model, "A model file")->required();
    verb->add_flag("--json", a->json, "For programs");
    if (writes) verb->add_option("-o,--output", a->output, "The model file to write; may be MODEL itself")->required();
    verb->callback([&c, a, run] { c.run = [a, run] { return run(*a); }; });
    return std::pair(verb, a);
  };
  const auto add_surgery = [](CLI::App* verb, Arguments& a, bool required) {
    verb->add_option("SURGERY", a.surgery, "What to do")->required(required);
    verb->add_option("ARGUMENTS", a.pairs, "NAME=VALUE");
  };
  const char* input = "The shape of an input, 1x3x32x32 or 2x7:i64";
  const auto add_verification = [&](CLI::App* verb, Arguments& a) {
    verb->add_option("--input", a.inputs, input);
    verb->add_flag("--verify", a.verify, "Write only if the answers on random inputs stay; else exit code 1");
    verb->add_option("--ulps", a.ulps, "In units in the last place, at the largest answer")->capture_default_str();
    verb->add_flag("--forget", a.forget, "Do not keep what `graft undo` needs");
  };
  {
    auto [verb, a] = add("plan", "What a surgery would change; nothing is written",
                         list_of_surgeries() + "Example: graft plan net.safetensors lora r=4 at=layer1.**", &plan, false);
    add_surgery(verb, *a, true);
    verb->add_option("--input", a->inputs, std::string(input) + ": shapes and costs are listed too");
    verb->add_flag("--tree", a->tree, "As the difference of two trees");
  }
  {
    auto [verb, a] = add("apply", "Applies a surgery or a recipe",
                         list_of_surgeries() + "Example: graft apply net.safetensors replace from=ReLU to=GELU -o gelu.safetensors", &apply, true);
    add_surgery(verb, *a, false);
    verb->add_option("--recipe", a->recipe, "A recipe's JSON, as `graft apply --json` prints it");
    verb->add_flag("--force", a->force, "A recipe also on a model of another structure");
    add_verification(verb, *a);
  }
  {
    auto [verb, a] = add("fuse", "Folds batch norms into the layers beside them, for inference",
                         "Example: graft fuse net.safetensors --input 1x3x32x32 --verify -o fused.safetensors", &fuse, true);
    verb->add_option("--names", a->names, "Paths that run one after the other, like conv1,bn1,relu1; instead of a trace");
    add_verification(verb, *a);
  }
  add("undo", "The model as it was before the last apply or fuse", "Example: graft undo fused.safetensors -o net.safetensors", &undo, true);
}

}  // namespace command
