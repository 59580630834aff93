// The page over the gateway's own JSON: it draws what it is told, as text and SVG made by hand, and keeps nothing.

const EVERY_MS = 15000, PAGES = 5, PER_PAGE = 200, SLICES = 40, COLOURS = 8, SHOWN = 40;
const NAME = "conduit-key", SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);
let decisions = [];
let timer = 0;

class Closed extends Error {}

async function get(path, wanted = [200]) {
  const key = sessionStorage.getItem(NAME);
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store" });
  if (answer.status === 401 || answer.status === 403) throw new Closed();
  if (!wanted.includes(answer.status)) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// ---------------------------------------------------------------- making

function make(name, given = {}, ...children) {
  const { svg, ...more } = given;
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(more)) {
    if (key === "colour") made.style.color = value;
    else if (key === "filled") made.style.width = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
const draw = (name, given, ...children) => make(name, { ...given, svg: true }, ...children);
const put = (id, ...children) => at(id).replaceChildren(...children);

const usd = (x) => {
  if (x === null || x === undefined) return "unknown";
  const size = Math.abs(x), digits = size >= 1 ? 2 : size >= 0.01 ? 3 : size >= 0.001 ? 4 : 6;
  return `${x < 0 ? "−" : ""}$${size.toFixed(digits)}`;
};
const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0)} %`;
const seconds = (x) => (x === null || x === undefined ? "–" : x < 1 ? `${Math.round(x * 1000)} ms` : `${x.toFixed(1)} s`);
const fixed = (x, n = 2) => (x === null || x === undefined ? "–" : x.toFixed(n));
const width = (id) => Math.max(at(id).clientWidth, 260);
const clock = (s) => new Date(s * 1000).toLocaleTimeString([], { hour12: false });

// ---------------------------------------------------------------- what is drawn

function colours() {
  const names = [...new Set(decisions.flatMap((d) => [d.model, ...d.candidates.map((c) => c.model)]))].sort();
  return new Map(names.map((name, i) => [name, `var(--c${i % COLOURS})`]));
}

function figure(value, ...notes) {
  const [text, mood] = Array.isArray(value) ? value : [value, ""];
  return make("div", { class: "figure" }, make("b", { class: mood }, text), ...notes.map((n) => make("span", {}, n)));
}

function savings(found) {
  if (found.usd_per_request === null) return figure("–", "saved a request", found.why ?? "");
  const [low, high] = found.interval;
  const sure = low > 0 ? "good" : "";
  return figure([usd(found.usd_per_request), sure], `saved a request against ${found.against}`,
    `${percent(found.level)} interval ${usd(low)} to ${usd(high)}`);
}

function figures(stats) {
  const quality = stats.quality_metrics;
  put("figures",
    savings(stats.savings),
    figure(usd(stats.total_cost), "spent", `${stats.total_queries.toLocaleString()} requests`),
    figure(fixed(quality.avg_quality), "mean rating (0 to 1)", `${quality.rated.toLocaleString()} rated`),
    figure(quality.success_rate === null ? "–" : percent(quality.success_rate), "answered", stats.unpriced ? `${stats.unpriced} without a price` : ""),
    figure(seconds(stats.avg_latency), "mean latency", stats.cached ? `${stats.cached} from the cache` : ""));
}

function shares(colour) {
  const routed = decisions.filter((d) => d.routed).reverse();
  if (routed.length < 2) return put("shares", make("p", { class: "quiet" }, "Nothing was routed yet."));
  const [wide, high, slices] = [width("shares"), 190, Math.min(SLICES, routed.length)];
  const names = [...colour.keys()].filter((name) => routed.some((d) => d.model === name));
  const columns = Array.from({ length: slices }, (_, i) => {
    const part = routed.slice(Math.floor((i * routed.length) / slices), Math.floor(((i + 1) * routed.length) / slices));
    return names.map((name) => part.filter((d) => d.model === name).length / part.length);
  });
  const picture = draw("svg", { viewBox: `0 0 ${wide} ${high + 20}`, role: "img", "aria-label": "Share of each model over the last decisions" });
  columns.forEach((column, i) => {
    let y = high;
    column.forEach((share, k) => {
      y -= share * high;
      if (!share) return;
      const box = draw("rect", { x: (i * wide) / slices, y, width: wide / slices - 1.5, height: Math.max(share * high - 0.6, 0.4) },
        draw("title", {}, `${names[k]}: ${percent(share)}`));
      box.style.fill = colour.get(names[k]);
      picture.append(box);
    });
  });
  picture.append(draw("text", { x: 0, y: high + 16 }, clock(routed[0].created)),
    draw("text", { x: wide, y: high + 16, "text-anchor": "end" }, clock(routed.at(-1).created)));
  put("shares", picture);
  at("shares-note").textContent = `the last ${routed.length.toLocaleString()} routed decisions, oldest at the left`;
  put("legend", ...names.map((name) => {
    const n = routed.filter((d) => d.model === name).length;
    return make("li", {}, make("span", { class: "dot", colour: colour.get(name) }), `${name} ${percent(n / routed.length)}`);
  }));
}

function believed() {
  const found = new Map();
  for (const d of decisions.filter((x) => x.routed).slice(0, PER_PAGE)) {
    for (const c of d.candidates) {
      const sum = found.get(c.model) ?? { n: 0, quality: 0, sd: 0, cost: 0, priced: 0, p: 0 };
      sum.n += 1; sum.quality += c.quality; sum.sd += c.quality_sd; sum.p += c.probability;
      if (c.cost_usd) { sum.cost += c.cost_usd; sum.priced += 1; }
      found.set(c.model, sum);
    }
  }
  return [...found].filter(([, s]) => s.priced).map(([model, s]) => ({
    model, quality: s.quality / s.n, sd: s.sd / s.n, cost: s.cost / s.priced, share: s.p / s.n }));
}

function frontier(colour) {
  const points = believed();
  if (!points.length) return put("frontier", make("p", { class: "quiet" }, "Nothing to compare yet."));
  const [wide, high, left, bottom] = [width("frontier"), 300, 34, 34];
  const logs = points.map((p) => Math.log10(p.cost));
  const [low, most] = [Math.min(...logs) - 0.3, Math.max(...logs) + 0.3];
  const x = (cost) => left + ((Math.log10(cost) - low) / (most - low)) * (wide - left - 10);
  const y = (quality) => 8 + (1 - Math.min(Math.max(quality, 0), 1)) * (high - bottom - 8);
  const picture = draw("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": "Believed quality against expected cost of each model" });
  for (const q of [0, 0.25, 0.5, 0.75, 1]) picture.append(
    draw("line", { class: "axis", x1: left, x2: wide, y1: y(q), y2: y(q) }), draw("text", { x: left - 6, y: y(q) + 4, "text-anchor": "end" }, fixed(q)));
  for (let d = Math.ceil(low); d <= most; d += 1) picture.append(
    draw("text", { x: x(10 ** d), y: high - 14, "text-anchor": "middle" }, `$${(10 ** d).toLocaleString("en", { maximumFractionDigits: 8 })}`));
  picture.append(draw("text", { x: wide, y: high - 1, "text-anchor": "end" }, "US dollars a request (expected)"));
  for (const p of points) {
    const bar = draw("line", { x1: x(p.cost), x2: x(p.cost), y1: y(p.quality - p.sd), y2: y(p.quality + p.sd), "stroke-width": 2, "stroke-opacity": 0.5 });
    const dot = draw("circle", { cx: x(p.cost), cy: y(p.quality), r: 4 + 9 * Math.sqrt(p.share) },
      draw("title", {}, `${p.model}: quality ${fixed(p.quality)} ± ${fixed(p.sd)}, ${usd(p.cost)}, probability ${percent(p.share)}`));
    bar.style.stroke = dot.style.fill = colour.get(p.model) ?? "var(--quiet)";
    const end = x(p.cost) > wide * 0.7;
    picture.append(bar, dot, draw("text", { class: "name", x: x(p.cost) + (end ? -1 : 1) * (8 + 9 * Math.sqrt(p.share)), y: y(p.quality) + 4, "text-anchor": end ? "end" : "start" }, p.model.split("/").at(-1)));
  }
  put("frontier", picture);
}

function budgets(found, price) {
  if (!found?.length) return put("budgets", make("p", { class: "quiet" }, "None is set."));
  const rows = found.flatMap((b) => {
    const given = b.period === "request" ? b.budget_usd * b.requests : b.budget_usd;
    const used = given ? b.spent_usd / given : 0;
    return [make("div", { class: "row" }, make("span", {}, `${b.account || "all"}, ${b.period}`), make("span", {}, `${usd(b.spent_usd)} of ${usd(given)}`)),
      make("div", { class: "bar" }, make("i", { class: used > 1 ? "over" : "", filled: `${Math.min(used, 1) * 100}%` }))];
  });
  put("budgets", ...rows, make("p", { class: "quiet" }, `Pacing price: ${fixed(price, 1)} of quality a dollar`));
}

function drift(found) {
  if (!found.length) return put("drift", make("p", { class: "quiet" }, "No model is other than it was."));
  put("drift", ...found.map((d) => make("div", { class: "row" }, make("span", {}, `${d.model}: ${d.signal} ${d.shift > 0 ? "rose" : "fell"} by ${fixed(Math.abs(d.shift))}`),
    make("span", { class: "quiet" }, `since ${new Date(d.since * 1000).toLocaleString()}`))));
}

function health(checks) {
  const failed = decisions.filter((d) => d.outcome?.status === "failed").length;
  const others = decisions.filter((d) => d.outcome?.status === "answered" && d.outcome.model !== d.model).length;
  const rows = Object.entries(checks).map(([name, state]) => [name, state, state === "ok" ? "good" : "bad"]);
  rows.push(["failed, of those shown", String(failed), failed ? "bad" : ""], ["answered by another than the chosen one", String(others), others ? "bad" : ""]);
  put("health", ...rows.map(([name, state, mood]) => make("div", { class: "row" }, make("span", {}, name), make("span", { class: mood }, state))));
}

function candidates(d) {
  const head = ["model", "probability", "utility", "quality", "±", "cost", "latency"];
  const rows = d.candidates.map((c) => make("tr", { class: c.model === d.model ? "chosen" : "" },
    ...[c.model, fixed(c.probability, 3), fixed(c.utility, 3), fixed(c.quality, 3), fixed(c.quality_sd, 3), usd(c.cost_usd), seconds(c.latency_s)].map((t) => make("td", {}, t))));
  return make("div", { class: "table" }, make("table", {}, make("tr", {}, ...head.map((t) => make("th", {}, t))), ...rows));
}

function decision(d, colour) {
  const outcome = d.outcome, rating = d.feedback?.quality;
  const line = make("summary", {}, make("span", { class: "quiet" }, clock(d.created)),
    make("span", {}, make("span", { class: "dot", colour: colour.get(d.model) }), d.model),
    make("span", { class: "number less" }, d.routed ? percent(d.propensity) : "named"),
    make("span", { class: "number" }, outcome ? usd(outcome.cost_usd) : "–"),
    make("span", { class: `number less ${outcome?.status === "failed" ? "bad" : "quiet"}` }, rating === undefined || rating === null ? outcome?.status ?? "open" : `rated ${fixed(rating)}`));
  const opened = make("details", { "data-id": d.id }, line);
  opened.addEventListener("toggle", () => {
    if (!opened.open || opened.childElementCount > 1) return;
    const removed = Object.entries(d.removed).map(([name, why]) => `${name}: ${why}`).join("; ");
    const facts = `${d.domain}, ${d.input_tokens} tokens in, ${outcome?.output_tokens ?? "–"} out, ${seconds(outcome?.latency_s)}; policy ${d.policy}; ${d.id}`;
    opened.append(make("p", {}, d.why), candidates(d), make("p", {}, facts), ...(removed ? [make("p", {}, `Removed: ${removed}`)] : []));
  });
  return opened;
}

function recent(colour) {
  const open = new Set([...document.querySelectorAll("details[open]")].map((each) => each.dataset.id));
  const rows = decisions.slice(0, SHOWN).map((d) => decision(d, colour));
  put("decisions", ...(rows.length ? rows : [make("p", { class: "quiet" }, "None yet.")]));
  for (const row of rows) row.open = open.has(row.dataset.id);
}

// ---------------------------------------------------------------- looking

async function look() {
  let before = "", fresh = [];
  const known = new Map(decisions.map((d) => [d.id, d]));
  for (let page = 0; page < PAGES; page += 1) {
    const found = await get(`v1/decisions?limit=${PER_PAGE}${before}`);
    fresh.push(...found.data);
    if (!found.has_more || found.data.some((d) => known.has(d.id))) break;
    before = `&before=${encodeURIComponent(found.data.at(-1).id)}`;
  }
  const seen = new Set(fresh.map((d) => d.id));
  decisions = [...fresh, ...decisions.filter((d) => !seen.has(d.id))].slice(0, PAGES * PER_PAGE);
  const [stats, ready] = await Promise.all([get("v1/stats"), get("health/ready", [200, 503])]);
  at("page").hidden = false;
  const colour = colours();
  figures(stats); shares(colour); frontier(colour);
  budgets(stats.budgets, decisions.find((d) => d.routed)?.shadow_price ?? 0);
  drift(stats.drift); health(ready.checks); recent(colour);
}

async function go() {
  clearTimeout(timer);
  try {
    await look();
    at("door").hidden = true;
    at("state").className = "";
    at("state").textContent = `as of ${new Date().toLocaleTimeString([], { hour12: false })}`;
  } catch (error) {
    if (error instanceof Closed) {
      const tried = sessionStorage.getItem(NAME) !== null;
      sessionStorage.removeItem(NAME);
      decisions = [];
      at("page").hidden = true;
      at("door").hidden = false;
      at("state").textContent = tried ? "that key does not open this" : "";
      return;
    }
    at("state").className = "bad";
    at("state").textContent = `what is shown is old: ${error.message}`;
  }
  timer = setTimeout(go, EVERY_MS);
}

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(NAME, at("key").value.trim());
  at("key").value = "";
  go();
});
go();
