// Keeps an open page up to date, draws its charts, and guards its forms against a second click.
// Without it every page can be read and every order given; only the news needs a reload.
"use strict";

const body = document.body;
const $ = (id) => document.getElementById(id);
const CHARTS_EVERY_MS = 5000;
const SEARCH_AFTER_MS = 250;
const AGAIN_MS = 2000;
const AGAIN_MAX_MS = 30000;
const SILENT_MS = 45000;
// No expression is compiled and no style injected: the page's policy forbids both.
const DRAWN = { ast: true, renderer: "canvas", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true } };

// --- Live

const PRESSED = "a, button, summary, input, select, textarea, [tabindex]";
const nameOf = (each) => each?.getAttribute("href") ?? (each?.name ? `${each.name}=${each.value}` : each?.id);

function put(id, html) {
  const place = document.getElementById(id);
  if (!place) return;
  const active = document.activeElement;
  const held = place !== active && place.contains(active) ? nameOf(active) : null;
  const open = [...place.querySelectorAll("details[open]")].map((each) => each.id);
  place.innerHTML = html;
  for (const each of open) if (each && $(each)) $(each).open = true;
  if (!held) return;
  // Whoever is about to press something keeps their finger on it, and on nothing else.
  const same = [...place.querySelectorAll(PRESSED)].find((each) => nameOf(each) === held);
  if (same) return same.focus({ preventScroll: true });
  place.setAttribute("tabindex", "-1");
  place.focus({ preventScroll: true });
}

function arrange(list, keys, pieces) {
  const place = $(list);
  if (!place) return;
  const tag = place.tagName === "TBODY" ? "tr" : "li";
  const wanted = new Set(keys);
  for (const child of [...place.children]) if (!wanted.has(child.id)) child.remove();
  keys.forEach((key, at) => {
    let child = document.getElementById(key);
    if (!child) {
      child = document.createElement(tag);
      child.id = key;
      child.setAttribute("data-piece", "");
      child.innerHTML = pieces[key] ?? "";
    }
    if (place.children[at] !== child) place.insertBefore(child, place.children[at] ?? null);
  });
}

function take(news) {
  const pieces = news.pieces ?? {};
  for (const [list, keys] of Object.entries(news.order ?? {})) arrange(list, keys, pieces);
  for (const [id, html] of Object.entries(pieces)) put(id, html);
  if (news.heading) {
    const title = `${news.heading} · knowngood`;
    if (document.title !== title) {
      document.title = title;
      $("announce").textContent = news.heading;
    }
  }
}

let said = "";
let heardAt = Date.now();

function pulse(words, lost) {
  $("pulse").hidden = false;
  $("pulse").classList.toggle("lost", lost);
  $("pulse-words").textContent = words;
}

// Said once, not at every try: a screen reader would read nothing else.
function lose(words, link) {
  if (said === words) return;
  said = words;
  pulse("not live", true);
  const strong = Object.assign(document.createElement("strong"), { textContent: "Not live. " });
  $("lost").replaceChildren(strong, words, ...(link ? [" ", link] : []));
  $("lost").hidden = false;
}

function find() {
  said = "";
  $("lost").hidden = true;
}

async function why() {
  try {
    const answer = await fetch("/session", { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") return "ended";
    return answer.ok ? "there" : "refused";
  } catch {
    return "gone";
  }
}

function explain(found) {
  const since = new Date(heardAt).toISOString().slice(11, 19);
  if (found === "ended") {
    const link = Object.assign(document.createElement("a"), {
      href: `/login?next=${encodeURIComponent(location.pathname + location.search)}`,
      textContent: "Sign in again",
    });
    return lose(`Your session has ended; what you see is of ${since}.`, link);
  }
  if (found === "gone") return lose(`The server has not been heard of since ${since}; what you see is old. Trying again …`);
  lose(`The server sends no news of this page since ${since}: too many are open, or it is in trouble. Trying again …`);
}

function listen() {
  if (!body.dataset.live || !window.EventSource) return;
  let source = null;
  let again = null;
  let pause = AGAIN_MS;
  let base = body.dataset.base;
  const close = () => { source?.close(); source = null; clearTimeout(again); };
  const open = () => {
    close();
    const address = new URL(body.dataset.live, location.origin);
    for (const [name, value] of new URLSearchParams(location.search)) address.searchParams.append(name, value);
    address.searchParams.delete("done");
    // What the page was opened with is known once: whoever comes again is sent all of it.
    if (base) address.searchParams.set("base", base);
    base = "";
    source = new EventSource(address);
    source.onmessage = (event) => {
      heardAt = Date.now();
      pause = AGAIN_MS;
      const news = JSON.parse(event.data);
      if (news.error) return lose(news.error);
      find();
      take(news);
      if (news.at) pulse(`live ${news.at}`, false);
    };
    source.onerror = async () => {
      const closed = source?.readyState === EventSource.CLOSED;
      const found = await why();
      // A stream has an end every two minutes, after which the browser comes again by itself.
      if (closed || found !== "there") explain(found);
      if (found === "ended") return close();
      if (closed) retry();
    };
  };
  const retry = () => {
    clearTimeout(again);
    again = setTimeout(() => { if (!document.hidden) open(); }, pause);
    pause = Math.min(2 * pause, AGAIN_MAX_MS);
  };
  // A line that is half dead says nothing; the server says something every fifteen seconds.
  setInterval(async () => {
    if (document.hidden || !source || Date.now() - heardAt < SILENT_MS) return;
    explain(await why());
    open();
  }, SILENT_MS / 3);
  // A browser keeps six connections to a server: a tab that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else { heardAt = Date.now(); open(); }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  if (!document.hidden) open();
}

// --- Charts

const dark = window.matchMedia("(prefers-color-scheme: dark)");

async function draw(figure) {
  const address = new URL(figure.dataset.chart, location.origin);
  address.searchParams.set("theme", dark.matches ? "dark" : "light");
  const answer = await fetch(address, { cache: "no-store" });
  if (answer.redirected) return; // to the door: the banner says that the session has ended
  if (answer.status === 204) { figure.hidden = true; return; }
  if (!answer.ok) throw new Error(String(answer.status));
  const { spec, table } = await answer.json();
  const text = JSON.stringify(spec);
  figure.hidden = false;
  if (figure.drawn === text) return;
  figure.drawn = text;
  let canvas = figure.querySelector(".canvas");
  if (!canvas) {
    figure.replaceChildren();
    canvas = Object.assign(document.createElement("div"), { className: "canvas" });
    const details = document.createElement("details");
    details.append(Object.assign(document.createElement("summary"), { textContent: "The figures" }));
    const scroll = Object.assign(document.createElement("div"), { className: "figures", tabIndex: 0 });
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Figures of the chart");
    details.append(scroll);
    figure.append(canvas, details);
  }
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", spec.description ?? "");
  await window.vegaEmbed(canvas, spec, DRAWN);
  fill(figure.querySelector(".figures"), table);
}

function fill(place, table) {
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const words of table.columns) {
    head.append(Object.assign(document.createElement("th"), { textContent: words, scope: "col" }));
  }
  const rows = made.createTBody();
  for (const row of table.rows) {
    const line = rows.insertRow();
    for (const cell of row) line.insertCell().textContent = cell;
  }
  place.replaceChildren(made);
}

async function charts() {
  const figures = [...document.querySelectorAll("[data-chart]")];
  if (!figures.length) return;
  const all = async () => {
    if (document.hidden || !window.vegaEmbed) return;
    for (const figure of figures) {
      try { await draw(figure); } catch (error) {
        const words = figure.querySelector(".loading");
        if (words) words.textContent = "This chart could not be drawn; the figures beside it hold.";
        console.error("chart", figure.dataset.chart, error);
      }
    }
  };
  dark.addEventListener("change", all);
  document.addEventListener("visibilitychange", all);
  await all();
  const turn = async () => { await all(); setTimeout(turn, CHARTS_EVERY_MS); };
  setTimeout(turn, CHARTS_EVERY_MS);
}

// --- Forms and keys

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-once]")) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) {
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
  }
});

const search = document.querySelector("[data-search]");
if (search) {
  let due = null;
  search.addEventListener("input", () => {
    clearTimeout(due);
    due = setTimeout(() => { sessionStorage.setItem("searching", "1"); search.form.requestSubmit(); }, SEARCH_AFTER_MS);
  });
  if (sessionStorage.getItem("searching")) {
    sessionStorage.removeItem("searching");
    search.focus();
    search.setSelectionRange(search.value.length, search.value.length);
  }
}

// Somebody who speaks to their browser, or has a cat, can turn the single keys off.
const keys = $("keys");
const hasKeys = () => localStorage.getItem("keys") !== "off";
if (keys) {
  const show = () => { keys.textContent = hasKeys() ? "Turn keys off" : "Turn keys on"; };
  keys.hidden = false;
  keys.addEventListener("click", () => { localStorage.setItem("keys", hasKeys() ? "off" : "on"); show(); });
  show();
}

document.addEventListener("keydown", (event) => {
  if (!hasKeys() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select, [contenteditable]")) return;
  const go = {
    "/": () => search?.focus(),
    g: () => document.querySelector(".brand")?.click(),
    r: () => document.querySelector('a.button[href^="/do/rollback"], a.button[href^="/do/approve"]')?.click(),
  }[event.key];
  if (go) { event.preventDefault(); go(); }
});

if ($("told")) {
  $("told").focus({ preventScroll: true });
  const clean = new URL(location.href);
  clean.searchParams.delete("done");
  history.replaceState(null, "", clean);
}

listen();
window.addEventListener("load", charts); // the script that draws comes after this one
