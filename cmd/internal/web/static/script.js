// The pages work without this script. It loads a page again without moving what is being read or
// typed, and copies commands.
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
  const main = document.getElementById("main");
  clearTimeout(timer);
  if (main.dataset.refresh) {
    timer = setTimeout(refresh, 1000 * Number(main.dataset.refresh));
  }
}

// isBusy reports whether somebody types, or has opened or selected something.
function isBusy() {
  const main = document.getElementById("main");
  const active = document.activeElement;
  return document.hidden || main.querySelector("details[open]") !== null || String(getSelection()) !== "" ||
    main.contains(active) && active.matches("input, textarea, select");
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
