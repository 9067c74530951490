// The pages work without this script. It loads a page again without moving what is being read or
// typed, copies commands, and fills in a range from a chart.
"use strict";

let timer;

function prepare() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.classList.add("primary");
    });
  }
  prepareRange();
  const main = document.getElementById("main");
  clearTimeout(timer);
  if (main.dataset.refresh) {
    timer = setTimeout(refresh, 1000 * Number(main.dataset.refresh));
  }
}

// prepareRange has clicks on the chart fill in the range: first its beginning, then its end.
function prepareRange() {
  const svg = document.getElementById("range");
  if (!svg) {
    return;
  }
  const from = document.getElementById("from");
  const to = document.getElementById("to");
  const start = Date.parse(svg.dataset.from);
  const end = Date.parse(svg.dataset.to);
  const width = svg.viewBox.baseVal.width;
  let first = null;
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const stamp = (part) => new Date(start + part * (end - start)).toISOString().slice(0, 19) + "Z";
    let until = share;
    if (first === null) {
      first = share;
      from.value = stamp(share);
      to.value = "";
      until = 1;
    } else {
      const low = Math.min(first, share);
      until = Math.max(first, share);
      first = low;
      from.value = stamp(low);
      to.value = stamp(until);
    }
    const mark = svg.querySelector("rect.chosen");
    mark.setAttribute("x", String(first * width));
    mark.setAttribute("width", String((until - first) * width));
    if (to.value !== "") {
      first = null;
    }
  });
}

// isBusy reports whether the reader types or has typed, or has opened or selected something.
function isBusy() {
  const main = document.getElementById("main");
  const active = document.activeElement;
  return document.hidden || main.querySelector("details[open]") !== null || String(getSelection()) !== "" ||
    main.contains(active) && active.matches("input, textarea, select") ||
    [...main.querySelectorAll("input, textarea")].some((i) => i.value !== i.defaultValue || i.checked !== i.defaultChecked);
}

async function refresh() {
  const main = document.getElementById("main");
  if (isBusy()) {
    timer = setTimeout(refresh, 1000 * Number(main.dataset.refresh));
    return;
  }
  try {
    const response = await fetch(location.href, { credentials: "same-origin", redirect: "manual" });
    if (response.type === "opaqueredirect") { // the session has ended
      location.reload();
      return;
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    main.replaceWith(document.importNode(page.getElementById("main"), true));
    document.querySelector("header.top nav")?.replaceWith(document.importNode(page.querySelector("header.top nav"), true));
    if (focused) {
      [...document.querySelectorAll("#main a")].find((a) => a.getAttribute("href") === focused)?.focus();
    }
  } catch {
    // The server does not answer. The time of the page shows how old it is.
  }
  prepare();
}

prepare();
