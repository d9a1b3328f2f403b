// Fetches the page again every few seconds and puts the new main in the place of
// the old one, unless its reader is in the middle of something. Without this
// script the page is as it was when it was loaded.
"use strict";
(() => {
  const every = 5000;
  const live = document.getElementById("live");
  let last = new Date();

  const inUse = () => {
    const main = document.querySelector("main");
    const at = document.activeElement;
    return document.hidden || (at !== main && main.contains(at)) || String(getSelection()) !== "";
  };

  const say = (text, lost) => {
    if (live.textContent !== text) live.textContent = text;
    live.hidden = text === "";
    live.classList.toggle("lost", lost);
  };

  const refresh = async () => {
    if (inUse()) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(every) });
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (inUse()) return;
      document.querySelector("main").replaceChildren(...next.childNodes);
      last = new Date();
      document.documentElement.dataset.refreshed = last.toISOString();
      say("", false);
    } catch (error) {
      say(`Sealgate gives no answer: what is shown is of ${last.toLocaleTimeString()}.`, true);
    }
  };

  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
})();
