/* Skipjack. Everything works without this; with it times say how long ago they are, mirrors turn stale or unknown by
   themselves when nobody renders the page any more, and the list can be searched. */
"use strict";
(() => {
  const now = () => Date.now() / 1000;
  const units = [["d", 86400], ["h", 3600], ["min", 60]];

  const span = (seconds) => {
    for (const [unit, size] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    return "a moment";
  };

  const relative = (at) => {
    const seconds = now() - at;
    return seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  };

  const tellAges = () => {
    for (const time of document.querySelectorAll("time")) {
      let ago = time.nextElementSibling;
      if (!ago || ago.className !== "ago") {
        ago = document.createElement("span");
        ago.className = "ago";
        time.after(" ", ago);
      }
      ago.textContent = relative(Date.parse(time.dateTime) / 1000);
    }
  };

  const turn = (badge, word, name) => {
    badge.classList.remove("fresh", "stale", "unknown");
    badge.classList.add(name);
    badge.textContent = word;
    const why = badge.closest(".state") ? document.querySelector("p.why") : badge.parentNode.querySelector("small.why");
    if (why) why.remove(); // it was the reason for another word
  };

  /* What this page says is about to end, so see whether there is a newer one; when nobody answers, it turns by itself. */
  const renew = async () => {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const made = page.body.dataset.madeAt;
      if (!(Number(made) > Number(document.body.dataset.madeAt))) return;
      if (sessionStorage.getItem("renewed") === location.pathname + made) return; // a cache keeps giving us the old one
      sessionStorage.setItem("renewed", location.pathname + made);
      location.reload();
    } catch {
      return; // offline, or a page opened from a disk
    }
  };

  const judge = () => {
    let ended = false;
    for (const badge of document.querySelectorAll("[data-stale-at], [data-unknown-at]")) {
      const past = (key) => key in badge.dataset && now() >= Number(badge.dataset[key]);
      const verdict = past("unknownAt") ? "unknown" : past("staleAt") ? "stale" : null;
      if (!verdict || verdict === badge.textContent) continue;
      turn(badge, verdict, verdict);
      ended = true;
    }
    for (const badge of document.querySelectorAll("[data-silent-at]"))
      if (now() >= Number(badge.dataset.silentAt) && badge.textContent !== "silent") {
        turn(badge, "silent", "stale");
        ended = true;
      }
    if (ended) renew();
  };

  /* How far a run is counts for a while only. On a mirror's own page somebody may be waiting for its end. */
  const follow = () => {
    for (const live of document.querySelectorAll("[data-until]")) live.hidden = now() >= Number(live.dataset.until);
    if (document.querySelector("section.live")) renew();
  };

  const tellPageAge = () => {
    const old = document.getElementById("old");
    const made = Number(document.body.dataset.madeAt);
    if (!old || now() - made < 600) return;
    old.textContent = `This page was made ${span(now() - made)} ago and nobody has renewed it since. Freshness is worked out from what was known then.`;
    old.hidden = false;
  };

  const tools = document.querySelector(".tools");
  let shown = "";

  const filter = () => {
    const words = tools.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const category = tools.elements.category ? tools.elements.category.value : "";
    let found = 0;
    for (const row of document.querySelectorAll(".mirrors tbody tr")) {
      const text = `${row.dataset.name} ${row.cells[0].textContent}`.toLowerCase();
      const verdict = row.querySelector(".verdict").textContent;
      const hit = words.every((word) => text.includes(word)) && (!category || row.dataset.category === category)
        && (!shown || verdict === shown);
      row.hidden = !hit;
      found += hit;
    }
    document.getElementById("none").hidden = found > 0;
    document.getElementById("found").textContent = `${found} shown`;
  };

  const count = () => {
    for (const item of document.querySelectorAll(".counts li")) {
      const verdicts = [...document.querySelectorAll(".mirrors .verdict")].map((badge) => badge.textContent);
      const wanted = item.dataset.show;
      item.querySelector("b").textContent = wanted ? verdicts.filter((word) => word === wanted).length : verdicts.length;
    }
  };

  const enableFilter = () => {
    for (const item of document.querySelectorAll(".counts li")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...item.childNodes);
      button.setAttribute("aria-pressed", String(item.dataset.show === shown));
      button.addEventListener("click", () => {
        shown = item.dataset.show;
        for (const other of document.querySelectorAll(".counts button"))
          other.setAttribute("aria-pressed", String(other === button));
        filter();
      });
      item.append(button);
    }
    tools.addEventListener("input", filter);
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.hidden = false;
  };

  const refresh = () => {
    judge();
    follow();
    tellAges();
    tellPageAge();
    if (tools) {
      count();
      filter();
    }
  };

  if (tools) enableFilter();
  refresh();
  setInterval(refresh, 30000);
})();
