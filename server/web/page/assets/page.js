"use strict";

// What the pages can do where scripts run; without, they do the same in other ways.

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// Tells the server, as this page is left, that scripts run here: then the next page need not load itself again.
addEventListener("beforeunload", () => { document.cookie = "tutela_script=1; Max-Age=10; Path=/; SameSite=Lax"; });

// Loads a page as a document. A browser makes none of a string, which Trusted Types would refuse.
function load(address, signal) {
  return new Promise((done, failed) => {
    const call = new XMLHttpRequest();
    call.open("GET", address);
    call.responseType = "document";
    call.onload = () => done({ status: call.status, page: call.response, address: call.responseURL });
    call.onerror = call.onabort = failed;
    signal.addEventListener("abort", () => call.abort());
    call.send();
  });
}

// Waits until the tab is seen.
function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => document.addEventListener("visibilitychange", () => done(), { once: true })).then(seen);
}

// Runs ask with true in one of four tabs of this browser at once, since it opens six connections to a server; in the others with false.
async function held(ask) {
  if (!navigator.locks) return ask(true);
  for (let place = 0; place < 4; place++) {
    const answer = await navigator.locks.request("tutela-live-" + place, { ifAvailable: true }, (lock) => lock && ask(true).then((it) => ({ it })));
    if (answer) return answer.it;
  }
  return ask(false);
}

// Asks the address of a page that waits, until it waits no longer, and shows what has changed.
async function live(first) {
  let here = first;
  for (;;) {
    await pause(Number(here.dataset.again) || 5);
    await seen();
    const stop = new AbortController();
    const hide = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const answer = await held(async (hold) => {
        const address = new URL(here.dataset.live, location.href);
        if (!hold) address.searchParams.delete("wait");
        const got = await load(address.href, stop.signal);
        if (!hold) await pause(4);
        return got;
      });
      if (answer.status === 429 || answer.status >= 500 || !answer.page) {
        await pause(5);
        continue;
      }
      const next = answer.page.querySelector("[data-live]");
      if (!next) {
        // Where the server has led is where it goes on; else the page says where, since this address waits.
        const led = new URL(answer.address).pathname !== new URL(here.dataset.live, location.href).pathname;
        location.replace(led ? answer.address : here.dataset.then || answer.address);
        return;
      }
      here = swap(here, next, answer.page);
    } catch {
      await pause(document.hidden ? 0 : 5); // the network is away, or the tab was left: ask again
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
  }
}

// Puts the parts of a page that have changed into this one: what waits, and whatever has an id and data-part.
function swap(here, next, page) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const now = page.getElementById(part.id);
    if (now && !now.isEqualNode(part)) replace(part, now);
  }
  if (!here.isConnected) return document.querySelector("[data-live]");
  if (here.isEqualNode(next)) return here;
  return replace(here, next);
}

// The keyboard stays where it was, or goes to the heading of what has come. What was opened stays open.
function replace(old, now) {
  if ("keyed" in old.dataset) return merge(old, now);
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  const open = [...old.querySelectorAll("details")].map((it) => it.open);
  const fresh = document.importNode(now, true);
  fresh.querySelectorAll("details").forEach((it, i) => { it.open = open[i] || it.open; });
  old.replaceWith(fresh);
  enliven(fresh);
  if (!active) return fresh;
  const same = [...fresh.querySelectorAll(active.localName)].find((it) => it.isEqualNode(active));
  (same || fresh.querySelector("h1, h2, [tabindex]") || fresh).focus();
  return fresh;
}

// Brings a list up to date by the ids of its items. What stays is not touched: neither the keyboard in it nor what is selected.
function merge(list, now) {
  list.hidden = now.hidden;
  const stays = new Set([...now.children].map((item) => item.id));
  for (const item of [...list.children]) if (!stays.has(item.id)) item.remove();
  let at = list.firstElementChild;
  for (const item of now.children) {
    if (at && at.id === item.id) {
      at = at.nextElementSibling;
      continue;
    }
    const fresh = document.importNode(item, true);
    list.insertBefore(fresh, at);
    enliven(fresh);
  }
  return list;
}

// Copies a text. Browsers offer a clipboard to secure pages alone; elsewhere what is selected can be copied.
async function copy(from) {
  const text = from.textContent.trim().replace(/\s+/g, " ");
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  getSelection().selectAllChildren(from);
  if (!document.execCommand("copy")) throw new Error("not copied");
}

// Instants, as the reader's clock has them.
function localised(time) {
  const styles = { clock: { timeStyle: "short" }, when: { dateStyle: "full", timeStyle: "short" } };
  const style = styles[time.dataset.time];
  const at = new Date(time.dateTime);
  if (style && !isNaN(at)) time.textContent = new Intl.DateTimeFormat(document.documentElement.lang, style).format(at);
}

// Gives what has come into the page what scripts do for it.
function enliven(root) {
  for (const time of root.querySelectorAll("time[data-time]")) localised(time);
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    const said = document.querySelector(button.dataset.say);
    button.addEventListener("click", () => {
      copy(document.querySelector(button.dataset.copy)).then(
        () => { said.textContent = button.dataset.copied; },
        () => { said.textContent = button.dataset.failed; },
      );
    });
  }
  for (const button of root.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }
  // A file that is chosen is read into a field, where it can also be pasted.
  for (const file of root.querySelectorAll("input[type=file][data-into]")) {
    file.closest("[hidden]").hidden = false;
    file.addEventListener("change", () => {
      const reader = new FileReader();
      const field = document.querySelector(file.dataset.into);
      reader.onload = () => { field.value = file.dataset.base64 ? reader.result.replace(/^[^,]*,/, "") : reader.result; };
      if (!file.files.length) return;
      if (file.dataset.base64) reader.readAsDataURL(file.files[0]);
      else reader.readAsText(file.files[0]);
    });
  }
  // A dialog is a page of its own at an address of its own. Escape does what its way out does.
  for (const dialog of root.querySelectorAll("dialog[open][data-modal]")) {
    dialog.close();
    for (const inert of document.querySelectorAll("[inert]")) inert.inert = false; // the browser keeps the rest of the page away now
    dialog.showModal();
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      dialog.querySelector("[data-cancel]")?.click();
    });
  }
  // Of menus one is open, and Escape or a click elsewhere closes it.
  for (const menu of root.querySelectorAll("details.menu")) {
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  }
  // A choice that is sent as it is made.
  for (const form of root.querySelectorAll("form[data-submit]")) {
    for (const button of form.querySelectorAll("[data-submit-by-itself]")) button.hidden = true;
    form.addEventListener("change", () => form.requestSubmit());
  }
  // A form that was sent is not sent twice by an impatient finger.
  for (const form of root.querySelectorAll("form")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      setTimeout(() => delete form.dataset.sent, 5000);
    });
  }
}

// Moves the keyboard among things, as the arrow keys say. first is where it is before them all.
function step(event, things, first) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const at = things.indexOf(document.activeElement);
  if (!by || at < 0 && document.activeElement !== first) return;
  event.preventDefault();
  (at + by < 0 ? first : things[at + by])?.focus();
}

// The arrow keys lead from a search to what it has found, and through an open menu.
document.addEventListener("keydown", (event) => {
  const search = document.querySelector("[data-down]");
  if (search) step(event, [...document.querySelectorAll(search.dataset.down)], search);
  const menu = document.querySelector("details.menu[open]");
  if (menu) step(event, [...menu.querySelectorAll("[role=menuitem]")], menu.querySelector("summary"));
});

enliven(document);
document.addEventListener("htmx:after:swap", () => { for (const time of document.querySelectorAll("time[data-time]")) localised(time); });
const waiting = document.querySelector("[data-live]");
if (waiting) {
  stop(); // the browser's own reloading, for those without script
  live(waiting);
}

// A page that Back brings out of memory may show what is over.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
