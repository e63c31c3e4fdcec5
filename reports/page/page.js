"use strict";
// Learning curves as SVG, drawn from the JSON beside each legend. One state per group of charts:
// which series and seeds are hidden; one per chart: the visible range of the horizontal axis.
(() => {
  const MARGIN = { left: 62, right: 24, top: 10, bottom: 42 };
  const SCALES = {
    linear: { to: (v) => v, from: (v) => v },
    log: { to: Math.log2, from: (v) => 2 ** v },
    log1p: { to: (v) => Math.log2(1 + v), from: (v) => 2 ** v - 1 },
  };

  function element(parent, name, attributes, text) {
    const made = document.createElementNS(parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  }

  function short(value) {
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(4)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(4)}k`;
    if (size > 0 && size < 1e-3) return value.toExponential(0);
    return String(+value.toPrecision(4));
  }

  function steps(low, high, count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
    const ticks = [];
    for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-12) + 1e-12; k++) ticks.push(k * step);
    return ticks;
  }

  function decades(low, high) {
    const ticks = [];
    const several = Math.log10(high / low) > 2;
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) {
      for (const factor of several ? [1] : [1, 2, 5]) ticks.push(factor * 10 ** k);
    }
    return ticks.filter((value) => value >= low && value <= high);
  }

  class Chart {
    constructor(group, figure, spec) {
      Object.assign(this, { group, figure, spec, svg: figure.querySelector("svg") });
      this.x = SCALES[group.data.xscale];
      this.y = SCALES[group.data.yscale];
      const places = spec.series.flatMap((series) => series.line.x).map(this.x.to);
      this.whole = [Math.min(...places), Math.max(...places)];
      if (this.whole[0] === this.whole[1]) this.whole[1] += 1;
      this.range = this.whole;
      this.marks = [...new Set(spec.series.flatMap((series) => series.line.x))].sort((a, b) => a - b);
      this.listen();
      this.draw();
      new ResizeObserver(() => this.draw()).observe(this.svg);
    }

    listen() {
      const act = {
        in: () => this.zoom(0.5, 0),
        out: () => this.zoom(2, 0),
        left: () => this.zoom(1, -0.25),
        right: () => this.zoom(1, 0.25),
        reset: () => this.show(this.whole),
      };
      for (const button of this.figure.querySelectorAll("button")) {
        button.addEventListener("click", act[button.dataset.zoom]);
      }
      let start = null;
      const place = (event) => event.clientX - this.svg.getBoundingClientRect().left;
      this.svg.addEventListener("pointerdown", (event) => {
        start = place(event);
        this.svg.setPointerCapture(event.pointerId);
      });
      this.svg.addEventListener("pointermove", (event) => {
        this.clear();
        if (start === null) this.read(place(event));
        else this.select(start, place(event));
      });
      this.svg.addEventListener("pointerup", (event) => {
        const ends = [start, place(event)].sort((a, b) => a - b);
        const dragged = start !== null && ends[1] - ends[0] > 6;
        start = null;
        if (dragged) this.show(ends.map((end) => this.unplace(end)));
      });
      this.svg.addEventListener("pointercancel", () => { start = null; this.clear(); });
      this.svg.addEventListener("pointerleave", () => { if (start === null) this.clear(); });
      this.svg.addEventListener("dblclick", act.reset);
    }

    zoom(factor, shift) {
      const [low, high] = this.range;
      const width = Math.min((high - low) * factor, this.whole[1] - this.whole[0]);
      const middle = (low + high) / 2 + shift * (high - low);
      const left = Math.min(Math.max(middle - width / 2, this.whole[0]), this.whole[1] - width);
      this.show([left, left + width]);
    }

    show(range) {
      const low = Math.max(range[0], this.whole[0]);
      const high = Math.min(range[1], this.whole[1]);
      // Finer than this, axes have no ticks that numbers can tell apart.
      if (high - low > 1e-3 * (this.whole[1] - this.whole[0])) this.range = [low, high];
      this.draw();
    }

    unplace(pixel) {
      const share = (pixel - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
      return this.range[0] + share * (this.range[1] - this.range[0]);
    }

    visible() {
      return this.spec.series.filter((series) => !this.group.hidden.has(series.name));
    }

    seeds(series) {
      return Object.entries(series.seeds).filter(([seed]) => !this.group.hidden.has(`seed-${seed}`));
    }

    draw() {
      this.width = this.svg.clientWidth;
      this.height = this.svg.clientHeight;
      if (!this.width) return;
      this.svg.replaceChildren();
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      const bottom = this.height - MARGIN.bottom;
      const right = this.width - MARGIN.right;
      const [low, high] = this.range;
      this.px = (v) => MARGIN.left + ((this.x.to(v) - low) / (high - low)) * (right - MARGIN.left);
      const [floor, ceiling] = this.extent();
      const up = (v) => (this.y.to(v) - floor) / (ceiling - floor);
      this.py = (v) => bottom - up(v) * (bottom - MARGIN.top);
      this.axes(floor, ceiling, bottom, right);
      const id = `clip-${this.svg.id}`;
      const clip = element(element(this.svg, "defs", {}), "clipPath", { id });
      const size = { width: right - MARGIN.left, height: bottom - MARGIN.top };
      element(clip, "rect", { x: MARGIN.left, y: MARGIN.top, ...size });
      const plot = element(this.svg, "g", { "clip-path": `url(#${id})` });
      for (const series of this.visible()) this.spread(plot, series);
      for (const series of this.visible()) this.line(plot, series);
      this.over = element(this.svg, "g", { "pointer-events": "none" });
    }

    // Smallest and largest value in the visible range, with a margin, on the scale of the axis.
    extent() {
      const values = [];
      const take = (xs, ys) => xs.forEach((x, k) => {
        const place = this.x.to(x);
        if (ys[k] === null || place < this.range[0] || place > this.range[1]) return;
        const value = this.y.to(ys[k]);
        if (Number.isFinite(value)) values.push(value);
      });
      for (const series of this.visible()) {
        for (const part of ["y", "low", "high"]) if (series.line[part]) take(series.line.x, series.line[part]);
        for (const [, curve] of this.seeds(series)) take(curve.x, curve.y);
      }
      if (!values.length) return [0, 1];
      const low = values.reduce((a, b) => Math.min(a, b));
      const high = values.reduce((a, b) => Math.max(a, b));
      const margin = (high - low) * 0.04 || 1;
      return [low - margin, high + margin];
    }

    axes(floor, ceiling, bottom, right) {
      const [low, high] = this.range.map(this.x.from);
      const across = this.group.data.xscale === "linear"
        ? steps(low, high, Math.max(2, (right - MARGIN.left) / 65)) : this.marks;
      const ends = [this.y.from(floor), this.y.from(ceiling)];
      const round = this.group.data.yscale === "linear" ? [] : decades(...ends);
      const upward = round.length < 2 ? steps(...ends, 6) : round;
      let last = -Infinity;
      for (const value of across) {
        const x = this.px(value);
        if (x < MARGIN.left - 0.5 || x > right + 0.5 || x - last < 30) continue;
        last = x;
        element(this.svg, "line", { class: "grid", x1: x, x2: x, y1: MARGIN.top, y2: bottom });
        element(this.svg, "text", { x, y: bottom + 17, "text-anchor": "middle" }, short(value));
      }
      for (const value of upward) {
        const y = this.py(value);
        element(this.svg, "line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y });
        element(this.svg, "text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, short(value));
      }
      const middle = (MARGIN.left + right) / 2;
      const label = { x: middle, y: this.height - 6, "text-anchor": "middle" };
      element(this.svg, "text", label, this.group.data.x);
      const side = { transform: `translate(13 ${bottom / 2}) rotate(-90)`, "text-anchor": "middle" };
      element(this.svg, "text", side, this.group.data.y);
    }

    path(xs, ys) {
      let text = "";
      let pen = "M";
      xs.forEach((x, k) => {
        const point = ys[k] === null ? NaN : this.py(ys[k]);
        if (Number.isFinite(point)) text += `${pen}${this.px(x).toFixed(1)} ${point.toFixed(1)}`;
        pen = Number.isFinite(point) ? "L" : "M";
      });
      return text;
    }

    spread(plot, series) {
      const color = this.group.data.colors[series.name];
      const { x, low, high } = series.line;
      if (low) {
        // A bound without a logarithm is below any visible one.
        const lowest = this.y.from(this.extent()[0] - 1);
        const under = this.group.data.yscale === "log" ? low.map((v) => (v > 0 ? v : lowest)) : low;
        const back = this.path([...x].reverse(), [...under].reverse()).replace("M", "L");
        const shade = { fill: color, opacity: 0.15, "data-series": series.name };
        element(plot, "path", { ...shade, d: `${this.path(x, high)}${back}Z` });
      }
      for (const [seed, curve] of this.seeds(series)) {
        const thin = { fill: "none", stroke: color, "stroke-width": 0.8, opacity: 0.45 };
        const names = { "data-series": series.name, "data-seed": seed };
        element(plot, "path", { ...thin, ...names, d: this.path(curve.x, curve.y) });
      }
    }

    line(plot, series) {
      const { x, y } = series.line;
      const stroke = { stroke: this.group.data.colors[series.name], "stroke-width": 2.4 };
      const names = { "data-series": series.name, fill: "none" };
      element(plot, "path", { ...stroke, ...names, d: this.path(x, y) });
    }

    clear() {
      if (this.over) this.over.replaceChildren();
    }

    select(from, to) {
      const [left, right] = [Math.min(from, to), Math.max(from, to)];
      const size = { y: MARGIN.top, height: this.height - MARGIN.top - MARGIN.bottom };
      element(this.over, "rect", { class: "select", x: left, width: right - left, ...size });
    }

    // The values of all visible series at the nearest point, in a box on the side with more room.
    read(pixel) {
      const near = this.marks.map((x) => [Math.abs(this.px(x) - pixel), x]).sort((a, b) => a[0] - b[0]);
      const x = near[0][1];
      const rows = this.visible().flatMap((series) => {
        const k = series.line.x.indexOf(x);
        if (k < 0 || series.line.y[k] === null) return [];
        const { low, high } = series.line;
        const band = low ? ` [${short(low[k])}, ${short(high[k])}]` : "";
        return [[this.group.data.colors[series.name], `${series.name} ${short(series.line.y[k])}${band}`]];
      });
      if (!rows.length || pixel < MARGIN.left || pixel > this.width - MARGIN.right) return;
      const at = this.px(x);
      const bottom = this.height - MARGIN.bottom;
      element(this.over, "line", { class: "grid", x1: at, x2: at, y1: MARGIN.top, y2: bottom });
      const box = element(this.over, "rect", { class: "hint", rx: 4, y: MARGIN.top + 2, height: 17 * rows.length + 24 });
      const texts = [["currentColor", short(x)], ...rows].map(([color, text], k) => {
        const made = element(this.over, "text", { class: "value", y: MARGIN.top + 18 + 17 * k });
        if (k) element(made, "tspan", { style: `fill: ${color}` }, "● ");
        made.append(text);
        return made;
      });
      const width = Math.max(...texts.map((text) => text.getComputedTextLength())) + 16;
      const beside = at > (this.width + MARGIN.left) / 2 ? at - width - 8 : at + 8;
      const left = Math.max(Math.min(beside, this.width - width), 0);
      box.setAttribute("x", left);
      box.setAttribute("width", width);
      for (const text of texts) text.setAttribute("x", left + 8);
    }
  }

  class Group {
    constructor(root) {
      this.data = JSON.parse(root.querySelector("script").textContent);
      this.hidden = new Set();
      this.buttons = [...root.querySelectorAll("[data-hide]")];
      for (const button of this.buttons) {
        button.addEventListener("click", () => this.toggle(button.dataset.hide));
      }
      const figures = root.querySelectorAll("figure");
      this.charts = this.data.charts.map((spec, k) => new Chart(this, figures[k], spec));
    }

    toggle(name) {
      if (!this.hidden.delete(name)) this.hidden.add(name);
      this.update();
    }

    update() {
      for (const button of this.buttons) {
        button.setAttribute("aria-pressed", String(!this.hidden.has(button.dataset.hide)));
      }
      for (const chart of this.charts) chart.draw();
    }
  }

  const groups = [...document.querySelectorAll(".group")].map((root) => new Group(root));

  // index.html#hide=maac,seed-1 hides these in every chart: a view that can be passed on.
  function follow() {
    const wanted = new URLSearchParams(location.hash.slice(1)).get("hide");
    if (wanted === null) return;
    for (const group of groups) {
      group.hidden = new Set(wanted.split(","));
      group.update();
    }
  }
  addEventListener("hashchange", follow);
  follow();
})();
