// Maps of every layer, coloured here from the cells in the page. Comfort only: the most telling layer stands there without this script.
// It reads data- attributes, draws on canvases and writes text, never markup.
(() => {
  "use strict";
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const STEPS = new Map([...LETTERS].map((letter, step) => [letter, step]));
  const LAST = 63, LEFT = 38, TOP = 8, ACROSS = 3, STRIP = 106; // check_chart.py
  const ROWS = ["upper", "middle", "lower"], COLUMNS = ["left", "middle", "right"];
  const all = (selector, from) => [...from.querySelectorAll(selector)];
  const make = (name, className) => Object.assign(document.createElement(name), { className: className ?? "" });
  const steps = (text) => [...text].map((letter) => STEPS.get(letter));

  // Colours come from the style sheet, so that they follow the theme.
  const theme = () => {
    const style = getComputedStyle(document.documentElement);
    const rgb = (code) => [1, 3, 5].map((at) => parseInt(code.trim().slice(at, at + 2), 16));
    const one = (name) => rgb(style.getPropertyValue(name));
    return { ramp: style.getPropertyValue("--map-ramp").split(",").map(rgb), pro: one("--map-for"), contra: one("--map-against"), zero: one("--map-zero") };
  };
  let inks = theme();

  const colour = (share, signed, raw) => {
    if (signed) {
      const strength = Math.min(1, Math.abs(2 * share - 1));
      const end = share >= 0.5 ? inks.pro : inks.contra;
      return raw ? [...end.map((channel, i) => inks.zero[i] + (channel - inks.zero[i]) * strength), 255] : [...end, 255 * strength];
    }
    const place = share * (inks.ramp.length - 1), low = Math.min(Math.floor(place), inks.ramp.length - 2);
    return [...inks.ramp[low].map((channel, i) => channel + (inks.ramp[low + 1][i] - channel) * (place - low)), 255];
  };

  const minus = (text) => text.replaceAll("-", "−");
  const read = (node, says) => {
    const d = node.dataset, [height, width] = d.size.split(" ").map(Number);
    return {
      method: d.method, title: d.title, signed: d.signed === "1", height, width, best: Number(d.best), 
      names: JSON.parse(says[Number(d.names)]), reach: d.reach.split("|").map((pair) => minus(pair).replace(" ", " to ")), checks: minus(d.checks).split("|").map((line) => line.split(",")), cells: d.cells,
      // A signed map uses one step less, so that one step is zero.
      last: d.signed === "1" ? LAST - 1 : LAST,
      steps(layer) {
        return steps(d.cells.slice(layer * height * width, (layer + 1) * height * width));
      },
    };
  };

  const paint = (canvas, map, layer, raw) => {
    canvas.width = map.width;
    canvas.height = map.height;
    const context = canvas.getContext("2d"), image = context.createImageData(map.width, map.height);
    map.steps(layer).forEach((step, at) => image.data.set(colour(step / map.last, map.signed, raw).map(Math.round), 4 * at));
    context.putImageData(image, 0, 0);
  };

  const lay = (canvas, seen, opacity) => {
    const [left, top, right, bottom] = seen, percent = (part) => `${100 * part}%`;
    Object.assign(canvas.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top), opacity });
  };

  const strongest = (map, layer) => {
    const found = map.steps(layer), most = Math.max(...found);
    if (most === Math.min(...found)) return "the same everywhere";
    if (map.signed && 2 * most <= map.last) return "nothing speaks for the answer";
    const sums = Array(9).fill(0), counts = Array(9).fill(0);
    const third = (at, side) => Math.floor((3 * at + 1.5) / side);
    found.forEach((step, at) => {
      const place = 3 * third(Math.floor(at / map.width), map.height) + third(at % map.width, map.width);
      sums[place] += step;
      counts[place] += 1;
    });
    const means = sums.map((sum, place) => (counts[place] ? sum / counts[place] : -1));
    const best = means.indexOf(Math.max(...means));
    return `strongest in the ${best === 4 ? "central" : `${ROWS[Math.floor(best / 3)]} ${COLUMNS[best % 3]}`} ninth`;
  };

  const points = (line) => line.map((step, at) => `${+(LEFT + (ACROSS * LAST * at) / (line.length - 1)).toFixed(1)},${TOP + step}`);

  // The chart of the first layer that is drawn lends its lines to all others.
  const plot = (box, fields) => {
    const [top, bottom, deletion, insertion, zero, random, score, ...words] = fields;
    const chart = box.querySelector(".checkchart");
    box.hidden = !chart || !deletion;
    if (box.hidden) return;
    const set = (selector, attributes) => Object.entries(attributes).forEach(([name, value]) => chart.querySelector(selector).setAttribute(name, value));
    const covered = steps(deletion), shown = steps(insertion), orders = steps(random), level = TOP + STEPS.get(zero);
    set(".del", { points: points(covered).join(" ") });
    set(".ins", { points: points(shown).join(" ") });
    set(".gain", { points: [...points(shown), ...points(covered).reverse()].join(" ") });
    set(".zero", { y1: level, y2: level });
    let [high, low] = [TOP + shown.at(-1), TOP + covered.at(-1)];
    if (Math.abs(high - low) < 12) {
      const middle = (high + low) / 2, half = high >= low ? 6 : -6;
      [high, low] = [middle + half, middle - half];
    }
    set(".insword", { y: high + 3.5 });
    set(".delword", { y: low + 3.5 });
    set(".band", { x: LEFT + ACROSS * orders[0] - 2, width: ACROSS * (orders.at(-1) - orders[0]) + 4 });
    set(".orders", { d: orders.map((x) => `M${LEFT + ACROSS * x} ${STRIP - 4}v8`).join("") });
    set(".score", { d: `M${LEFT + ACROSS * STEPS.get(score)} ${STRIP - 8}l5 8-5 8-5-8z` });
    chart.querySelector(".top").textContent = top;
    chart.querySelector(".low").textContent = bottom;
    chart.querySelector("title").textContent =
      `Gap in nats while the most important parts are covered and while they are shown first; score ${words[0]}; random orders ${words[1]} to ${words[2]}`;
  };

  const stamps = Object.fromEntries(all(".mapstamps li", document).map((line) => [line.dataset.mark, line.textContent]));

  class Row {
    constructor(node, says) {
      this.node = node;
      this.says = says;
      this.maps = all("data[data-cells]", node).map((data) => read(data, says));
      this.stage = node.querySelector(".stage");
      this.about = node.querySelector(".aboutmap");
      this.name = node.dataset.name;
      this.seen = node.dataset.seen.split(" ").map(Number);
      this.strip = node.querySelector(".layerstrip");
      this.canvas = make("canvas");
      this.canvas.setAttribute("aria-hidden", "true");
      this.stage.querySelector(".view").after(this.canvas);
      this.stage.classList.add("drawn");
      this.none = make("p", "nomap");
      this.none.hidden = true;
      this.stage.append(this.none);
    }

    choose(method) {
      this.map = method === "" ? this.maps[Number(this.node.dataset.at)] : this.maps.find((map) => map.method === method);
      this.method = method;
    }

    layerAt(depth, telling) {
      return telling ? this.map.best : Math.round(depth * (this.map.names.length - 1));
    }

    // Returns the name of the layer that is shown, or what is said instead of a map.
    show(depth, telling, mode, opacity) {
      const raw = mode === "raw", given = Boolean(this.map);
      this.stage.classList.toggle("blank", !given);
      this.none.hidden = given;
      this.about.hidden = !given;
      if (this.strip) this.strip.hidden = !given || this.map.names.length < 2;
      const lines = all(".unfit li", this.node), line = lines.find((item) => item.dataset.method === this.method);
      lines.forEach((item) => (item.hidden = item === line));
      if (!given) {
        this.none.textContent = line ? line.textContent : "No map by this method was made for this contestant.";
        return "no map";
      }
      const layer = this.layerAt(depth, telling), [place, marks, ...fields] = this.map.checks[layer];
      const name = this.map.names[layer], where = strongest(this.map, layer), told = [...marks].map((mark) => stamps[mark]);
      paint(this.canvas, this.map, layer, raw);
      lay(this.canvas, this.seen, raw ? 1 : opacity);
      this.canvas.dataset.layer = String(layer);
      this.stage.classList.toggle("raw", raw);
      this.stage.classList.toggle("doubted", marks !== "");
      const stamp = this.stage.querySelector(".stamp");
      stamp.hidden = marks === "";
      stamp.textContent = told.join(" ");
      const sayings = [`${this.name} answers ${this.node.dataset.answer}. ${this.map.title}, ${name}: ${where}.`, ...told];
      this.stage.querySelector(".view title").textContent = sayings.join(" ");
      const write = (selector, text) => (this.node.querySelector(selector).textContent = text);
      write(".maptitle", this.map.title);
      write(".maplayer", name);
      write(".mapwhere", where);
      write(".mapreach", this.map.reach[layer]);
      write(".checkwords", this.says[Number(place)]);
      write(".checksign", marks === "" ? "✓" : "!");
      this.node.querySelector(".mapcheck").classList.toggle("doubtful", marks !== "");
      plot(this.node.querySelector(".checkbox"), fields);
      this.tiles(layer, raw, opacity);
      return name;
    }

    tiles(layer, raw, opacity) {
      if (!this.strip || !this.strip.open) return;
      const picture = this.stage.querySelector(".view");
      const drawn = this.map.names.map((name, at) => {
        const marks = this.map.checks[at][1];
        const tile = make("figure", `tile${raw ? " raw" : ""}${at === layer ? " now" : ""}`);
        const box = make("div", `box${marks === "" ? "" : " doubted"}`), canvas = make("canvas"), words = make("figcaption");
        const svg = (name) => document.createElementNS(picture.namespaceURI, name), view = svg("svg"), use = svg("use");
        for (const attribute of ["viewBox", "width", "height"]) view.setAttribute(attribute, picture.getAttribute(attribute));
        view.setAttribute("class", "view");
        view.setAttribute("aria-hidden", "true");
        use.setAttribute("class", "ground");
        use.setAttribute("href", picture.querySelector(".ground").getAttribute("href"));
        view.append(use);
        paint(canvas, this.map, at, raw);
        lay(canvas, this.seen, raw ? 1 : opacity);
        canvas.setAttribute("aria-hidden", "true");
        words.textContent = `${name} ${marks === "" ? "✓" : "!"}`;
        const more = make("span", "unseen");
        more.textContent = `: ${[strongest(this.map, at), ...[...marks].map((mark) => stamps[mark])].join("; ")}`;
        words.append(more);
        box.append(view, canvas);
        tile.append(box, words);
        return tile;
      });
      this.strip.querySelector(".tiles").replaceChildren(...drawn);
    }
  }

  const start = (viewer) => {
    const says = all(".mapsays li", viewer).map((line) => line.textContent);
    const rows = all(".whyrow[data-at]", viewer).map((node) => new Row(node, says));
    const box = viewer.querySelector(".mapcontrols");
    if (!rows.length) return;
    const part = Object.fromEntries(all("[data-map]", box).map((node) => [node.dataset.map, node]));
    let telling = true;

    const most = () => Math.max(1, ...rows.map((row) => (row.map ? row.map.names.length : 1)));
    const show = () => {
      const last = Number(part.depth.max), at = Number(part.depth.value);
      const names = rows.map((row) => `${row.name}: ${row.show(last ? at / last : 1, telling, part.mode.value, Number(part.opacity.value) / 100)}`);
      const now = telling ? "most telling layer of each" : last ? `depth ${at + 1} of ${last + 1}` : "one layer only";
      part.now.textContent = now;
      part.live.textContent = `. ${names.join("; ")}`;
      part.depth.setAttribute("aria-valuetext", now);
      part.telling.setAttribute("aria-pressed", String(telling));
    };
    const choose = () => {
      rows.forEach((row) => row.choose(part.method.value));
      const count = most(), lead = rows.find((row) => row.map && row.map.names.length === count);
      part.depth.max = String(count - 1);
      part.depth.disabled = count === 1;
      part.depth.value = String(lead ? lead.map.best : count - 1);
      telling = true;
      show();
    };
    part.method.addEventListener("change", choose);
    for (const name of ["mode", "opacity"]) part[name].addEventListener("input", show);
    part.depth.addEventListener("input", () => {
      telling = false;
      show();
    });
    part.telling.addEventListener("click", () => {
      telling = !telling;
      show();
    });
    rows.forEach((row) => row.strip?.addEventListener("toggle", () => row.strip.open && show()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      inks = theme();
      show();
    });
    box.hidden = false;
    choose();
  };

  // A picture's maps are drawn when it is opened.
  for (const viewer of all(".mapviewer", document)) {
    const fold = viewer.closest("details");
    let started = false;
    const once = () => {
      if (started || (fold && !fold.open)) return;
      started = true;
      start(viewer);
    };
    fold?.addEventListener("toggle", once);
    once();
  }
})();
