// judge returns what is wrong with a page for people who use it by keyboard, with a screen reader,
// on a phone, or with weak eyes.
(() => {
  const faults = [];
  const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const name = (e) => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.name ? "[name=" + e.name + "]" : "") +
    " " + JSON.stringify((e.innerText || "").slice(0, 30));

  // Labels.
  for (const e of document.querySelectorAll("input, select, textarea, button, a[href], summary, svg[role=img], progress")) {
    if (e.type === "hidden" || !shown(e)) {
      continue;
    }
    const labels = e.labels ? [...e.labels].map((l) => l.innerText.trim()).join(" ") : "";
    const label = (e.getAttribute("aria-label") || "").trim() || labels || (e.innerText || "").trim() || (e.title || "").trim();
    if (!label) {
      faults.push("no label: " + name(e));
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) {
    faults.push("an id twice: " + id);
  }

  // Headings: one of the first level, and none left out.
  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter(shown).map((h) => Number(h.tagName[1]));
  if (levels.filter((l) => l === 1).length !== 1 || levels[0] !== 1) {
    faults.push("headings " + levels.join(" "));
  }
  levels.forEach((l, i) => {
    if (i > 0 && l > levels[i - 1] + 1) {
      faults.push("a heading of level " + l + " after one of level " + levels[i - 1]);
    }
  });
  if (!document.title || !document.documentElement.lang) {
    faults.push("no title or language");
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.querySelector("th[scope]")) {
      faults.push("a table without column headings");
    }
  }

  // Width: nothing is cut off, and nothing but code scrolls sideways.
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
    const wide = [...document.querySelectorAll("main *")].filter((e) => shown(e) &&
      e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).slice(-1).map(name);
    faults.push("wider than the window: " + document.documentElement.scrollWidth + " " + wide.join());
  }

  // Contrast, as WCAG 2.2 computes it.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const color = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data;
    return [d[0], d[1], d[2], d[3] / 255];
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const backgroundOf = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      layers.push(color(getComputedStyle(at).backgroundColor));
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const seen = new Set();
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()) || e.matches("input, textarea, select");
    if (!own || !shown(e) || e.closest("svg, .hidden, .skip, option, :disabled")) {
      continue;
    }
    const style = getComputedStyle(e);
    const below = backgroundOf(e);
    const [a, b] = [light(over(color(style.color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    if (ratio < (large ? 3 : 4.5)) {
      const key = style.color + " on " + below.map(Math.round).join();
      if (!seen.has(key)) {
        seen.add(key);
        faults.push("contrast " + ratio.toFixed(2) + ": " + key + " " + name(e));
      }
    }
  }
  return faults;
})()
