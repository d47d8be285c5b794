"use strict";

// What the pages can do where scripts run; without, they do the same in other ways.

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// Asks whether the phone has enrolled; the server holds the call until it has. Then this page is over.
async function waitForPhone(here) {
  let seconds = Number(here.dataset.again);
  for (;;) {
    await pause(seconds);
    seconds = 5;
    try {
      const answer = await fetch(here.dataset.wait);
      const again = /data-again="(\d+)"/.exec(await answer.text());
      if (again) {
        seconds = Number(again[1]);
      } else if (answer.status !== 429 && answer.status < 500) {
        location.replace(here.dataset.then);
        return;
      }
    } catch {
      // The network is away, or the server: ask again.
    }
  }
}

// Copies a text. Browsers offer a clipboard over https alone; elsewhere what is selected can be copied.
async function copy(from) {
  const text = from.textContent.trim().replace(/\s+/g, " ");
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  getSelection().selectAllChildren(from);
  if (!document.execCommand("copy")) throw new Error("not copied");
}

const waiting = document.querySelector("[data-wait]");
if (waiting) waitForPhone(waiting);

for (const button of document.querySelectorAll("[data-copy]")) {
  const said = document.querySelector(button.dataset.say);
  button.hidden = false;
  button.addEventListener("click", () => {
    copy(document.querySelector(button.dataset.copy)).then(
      () => { said.textContent = "Copied. Paste it where you keep it now."; },
      () => { said.textContent = "Your browser did not let us copy it. Select it and copy it yourself."; },
    );
  });
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// A page that Back brings out of memory may show what is over.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
