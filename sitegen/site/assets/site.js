/* Skipjack. Everything works without this; with it times say how long ago they are, mirrors turn stale or unknown by
   themselves when nobody renders the page any more, and the list can be searched. */
"use strict";
(() => {
  const OLD = 600; // seconds after which a site that nobody updates says so
  const SLACK = 10; // seconds that the manager has to publish what changes by itself
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const text = (element) => element.textContent.trim();
  // the same words again would take a reader's selection away
  const say = (element, words) => { if (element.textContent !== words) element.textContent = words; };

  /* What the server answered last: its clock beside ours, and when the newest page was made. Null until it has: before
     that nothing is claimed, because the browser's clock may be wrong and there may be a newer page. `seen` is when what
     stands here was last known to be right: the newest page's time, or this page's own where it cannot be had. */
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

  const tellAges = () => {
    for (const time of document.querySelectorAll("time")) {
      let ago = time.nextElementSibling;
      if (!ago || ago.className !== "ago") {
        ago = document.createElement("span");
        ago.className = "ago";
        time.after(" ", ago);
      }
      say(ago, relative(Date.parse(time.dateTime) / 1000));
    }
  };

  /* Ask what the newest page is. The address differs each time, so that no cache between us answers with an old file;
     a cache that does all the same says so by `Age`. */
  const ask = async () => {
    try {
      const began = Date.now();
      const answer = await fetch(`${document.body.dataset.meta}?${began}`, { cache: "no-store" });
      const meta = answer.ok ? await answer.json() : {};
      const date = Date.parse(answer.headers.get("Date")) + 1000 * Number(answer.headers.get("Age") || 0);
      if (!Number.isFinite(meta.generated_at) || !Number.isFinite(date)) return null;
      const difference = (date - (began + Date.now()) / 2) / 1000;
      // `Date` has whole seconds, and an answer takes a while: a small difference says nothing
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

  /* What the reader did to a part of the page, put back into its newer version. What is returned puts back what only an
     element on the page has. */
  const keepState = (before, after) => {
    const details = after.querySelectorAll("details");
    before.querySelectorAll("details").forEach((each, place) => { if (details[place]) details[place].open = each.open; });
    const boxes = after.querySelectorAll("pre, .scroll");
    const scrolled = [...before.querySelectorAll("pre, .scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
    return () => scrolled.forEach((place, number) => { if (boxes[number]) boxes[number].scrollTo(...place); });
  };

  const choices = (form) => [...form.querySelectorAll("option")].map((each) => `${each.value} ${each.textContent}`).join("\n");

  /* The categories, when there are others. The field that is typed in stays. */
  const updateTools = (form, next) => {
    if (choices(form) === choices(next)) return;
    const chosen = form.elements.category ? form.elements.category.value : "";
    form.querySelector("label + label")?.remove();
    form.append(...next.querySelectorAll("label + label"));
    choose(form, chosen);
  };

  /* On the list: everything above the counts, their words, the categories, and the rows. What is between them keeps what
     was chosen and typed. */
  const updateList = (main, next) => {
    const [counts, newer] = [main, next].map((each) => each.querySelector(".counts"));
    while (counts.previousSibling) counts.previousSibling.remove();
    while (newer.previousSibling) main.prepend(newer.previousSibling);
    const words = newer.querySelectorAll("b");
    counts.querySelectorAll("b").forEach((each, place) => { each.nextSibling.data = words[place].nextSibling.data; });
    updateTools(main.querySelector(".tools"), next.querySelector(".tools"));
    for (const part of [".mirrors thead", ".mirrors tbody"]) main.querySelector(part).replaceWith(next.querySelector(part));
  };

  /* Where the focus is: by its address if it has one, because rows move, and else by its place. */
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

  /* Whether a page from the server is another one than this, by when both were made. An earlier one comes from a cache,
     unless the clock of the server was put back: then this page is newer than the newest. */
  const isOther = (made, newest) => made > madeAt() || (made < madeAt() && newest < madeAt());

  /* Put the newer page in place of this one, and tell whether what stands here is up to date then. The search form and
     the buttons stay the same elements, so that what is typed, chosen and focused stays, in the middle of a word as well.
     Marked text stays, too, while somebody may want to copy it: the page waits, but not for a reader who went away. */
  const update = async (newest) => {
    // A server takes two files of the same second and length for one, so that asking for changes would find none.
    const answer = await fetch(location.href, { cache: "reload" });
    gone = answer.status === 404;
    if (!answer.ok) return false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const made = Number(page.body.dataset.madeAt);
    // a mirror's page is made only when it has to change, the others each time
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

  const turn = (badge, word, name) => {
    badge.classList.remove("fresh", "stale", "unknown");
    badge.classList.add(name);
    badge.textContent = word;
    const why = badge.closest(".state") ? document.querySelector("p.why:not(.off)") : badge.parentNode.querySelector("small.why");
    if (why) why.remove(); // it was the reason for another word
    const reason = document.createElement("small");
    reason.className = "why turned";
    reason.textContent = "site not updated";
    if (!badge.closest(".state")) badge.after(reason);
    else {
      const line = document.createElement("p");
      line.className = "why";
      line.textContent = `This page was last updated ${span(now() - seen)} ago, and the time until which this was right has passed. ` +
        (word === "stale" ? "By what was known then, the data is too old now." : "What happened since is not known.");
      badge.closest(".state").after(line);
    }
  };

  /* Whether a moment has passed that no publishing has seen: what was published after it is right as it stands. */
  const isPast = (at) => now() >= Number(at) + SLACK && seen < Number(at);

  const judge = () => {
    for (const badge of document.querySelectorAll("[data-stale-at], [data-unknown-at]")) {
      const past = (key) => key in badge.dataset && isPast(badge.dataset[key]);
      const verdict = past("unknownAt") ? "unknown" : past("staleAt") ? "stale" : null;
      if (verdict && verdict !== text(badge)) turn(badge, verdict, verdict);
    }
    for (const badge of document.querySelectorAll("[data-silent-at]"))
      if (isPast(badge.dataset.silentAt) && text(badge) !== "not known") turn(badge, "not known", "unknown");
  };

  /* How far a run is counts for a while only. */
  const follow = () => {
    for (const live of document.querySelectorAll("[data-until]")) live.hidden = now() >= Number(live.dataset.until);
  };

  const tellPageAge = () => {
    const old = document.getElementById("old") || document.querySelector("main").appendChild(document.createElement("p"));
    old.hidden = !answering || (!gone && now() - server.newest < OLD);
    if (old.hidden) return;
    const words = gone ? "This page is no longer part of the site: its mirror was renamed or removed." : `The status service has not updated this site for ${span(now() - server.newest)}. ` +
      "What is shown was known then; it turns stale or unknown by itself.";
    say(old, words);
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
      const verdict = text(row.querySelector(".verdict"));
      const hit = words.every((word) => where.includes(word)) && (!category || row.dataset.category === category)
        && (!shown || verdict === shown);
      row.hidden = !hit;
      found += hit;
    }
    document.getElementById("none").hidden = found > 0;
    say(document.getElementById("found"), `${found} shown`);
  };

  const count = () => {
    const verdicts = [...document.querySelectorAll(".mirrors .verdict")].map(text);
    for (const item of document.querySelectorAll(".counts li")) {
      const wanted = item.dataset.show;
      say(item.querySelector("b"), String(wanted ? verdicts.filter((word) => word === wanted).length : verdicts.length));
    }
  };

  /* What is searched stands with the page's entry in the browser's history, so that Back and a reload find it. */
  const remember = () => {
    const fields = tools().elements;
    const state = { q: fields.q.value, category: fields.category ? fields.category.value : "", shown };
    history.replaceState(state, "");
  };

  const choose = (form, category) => {
    const field = form.elements.category;
    if (!field) return;
    field.value = category;
    if (field.selectedIndex < 0) field.value = ""; // there is no such category any more
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

  /* Nothing is judged without an answer: it says what time it is, and whether there is something newer. */
  const refresh = async () => {
    const answered = await ask();
    answering = Boolean(answered);
    if (answered) {
      server = answered;
      let current = true;
      try {
        if (server.newest !== madeAt()) current = await update(server.newest);
      } catch {
        current = false; // the next time
      }
      seen = current ? server.newest : Math.max(seen, madeAt());
      judge();
      follow();
    }
    tellAges();
    tellPageAge();
    if (tools()) {
      count();
      filter();
    }
  };

  enableFilter();
  tellAges();
  refresh();
  setInterval(refresh, 30000);
  addEventListener("pageshow", (event) => {
    if (tools()) recall(); // a browser puts its own idea of the fields in place before this
    if (event.persisted) refresh();
  });
  document.addEventListener("selectionchange", () => {
    if (!waiting || isMarked()) return;
    waiting = false;
    refresh();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
