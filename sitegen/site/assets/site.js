/* Skipjack. Pages work without this script. It shows how long ago times were, turns mirrors stale or unknown when the
   site is no longer published, loads newer pages in place, and lets visitors search the list. */
"use strict";
(() => {
  const OLD = 600; // seconds without publishing after which a page says that the site is not updated
  const SLACK = 10; // seconds that the manager has to publish a change that time alone causes
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const WORDS = { fresh: "up to date", stale: "out of date", unknown: "unknown" }; // labels, as in formats.py
  const verdictOf = (badge) => Object.keys(WORDS).find((verdict) => badge.classList.contains(verdict));
  // setting the same text again would clear the reader's selection
  const setText = (element, words) => { if (element.textContent !== words) element.textContent = words; };

  /* The server's last answer: how far its clock is ahead of the browser's, and when the newest page was made. While it
     is null no badge turns, because the browser's clock may be wrong and there may be a newer page. `seen` is when this
     page was last known to be right: the newest page's time, or this page's own if that cannot be fetched. */
  let server = null;
  let seen = 0;
  let answering = false;
  let gone = false;
  let waiting = false; // a newer page waits until the reader's selection is gone
  const now = () => Date.now() / 1000 + (server ? server.ahead : 0);
  const madeAt = () => Number(document.body.dataset.madeAt);

  const span = (seconds) => {
    for (const [unit, size] of units) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    return "a moment";
  };

  const relative = (at) => {
    const seconds = now() - at;
    return seconds >= 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  };

  const showAges = () => {
    for (const time of document.querySelectorAll("time")) {
      let ago = time.nextElementSibling;
      if (!ago || ago.className !== "ago") {
        ago = document.createElement("span");
        ago.className = "ago";
        time.after(" ", ago);
      }
      setText(ago, relative(Date.parse(time.dateTime) / 1000));
    }
  };

  /* Ask when the newest page was made. The address differs each time, so that caches do not answer with an old file; one
     that does all the same sends `Age`. */
  const ask = async () => {
    try {
      const began = Date.now();
      const answer = await fetch(`${document.body.dataset.meta}?${began}`, { cache: "no-store" });
      const meta = answer.ok ? await answer.json() : {};
      const date = Date.parse(answer.headers.get("Date")) + 1000 * Number(answer.headers.get("Age") || 0);
      if (!Number.isFinite(meta.generated_at) || !Number.isFinite(date)) return null;
      const difference = (date - (began + Date.now()) / 2) / 1000;
      // `Date` has whole seconds and an answer takes a while, so a small difference means nothing
      return { ahead: Math.abs(difference) < 5 ? 0 : difference, newest: meta.generated_at };
    } catch {
      return null; // offline, or a page opened from a disk
    }
  };

  const pathTo = (element, root) => {
    const path = [];
    for (let each = element; each !== root; each = each.parentNode) path.unshift([...each.parentNode.children].indexOf(each));
    return path;
  };

  /* Copy what the reader opened in a part of the page to its newer version. The function returned restores scroll
     positions, which only elements in the document have. */
  const keepState = (before, after) => {
    const details = after.querySelectorAll("details");
    before.querySelectorAll("details").forEach((each, place) => { if (details[place]) details[place].open = each.open; });
    const boxes = after.querySelectorAll("pre, .scroll");
    const scrolled = [...before.querySelectorAll("pre, .scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
    return () => scrolled.forEach((place, number) => { if (boxes[number]) boxes[number].scrollTo(...place); });
  };

  const choices = (form) => [...form.querySelectorAll("option")].map((each) => `${each.value} ${each.textContent}`).join("\n");

  /* Replace the categories if they have changed. The search field stays the same element. */
  const updateTools = (form, next) => {
    if (choices(form) === choices(next)) return;
    const chosen = form.elements.category ? form.elements.category.value : "";
    form.querySelector("label + label")?.remove();
    form.append(...next.querySelectorAll("label + label"));
    choose(form, chosen);
  };

  /* On the list, replace everything above the counts, their labels, the categories, and the rows. The elements in
     between stay, with what the reader chose and typed. */
  const updateList = (main, next) => {
    const [counts, newer] = [main, next].map((each) => each.querySelector(".counts"));
    while (counts.previousSibling) counts.previousSibling.remove();
    while (newer.previousSibling) main.prepend(newer.previousSibling);
    const words = newer.querySelectorAll("b");
    counts.querySelectorAll("b").forEach((each, place) => { each.nextSibling.data = words[place].nextSibling.data; });
    updateTools(main.querySelector(".tools"), next.querySelector(".tools"));
    for (const part of [".mirrors thead", ".mirrors tbody"]) main.querySelector(part).replaceWith(next.querySelector(part));
  };

  /* Return a function that restores the focus: to the link with the same address, because rows move, or to the element
     at the same place. */
  const focusIn = (main) => {
    const active = document.activeElement;
    if (!main.contains(active) || active === main) return null;
    const link = active.getAttribute("href");
    const path = pathTo(active, main);
    return () => {
      const same = link && [...main.querySelectorAll("a")].find((each) => each.getAttribute("href") === link);
      const found = same || path.reduce((each, place) => each && each.children[place], main);
      if (found) found.focus({ preventScroll: true });
    };
  };

  const isMarked = () => !getSelection().isCollapsed;

  /* Whether a page from the server replaces this one, by when both were made. An earlier one comes from a cache, unless
     the server's clock was set back: then this page is newer than the newest. */
  const isOther = (made, newest) => made > madeAt() || (made < madeAt() && newest < madeAt());

  /* Replace this page's content with the newer page's, and return whether the page is up to date then. The search form
     and the buttons stay the same elements, so that input, choices and focus stay. While text is selected the page
     waits, since the reader may want to copy it, but not for longer than OLD seconds. */
  const update = async (newest) => {
    // reload: a server takes two files of the same second and length for one, so a conditional request could miss a change
    const answer = await fetch(location.href, { cache: "reload" });
    gone = answer.status === 404;
    if (!answer.ok) return false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const made = Number(page.body.dataset.madeAt);
    // a mirror's page is written only when the mirror has changed, the others each time
    if (!isOther(made, newest)) return made >= newest || !page.querySelector("nav [aria-current]");
    waiting = isMarked() && now() - seen < OLD;
    if (waiting) return false;
    const scroll = [scrollX, scrollY];
    const main = document.querySelector("main");
    const next = page.querySelector("main");
    const restore = focusIn(main);
    const restoreBoxes = keepState(main, next);
    if (main.querySelector(".mirrors") && next.querySelector(".mirrors")) {
      updateList(main, next);
    } else {
      main.replaceChildren(...next.childNodes);
      enableFilter();
    }
    for (const part of ["header .brand", "header nav", "footer"]) document.querySelector(part).replaceWith(page.querySelector(part));
    document.title = page.title;
    document.body.dataset.madeAt = String(made);
    if (restore && !document.activeElement.closest("main")) restore();
    restoreBoxes();
    scrollTo(...scroll);
    return true;
  };

  const turn = (badge, verdict) => {
    badge.classList.remove(...Object.keys(WORDS));
    badge.classList.add(verdict);
    badge.textContent = WORDS[verdict];
    const why = badge.closest(".state") ? document.querySelector("p.why:not(.off)") : badge.parentNode.querySelector("small.why");
    if (why) why.remove(); // it explained the previous verdict
    const reason = document.createElement("small");
    reason.className = "why turned";
    reason.textContent = "site not updated";
    if (!badge.closest(".state")) badge.after(reason);
    else {
      const line = document.createElement("p");
      line.className = "why";
      line.textContent = `This page was last updated ${span(now() - seen)} ago. ` +
        (verdict === "stale" ? "By the last known state, the last success is too old now." : "The current state is unknown.");
      badge.closest(".state").after(line);
    }
  };

  /* Whether a moment has passed since the page was last known to be right. A page published after it already shows it. */
  const isPast = (at) => now() >= Number(at) + SLACK && seen < Number(at);

  const turnExpired = () => {
    for (const badge of document.querySelectorAll("[data-stale-at], [data-unknown-at]")) {
      const past = (key) => key in badge.dataset && isPast(badge.dataset[key]);
      const verdict = past("unknownAt") ? "unknown" : past("staleAt") ? "stale" : null;
      if (verdict && verdict !== verdictOf(badge)) turn(badge, verdict);
    }
    for (const badge of document.querySelectorAll("[data-silent-at]"))
      if (isPast(badge.dataset.silentAt) && verdictOf(badge) !== "unknown") turn(badge, "unknown");
  };

  /* Hide progress that is too old. */
  const hideProgress = () => {
    for (const live of document.querySelectorAll("[data-until]")) live.hidden = now() >= Number(live.dataset.until);
  };

  const showPageAge = () => {
    const old = document.getElementById("old") || document.querySelector("main").appendChild(document.createElement("p"));
    old.hidden = !answering || (!gone && now() - server.newest < OLD);
    if (old.hidden) return;
    const words = gone ? "This page is no longer part of the site: its mirror was renamed or removed." : `The status service has not updated this site for ${span(now() - server.newest)}. ` +
      "The page shows the last known state.";
    setText(old, words);
  };

  let shown = "";
  const tools = () => document.querySelector(".tools");

  const filter = () => {
    const fields = tools().elements;
    const words = fields.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const category = fields.category ? fields.category.value : "";
    let found = 0;
    for (const row of document.querySelectorAll(".mirrors tbody tr")) {
      const where = `${row.dataset.name} ${row.cells[0].textContent}`.toLowerCase();
      const verdict = verdictOf(row.querySelector(".verdict"));
      const hit = words.every((word) => where.includes(word)) && (!category || row.dataset.category === category)
        && (!shown || verdict === shown);
      row.hidden = !hit;
      found += hit;
    }
    document.getElementById("none").hidden = found > 0;
    setText(document.getElementById("found"), `${found} shown`);
  };

  const count = () => {
    const verdicts = [...document.querySelectorAll(".mirrors .verdict")].map(verdictOf);
    for (const item of document.querySelectorAll(".counts li")) {
      const wanted = item.dataset.show;
      setText(item.querySelector("b"), String(wanted ? verdicts.filter((verdict) => verdict === wanted).length : verdicts.length));
    }
  };

  /* Keep the search in the page's history entry, so that Back and a reload restore it. */
  const remember = () => {
    const fields = tools().elements;
    const state = { q: fields.q.value, category: fields.category ? fields.category.value : "", shown };
    history.replaceState(state, "");
  };

  const choose = (form, category) => {
    const field = form.elements.category;
    if (!field) return;
    field.value = category;
    if (field.selectedIndex < 0) field.value = ""; // the category no longer exists
  };

  const recall = () => {
    const state = history.state || {};
    const fields = tools().elements;
    fields.q.value = state.q || "";
    choose(tools(), state.category || "");
    shown = state.shown || "";
    press();
    filter();
  };

  const press = () => {
    for (const button of document.querySelectorAll(".counts button"))
      button.setAttribute("aria-pressed", String(button.parentNode.dataset.show === shown));
  };

  const enableFilter = () => {
    if (!tools()) return;
    for (const item of document.querySelectorAll(".counts li")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...item.childNodes);
      button.addEventListener("click", () => {
        shown = item.dataset.show;
        press();
        remember();
        filter();
      });
      item.append(button);
    }
    tools().addEventListener("input", () => {
      remember();
      filter();
    });
    tools().addEventListener("submit", (event) => event.preventDefault());
    tools().hidden = false;
    recall();
  };

  /* Without an answer no badge turns: only the server knows the time, and whether there is a newer page. */
  const refresh = async () => {
    const answered = await ask();
    answering = Boolean(answered);
    if (answered) {
      server = answered;
      let current = true;
      try {
        if (server.newest !== madeAt()) current = await update(server.newest);
      } catch {
        current = false; // tried again at the next refresh
      }
      seen = current ? server.newest : Math.max(seen, madeAt());
      turnExpired();
      hideProgress();
    }
    showAges();
    showPageAge();
    if (tools()) {
      count();
      filter();
    }
  };

  enableFilter();
  showAges();
  refresh();
  setInterval(refresh, 30000);
  addEventListener("pageshow", (event) => {
    if (tools()) recall(); // the browser has restored the fields by itself before this event
    if (event.persisted) refresh();
  });
  document.addEventListener("selectionchange", () => {
    if (!waiting || isMarked()) return;
    waiting = false;
    refresh();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
