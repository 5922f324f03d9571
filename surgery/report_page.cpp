// A report as a page of HTML and as a picture. Both stand alone: no fonts, scripts or styles from elsewhere.
#include "graft/surgery/report_page.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>
#include "graft/surgery/report.h"

namespace graft::inline v1::surgery {
namespace {

using ReportSign = Report::Line::Sign;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  return out;
}
std::string three_digits(double ms) {
  std::ostringstream o;
  o.imbue(std::locale::classic());
  const int places = ms > 0 ? std::clamp(2 - int(std::floor(std::log10(ms))), 0, 4) : 0;
  o << std::fixed << std::setprecision(places) << ms;
  return o.str();
}
std::string percent(double before, double after) {
  if (before == after) return "";
  if (before == 0) return "new";
  std::ostringstream o;
  o.imbue(std::locale::classic());
  o << std::showpos << std::fixed << std::setprecision(1) << 100 * (after - before) / before << " %";
  return o.str();
}
std::string_view class_of(ReportSign s) {
  switch (s) {
    case ReportSign::same: return "same";
    case ReportSign::changed: return "changed";
    case ReportSign::removed: return "removed";
    case ReportSign::added: return "added";
  }
  return "";
}
// At most n characters (of UTF-8), the last of which says that there are more.
std::string shortened(const std::string& text, size_t n) {
  size_t at = 0, count = 0;
  while (at < text.size() && count < n) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
    ++count;
  }
  return at == text.size() ? text : text.substr(0, at - 1) + "\u2026";
}

constexpr std::string_view kStyle = R"(
:root { --ink: #1b1f24; --soft: #5b6570; --line: #d8dee4; --paper: #ffffff; --band: #f5f7f9;
        --added: #dcf5e3; --removed: #fde3e1; --changed: #fdf3d0; --mark: #0a5bbd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ed; --soft: #9aa5b1; --line: #343c45; --paper: #14181d; --band: #1c2229;
          --added: #17402a; --removed: #4b2124; --changed: #483c12; --mark: #79b8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1500px; padding: 1.5rem; color: var(--ink); background: var(--paper);
       font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); }
td, th { padding: .18rem .6rem; vertical-align: top; }
.totals { width: auto; } .totals td + td, .totals th + th, td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .tree td.n { white-space: normal; }
.bar { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; position: sticky; top: 0; padding: .6rem 0;
       background: var(--paper); border-bottom: 1px solid var(--line); z-index: 1; }
.bar input[type=search] { font: inherit; padding: .25rem .5rem; min-width: 16rem; color: inherit; background: var(--band); border: 1px solid var(--line); border-radius: 4px; }
button { font: inherit; color: inherit; background: var(--band); border: 1px solid var(--line); border-radius: 4px; padding: .2rem .6rem; cursor: pointer; }
.key span { padding: 0 .5rem; border-radius: 3px; margin-right: .3rem; }
.tree { font-size: 13px; table-layout: fixed; } .tree td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.tree code { font-family: ui-monospace, "SFMono-Regular", Consolas, "DejaVu Sans Mono", monospace; }
.tree .m { width: 25%; } .tree td.n { font-size: 12px; padding-left: .2rem; } .tree .sign { width: 1.6rem; text-align: center; font-weight: 700; }
.tree b { font-weight: 600; color: var(--mark); }
.added td.new, .key .added { background: var(--added); } .removed td.old, .key .removed { background: var(--removed); }
.changed td.new, .changed td.old, .key .changed { background: var(--changed); }
.again { color: var(--soft); font-style: italic; }
.fold { border: 0; background: none; padding: 0; width: 1.1rem; margin-left: -1.1rem; color: var(--soft); }
[hidden] { display: none; }
pre { background: var(--band); padding: .8rem; overflow: auto; border-radius: 4px; }
@media print { body { max-width: none; padding: 0; font-size: 9pt; } .bar, .fold { display: none; } .tree { font-size: 7.5pt; }
  tr[hidden] { display: table-row; } tr { break-inside: avoid; } thead { display: table-header-group; }
  .added td.new, .removed td.old, .changed td { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)";

// Rows know their depth; a row is seen if no row that it lies in is folded, and if it is wanted by search and filter.
constexpr std::string_view kScript = R"(
const rows = [...document.querySelectorAll('.tree tbody tr')], find = document.getElementById('find');
const only = document.getElementById('only'), shown = document.getElementById('shown');
const parents = [], above = [];
rows.forEach((r, i) => { const d = +r.dataset.depth; parents.push(d ? above[d - 1] : -1); above[d] = i; });
const texts = rows.map(r => [r.dataset.path, ...[...r.querySelectorAll('code')].map(c => c.textContent)].join(' ').toLowerCase());
const folded = new Set();
function draw() {
  const words = find.value.toLowerCase().split(/\s+/).filter(w => w), wanted = rows.map(() => false);
  rows.forEach((r, i) => {
    if (only.checked && r.dataset.touched !== '1') return;
    if (!words.every(w => texts[i].includes(w))) return;
    for (let k = i; k >= 0 && !wanted[k]; k = parents[k]) wanted[k] = true;
  });
  const open = rows.map(() => true);
  let n = 0;
  rows.forEach((r, i) => {
    const p = parents[i];
    open[i] = p < 0 || (open[p] && (words.length > 0 || !folded.has(p)));
    r.hidden = !(wanted[i] && open[i]);
    n += !r.hidden;
    const b = r.querySelector('.fold');
    if (b) { b.textContent = folded.has(i) ? '\u25b8' : '\u25be'; b.setAttribute('aria-expanded', String(!folded.has(i))); }
  });
  shown.textContent = n + ' of ' + rows.length + ' modules';
}
rows.forEach((r, i) => { const b = r.querySelector('.fold'); if (b) b.onclick = () => { folded.has(i) ? folded.delete(i) : folded.add(i); draw(); }; });
document.getElementById('close').onclick = () => { rows.forEach((r, i) => { if (r.querySelector('.fold') && +r.dataset.depth) folded.add(i); }); draw(); };
document.getElementById('open').onclick = () => { folded.clear(); draw(); };
find.oninput = only.onchange = draw;
if (rows.length > 200) rows.forEach((r, i) => { if (r.querySelector('.fold') && r.dataset.touched !== '1') folded.add(i); });
draw();
)";

void write_cell(std::ostream& o, const Snapshot::Row* r, const Report::Line& l, std::string_view side, bool foldable) {
  o << "<td class=\"m " << side << "\">";
  if (r) {
    o << "<div style=\"padding-left:" << 1.1 * std::min(l.depth, 24) + 1.1 << "em\">";
    if (foldable) o << "<button class=fold aria-expanded=true aria-label=\"fold\">\u25be</button>";
    if (!r->name.empty()) o << "<b>" << escaped(r->name) << "</b> ";
    o << "<code>" << escaped(r->text) << "</code>";
    if (!r->shared.empty()) o << " <span class=again>shared, see " << escaped(r->shared) << "</span>";
    o << "</div>";
  }
  o << "</td><td class=\"n " << side << "\">" << (r && r->parameters ? nn::grouped(r->parameters) : "") << "</td><td class=\"n " << side
    << "\">" << (r && r->macs ? nn::grouped(r->macs) : "") << "</td><td class=\"n " << side << "\">"
    << (r ? escaped(r->output) : "") << "</td><td class=\"n " << side << "\">" << (r && r->milliseconds ? three_digits(*r->milliseconds) : "") << "</td>";
}

}  // namespace

std::vector<std::vector<std::string>> report_totals(const Snapshot& before, const Snapshot& after) {
  const Snapshot::Row &b = before.rows.at(0), &a = after.rows.at(0);
  std::vector<std::vector<std::string>> rows{{"", "before", "after", "difference"}};
  const auto add = [&](std::string name, int64_t was, int64_t is) {
    rows.push_back({std::move(name), nn::grouped(was), nn::grouped(is), percent(double(was), double(is))});
  };
  add("modules", int64_t(before.rows.size()), int64_t(after.rows.size()));
  add("parameters", b.parameters, a.parameters);
  if (before.peak_bytes && after.peak_bytes) {
    add("multiply-adds", b.macs, a.macs);
    add("bytes of parameters and buffers", before.state_bytes, after.state_bytes);
    add("bytes at the peak", before.peak_bytes, after.peak_bytes);
  }
  if (b.milliseconds && a.milliseconds)
    rows.push_back({"milliseconds", three_digits(*b.milliseconds), three_digits(*a.milliseconds), percent(*b.milliseconds, *a.milliseconds)});
  return rows;
}

struct ReportPage {
  const Report& r;
  const Snapshot::Row* before(const Report::Line& l) const { return l.before < 0 ? nullptr : &r.before_.rows[size_t(l.before)]; }
  const Snapshot::Row* after(const Report::Line& l) const { return l.after < 0 ? nullptr : &r.after_.rows[size_t(l.after)]; }

  std::string html() const {
    std::ostringstream o;
    o.imbue(std::locale::classic());
    const std::string title = escaped(r.options_.title);
    o << "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width, initial-scale=1\">\n<title>"
      << title << "</title>\n<style>" << kStyle << "</style>\n</head>\n<body>\n<h1>" << title << "</h1>\n";
    totals(o);
    o << "<div class=bar><input id=find type=search placeholder=\"Search modules\" aria-label=\"Search modules\">"
         "<label><input id=only type=checkbox> only what differs</label><button id=open>Unfold all</button><button id=close>Fold all</button>"
         "<span id=shown role=status></span><span class=key>";
    for (const auto& [sign, word] : {std::pair(ReportSign::added, "added"), {ReportSign::removed, "removed"}, {ReportSign::changed, "changed"}})
      o << "<span class=" << word << ">" << char(sign) << ' ' << r.count(sign) << ' ' << word << "</span>";
    o << "</span></div>\n";
    tree(o);
    if (!r.options_.refused.empty()) {
      o << "<h2>Refused</h2>\n<table><thead><tr><th>module<th>code<th>reason</thead><tbody>\n";
      for (const NotDone& x : r.options_.refused)
        o << "<tr><td><code>" << escaped(x.path) << "</code><td>" << escaped(x.code) << "<td>" << escaped(x.reason) << "</tr>\n";
      o << "</tbody></table>\n";
    }
    if (!r.options_.recipe.empty()) o << "<h2>Recipe</h2>\n<pre>" << escaped(r.options_.recipe) << "</pre>\n";
    o << "<script>" << kScript << "</script>\n</body>\n</html>\n";
    return o.str();
  }

  std::string svg() const {
    constexpr int kRow = 18, kWidth = 1200, kHead = 64;
    std::ostringstream o;
    o.imbue(std::locale::classic());
    const int height = kHead + int(r.lines_.size()) * kRow + 16;
    o << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << kWidth << ' ' << height << "\" width=\"" << kWidth << "\" height=\"" << height
      << "\" font-family=\"ui-monospace, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      << "<text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"bold\">" << escaped(r.options_.title) << "</text>\n"
      << "<text x=\"16\" y=\"50\" fill=\"#5b6570\">before: " << summary(r.before_) << "</text>\n<text x=\"616\" y=\"50\" fill=\"#5b6570\">after: "
      << summary(r.after_) << "</text>\n";
    int y = kHead;
    for (const Report::Line& l : r.lines_) {
      side(o, before(l), l, 16, y, l.sign == ReportSign::removed ? "#fde3e1" : "#fdf3d0");
      side(o, after(l), l, 616, y, l.sign == ReportSign::added ? "#dcf5e3" : "#fdf3d0");
      y += kRow;
    }
    o << "</svg>\n";
    return o.str();
  }

 private:
  void totals(std::ostream& o) const {
    o << "<table class=totals>\n";
    bool head = true;
    for (const auto& row : report_totals(r.before_, r.after_)) {
      o << "<tr>";
      for (const std::string& cell : row) o << (head ? "<th>" : "<td>") << escaped(cell);
      o << "</tr>\n";
      head = false;
    }
    o << "</table>\n";
    for (const auto& [when, s] : {std::pair("Before", &r.before_), {"After", &r.after_}})
      if (!s->unknown.empty()) o << "<p>" << when << ", not known: " << escaped(s->unknown) << "</p>\n";
  }
  void tree(std::ostream& o) const {
    o << "<table class=tree>\n<thead><tr><th class=sign>";
    for (const char* side : {"before", "after"})
      o << "<th class=m>" << side << "<th class=n>params<th class=n>MACs<th class=n>output<th class=n>ms";
    o << "</thead>\n<tbody>\n";
    for (size_t i = 0; i < r.lines_.size(); ++i) {
      const Report::Line& l = r.lines_[i];
      const Snapshot::Row *b = before(l), *a = after(l);
      const bool parent = i + 1 < r.lines_.size() && r.lines_[i + 1].depth > l.depth;
      o << "<tr class=" << class_of(l.sign) << " data-depth=" << l.depth << " data-touched=" << l.touched << " data-path=\""
        << escaped((a ? a : b)->path) << "\"><td class=sign>" << (l.sign == ReportSign::same ? ' ' : char(l.sign)) << "</td>";
      write_cell(o, b, l, "old", parent);
      write_cell(o, a, l, "new", parent && !b);
      o << "</tr>\n";
    }
    o << "</tbody></table>\n";
  }
  static std::string summary(const Snapshot& s) {
    const Snapshot::Row& root = s.rows.at(0);
    std::string text = nn::grouped(root.parameters) + " parameters";
    if (root.macs) text += ", " + nn::grouped(root.macs) + " multiply-adds";
    if (root.milliseconds) text += ", " + three_digits(*root.milliseconds) + " ms";
    return text;
  }
  static void side(std::ostream& o, const Snapshot::Row* row, const Report::Line& l, int x, int y, const char* colour) {
    if (!row) return;
    if (l.sign != ReportSign::same) o << "<rect x=\"" << x - 4 << "\" y=\"" << y << "\" width=\"572\" height=\"17\" fill=\"" << colour << "\"/>\n";
    const int indent = 14 * std::min(l.depth, 20);
    const std::string text = (row->name.empty() ? "" : row->name + ": ") + row->text;
    o << "<text x=\"" << x + indent << "\" y=\"" << y + 13 << "\">" << escaped(shortened(text, size_t(std::max(8, (560 - indent) / 8))))
      << "<title>" << escaped(text) << "</title></text>\n";
  }
};

std::string Report::html() const { return ReportPage{*this}.html(); }
std::string Report::svg() const { return ReportPage{*this}.svg(); }

}  // namespace graft
