// Any two contestants before and after, from the recalls that stand in the page. Names are set as text, never as markup.
(() => {
  "use strict";
  const box = document.querySelector(".slopechoice");
  if (!box) return;
  const all = (name) => [...box.querySelectorAll(`[data-slope=${name}]`)];
  const [before] = all("before"), [after] = all("after"), [chart] = all("chart"), [told] = all("told");
  const classes = all("class").map((item) => item.textContent);
  const sentences = new Map(all("pair").map((item) => [`${item.dataset.a} ${item.dataset.b}`, item.textContent]));
  const numbers = (text) => text.split(",").map((word) => (word === "" ? null : Number(word)));
  const runs = [...before.options].map((option) => ({
    recalls: numbers(option.dataset.recalls),
    accuracy: option.dataset.accuracy === "" ? null : Number(option.dataset.accuracy),
  }));
  const [left, right, top, bottom, width, height, apart] = [58, 380, 16, 396, 620, 430, 15];
  const y = (recall) => bottom - recall * (bottom - top);
  const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
  const svgs = document.querySelector("svg").namespaceURI; // the page names no address, not even that of a standard
  const short = (name) => (name.length <= 26 ? name : `${name.slice(0, 25)}…`);

  const add = (parent, tag, values, text) => {
    const node = document.createElementNS(svgs, tag);
    for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };

  const bundled = (one, two) => {
    const found = new Map();
    classes.forEach((name, position) => {
      const [from, to] = [one.recalls[position], two.recalls[position]];
      if (from === null || to === null) return;
      const key = `${from} ${to}`;
      if (!found.has(key)) found.set(key, { from, to, names: [], kind: to === from ? "same" : to > from ? "better" : "worse" });
      found.get(key).names.push(name);
    });
    const rank = { same: 0, better: 1, worse: 2 };
    return [...found.values()].sort((a, b) => rank[a.kind] - rank[b.kind] || a.from - b.from || a.to - b.to);
  };

  const named = (svg, bundles) => {
    const moved = bundles.filter((bundle) => bundle.kind !== "same");
    moved.sort((a, b) => (a.kind !== "worse") - (b.kind !== "worse") || Math.abs(b.to - b.from) - Math.abs(a.to - a.from));
    const chosen = moved.slice(0, 24).sort((a, b) => b.to - a.to || a.from - b.from);
    let above = 8 - apart;
    chosen.forEach((bundle, position) => {
      const room = height - 20 - apart * (chosen.length - 1 - position);
      above = Math.min(Math.max(y(bundle.to), above + apart), room);
      if (Math.abs(above - y(bundle.to)) > 3)
        add(svg, "line", { class: "lead-line", x1: right + 3, x2: right + 12, y1: y(bundle.to), y2: above });
      const more = bundle.names.length > 1 ? ` +${bundle.names.length - 1}` : "";
      const words = `${bundle.kind === "worse" ? "▼" : "▲"} ${short(bundle.names[0])}${more}`;
      add(svg, "text", { class: `name ${bundle.kind}`, x: right + 15, y: above + 4, "text-anchor": "start" }, words);
    });
  };

  const draw = () => {
    const [one, two] = [runs[before.value], runs[after.value]];
    const bundles = bundled(one, two);
    const size = { viewBox: `0 0 ${width} ${height}`, width, height };
    const svg = add(document.createDocumentFragment(), "svg", { class: "slopes", role: "img", ...size });
    const names = [before, after].map((choice) => choice.selectedOptions[0].textContent);
    add(svg, "title", {}, `Recall of each class, from ${names[0]} to ${names[1]}`);
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      add(svg, "line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) });
      add(svg, "text", { class: "tick", x: left - 10, y: y(tick) + 4, "text-anchor": "end" }, `${100 * tick}\u00a0%`);
    }
    for (const [x, word] of [[left, "before"], [right, "after"]]) {
      add(svg, "line", { class: "pole", x1: x, x2: x, y1: top, y2: bottom });
      add(svg, "text", { class: "tick", x, y: height - 10, "text-anchor": "middle" }, word);
    }
    for (const bundle of bundles) {
      const wide = Math.min(7, 1.2 + 0.7 * (bundle.names.length - 1));
      const ends = { x1: left, y1: y(bundle.from), x2: right, y2: y(bundle.to) };
      const line = add(svg, "line", { class: `slope ${bundle.kind}`, "stroke-width": wide, ...ends });
      const who = bundle.names.slice(0, 8).join(", ") + (bundle.names.length > 8 ? ` and ${bundle.names.length - 8} more` : "");
      add(line, "title", {}, `${who}: ${percent(bundle.from)} → ${percent(bundle.to)}`);
    }
    if (one.accuracy !== null && two.accuracy !== null) {
      const [from, to] = [y(one.accuracy), y(two.accuracy)];
      add(svg, "line", { class: "slope whole", x1: left, y1: from, x2: right, y2: to });
      for (const [cx, cy] of [[left, from], [right, to]]) add(svg, "circle", { class: "whole", cx, cy, r: 4.5 });
    }
    named(svg, bundles);
    chart.replaceChildren(svg);
    const count = (kind) => bundles.reduce((sum, bundle) => sum + (bundle.kind === kind ? bundle.names.length : 0), 0);
    const classesTold = `${count("better")} classes better, ${count("worse")} worse, ${count("same")} unchanged.`;
    const tested = sentences.get(`${before.value} ${after.value}`) ?? sentences.get(`${after.value} ${before.value}`) ?? "";
    told.textContent = before.value === after.value ? "Choose two different contestants." : `${classesTold} ${tested}`;
  };

  box.hidden = false;
  after.selectedIndex = 0;
  before.selectedIndex = Math.min(1, before.options.length - 1);
  for (const choice of [before, after]) choice.addEventListener("change", draw);
  draw();
})();
