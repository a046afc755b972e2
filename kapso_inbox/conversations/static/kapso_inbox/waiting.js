/* Keeps badges current: one request for all of a page, by one tab for all. */
(() => {
  "use strict";
  if (customElements.get("kapso-waiting")) return;

  const EVERY = 20000; // ms
  const HIDDEN = 60000; // ms; browsers allow no less
  const SLOWEST = 300000; // ms
  const LISTENING = 1000; // ms; so the same tab asks again
  const NAME = "kapso-waiting";
  const SWITCH = "kapso-inbox-notifications";
  const PREFIX = /^\(\d+\+?\) /;

  const badges = new Set();
  const known = new Map(); // kind and slugs of a badge -> its numbers
  const notifications = new Map();
  const id = Math.random();
  const { locks } = navigator; // missing without https
  let address, site, channel, timer, leave, said, bare, shownTitle, asked, counts, heardAt, telling, due;
  let isStopped;
  let wait = EVERY;

  const isVisible = () => document.visibilityState === "visible";
  const short = (number) => (number > 99 ? "99+" : number || "");
  const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
  const ownSlugs = () => [...badges].flatMap((badge) => badge.slugs);
  const isAwake = () => channel && badges.size && !isStopped && (isVisible() || mayNotify());
  const covers = (slugs) => slugs && ownSlugs().every((slug) => slugs.includes(slug));

  function mayNotify() {
    try {
      return localStorage.getItem(SWITCH) && Notification.permission === "granted";
    } catch {
      return false;
    }
  }

  class KapsoWaiting extends HTMLElement {
    connectedCallback() {
      ({ address } = this.dataset);
      site = `${NAME} ${address}`;
      this.slugs = this.dataset.slugs.split(" ");
      this.key = `${this.dataset.kind} ${this.slugs.join(" ")}`;
      badges.add(this);
      if (counts) this.take();
      change();
    }

    disconnectedCallback() {
      badges.delete(this);
      change();
    }

    /* Return whether more wait than before. */
    take() {
      if (!this.slugs.every((slug) => asked.includes(slug))) return false;
      const numbers = this.slugs.map((slug) => counts[slug]?.[this.dataset.kind] || 0);
      const before = known.get(this.key);
      known.set(this.key, numbers);
      this.grown = before && this.slugs.find((_slug, index) => numbers[index] > before[index]);
      if (!this.show(numbers)) notifications.get(this.key)?.close();
      return this.grown;
    }

    show(numbers) {
      const number = sum(numbers);
      const { one, other } = this.dataset;
      this.text = number ? (number === 1 ? one : other).replace("{n}", number) : "";
      this.hidden = !number;
      const seen = this.querySelector("[data-number]");
      seen.textContent = short(number);
      seen.title = this.querySelector("[data-text]").textContent = this.text;
      return number;
    }
  }

  /* Many badges change at once. */
  function change() {
    clearTimeout(due);
    due = setTimeout(() => {
      if (!channel) return badges.size && begin();
      join();
      entitle();
      if (covers(asked) && Date.now() - heardAt < wait) later();
      else soon();
    });
  }

  function begin() {
    channel = new BroadcastChannel(site);
    channel.onmessage = ({ data }) => (data.isSeen ? clearTimeout(telling) : hear(data, LISTENING));
    isStopped = null;
    speak("");
    join();
    soon();
  }

  /* A page kept for Back must hold nothing open. */
  function end() {
    clearTimeout(timer);
    clearTimeout(telling);
    leave?.();
    channel?.close();
    channel = null;
  }

  /* A lock's name tells the other tabs what this one needs. */
  function join() {
    leave?.();
    if (!locks || !isAwake()) return;
    const held = new Promise((resolve) => (leave = resolve));
    locks.request(`${site}|${ownSlugs().join(" ")}|${id}`, () => held);
  }

  function schedule(delay) {
    clearTimeout(timer);
    if (isAwake()) timer = setTimeout(poll, delay, !delay);
  }

  const soon = () => schedule(0);
  const later = (more = 0) => schedule(more + (isVisible() ? wait : Math.max(wait, HIDDEN)));

  async function poll(isWanted) {
    if (!isAwake()) return;
    if (!locks) return ask(ownSlugs());
    await locks.request(site, { ifAvailable: !isWanted }, async (lock) => {
      if (!lock) return later(LISTENING); // Another tab is asking.
      const { held } = await locks.query();
      const tabs = held.map(({ name }) => name.split("|")).filter(([name]) => name === site);
      await ask([...ownSlugs(), ...tabs.flatMap(([, slugs = ""]) => slugs.split(" "))]);
    });
  }

  async function ask(wanted) {
    const slugs = [...new Set(wanted)].filter(Boolean).sort();
    const query = new URLSearchParams([...slugs.map((slug) => ["slug", slug]), ["both", 1]]);
    let message = { slower: Math.min(wait * 2, SLOWEST) };
    try {
      const response = await fetch(`${address}?${query}`, {
        cache: "no-cache", // with the ETag
        redirect: "error", // to a login
        signal: AbortSignal.timeout(EVERY),
      });
      if (response.status === 403) message = { isOver: true };
      else if (response.ok) message = { slugs, counts: await response.json() };
    } catch {}
    if (!channel) return;
    channel.postMessage(message);
    hear(message);
  }

  function hear(message, more) {
    isStopped = message.isOver;
    wait = message.slower || EVERY;
    if (isStopped) {
      leave?.();
      leave = counts = asked = null;
      badges.forEach((badge) => badge.show([]));
    } else if (message.counts) {
      ({ slugs: asked, counts } = message);
      if (!leave) join(); // Somebody has signed in again.
      heardAt = Date.now();
      const grown = [...badges].filter((badge) => badge.take());
      speak(isVisible() ? [...new Set(grown.map((badge) => badge.text))].join(". ") : "");
      if (mayNotify()) tell(grown);
    }
    entitle();
    if (isStopped || message.slower || covers(asked)) later(more);
  }

  function speak(text) {
    if (!said?.isConnected) {
      said = document.createElement("div");
      said.className = "kapso-waiting__text";
      said.role = "status";
      document.body.append(said);
    }
    said.textContent = text;
  }

  function entitle() {
    const keys = new Set();
    badges.forEach((badge) => "inTitle" in badge.dataset && keys.add(badge.key));
    if (!keys.size && !shownTitle) return;
    const number = counts ? sum([...keys].flatMap((key) => known.get(key) || [])) : 0;
    // Somebody else has changed it, such as Turbo.
    if (document.title !== shownTitle)
      bare = shownTitle ? document.title.replace(PREFIX, "") : document.title;
    shownTitle = number ? `(${short(number)}) ${bare}` : bare;
    if (document.title !== shownTitle) document.title = shownTitle;
  }

  /* Show notifications, unless somebody looks at a tab of the site. */
  function tell(grown) {
    if (isVisible() && document.hasFocus()) channel.postMessage({ isSeen: true });
    else if (grown.length) telling = setTimeout(() => grown.forEach(notify), LISTENING / 2);
  }

  function notify(badge) {
    const { text, key, lang, grown: slug } = badge;
    // Those of several tabs have one tag, so the browser shows one.
    const notification = new Notification(text, { lang, tag: `${NAME} ${key}` });
    notifications.set(key, notification);
    notification.onclick = () => {
      notification.close();
      focus();
      const inbox = document.querySelector(`kapso-inbox[data-slug="${slug}"]`);
      if (inbox) inbox.querySelector("[popover]:not(:popover-open)")?.showPopover();
      else open(`${address}../${slug}/`, NAME + slug);
    };
  }

  function look() {
    join();
    if (!isVisible()) return later();
    notifications.forEach((one) => one.close());
    soon();
  }

  addEventListener("pagehide", end);
  addEventListener("pageshow", ({ persisted }) => persisted && badges.size && begin());
  addEventListener("online", soon);
  addEventListener("storage", ({ key }) => key === SWITCH && look());
  document.addEventListener("visibilitychange", look);

  customElements.define("kapso-waiting", KapsoWaiting);
})();
