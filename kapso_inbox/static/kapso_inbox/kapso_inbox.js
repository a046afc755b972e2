/* What HTML alone cannot do. */
(() => {
  "use strict";
  // A fragment brings it again.
  if (customElements.get("kapso-inbox")) return;

  const SLOW = 8000; // ms
  const SETTLED = 100; // ms

  const isPlain = (event) =>
    !(event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey);

  function withParams(address, params) {
    const url = new URL(address, document.baseURI);
    params.forEach(([name, value]) =>
      value ? url.searchParams.set(name, value) : url.searchParams.delete(name)
    );
    return url.href;
  }

  class KapsoInbox extends HTMLElement {
    connectedCallback() {
      this.frame = this.querySelector("iframe");
      if (!this.frame) return;
      this.place = this.frame.parentNode;
      this.panel = this.querySelector(".kapso-inbox__panel");
      // A fragment that came later may have brought the same id.
      this.querySelectorAll("[popovertarget]").forEach((button) => {
        button.popoverTargetElement = this.panel;
      });
      // An eager frame is one of ours, moved or copied.
      const isOwn = this.frame.loading === "eager";
      this.mark(withParams((!isOwn && this.dataset.launch) || this.frame.src, []));
      this.left = new AbortController();
      const { signal } = this.left;
      this.addEventListener("click", (event) => this.follow(event), { signal });
      const comeBack = () => this.comeBack();
      document.addEventListener("visibilitychange", comeBack, { signal });
      addEventListener("online", comeBack, { signal });
      // Ask again in a page that the browser kept for Back.
      addEventListener("pagehide", () => this.frame.remove(), { signal });
      addEventListener("pageshow", (event) => event.persisted && this.load(), { signal });
      this.watchPanel(signal);
      // With direct delivery, a page of the history holds an old address.
      const [visit] = performance.getEntriesByType("navigation");
      if (isOwn) this.start();
      else this.load(visit?.type === "back_forward" ? this.shown : this.frame.src);
      this.watchTheme(signal);
    }

    // With this, Element.moveBefore() keeps the frame alive.
    connectedMoveCallback() {}

    disconnectedCallback() {
      clearTimeout(this.timer);
      this.left?.abort();
    }

    /* Without a text, a notice of the component says it. */
    tell(state, text) {
      clearTimeout(this.timer);
      this.dataset.state = state;
      this.querySelectorAll("[data-notice]").forEach((notice) => {
        notice.hidden = notice.dataset.notice !== state || text;
        if (!notice.hidden) text = notice.textContent.trim();
      });
      this.querySelector(".kapso-inbox__said").textContent = text || "";
    }

    /* To a frame whose name it knows, a browser restores its last address, the secret one; and each
       further address of a frame is an entry in the history. */
    load(address = this.shown) {
      const hadFocus = document.activeElement === this.frame;
      const frame = this.frame.cloneNode();
      frame.name = `kapso-inbox-${Math.random()}`;
      frame.src = address;
      if (!("lazy" in this.dataset)) frame.loading = "eager";
      this.frame.remove();
      this.place.append(frame);
      this.frame = frame;
      if (hadFocus) frame.focus();
      this.start();
    }

    start() {
      this.isAsked = true;
      this.frame.onload = () => this.read();
      if (this.frame.loading === "lazy") this.waitUntilSeen();
      else this.wait();
    }

    waitUntilSeen() {
      this.tell("idle");
      new IntersectionObserver((entries, observer) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        if (this.dataset.state === "idle") this.wait();
      }).observe(this.frame);
    }

    wait() {
      this.tell("loading");
      this.timer = setTimeout(() => this.tell(navigator.onLine ? "slow" : "offline"), SLOW);
    }

    /* Only a page of this site can be read. */
    read() {
      const page = this.frame.contentDocument;
      if (page?.URL === "about:blank" || /blocked|isolated/.test(this.dataset.state)) return;
      if (page) this.watchPage(page);
      // History led from a page of ours to the secret address.
      else if (!this.isAsked) return this.load();
      const message = page?.querySelector("main[data-outcome]");
      if (message) this.tell(message.dataset.outcome, message.innerText);
      // Perhaps a middleware answered in our place.
      else if (page && !page.querySelector("[data-kapso-inbox]")) this.tell("failed");
      // The browser's own error page looks like the inbox.
      else this.tell(page || navigator.onLine ? "ready" : "offline");
    }

    /* Let a link in a page of ours add no entry to the history. */
    watchPage(page) {
      this.isAsked = false;
      page.addEventListener("submit", () => (this.isAsked = true));
      page.addEventListener("click", (event) => {
        const link = event.target.closest("a");
        if (!link || link.target || !isPlain(event)) return;
        event.preventDefault();
        this.load(link.href);
      });
    }

    mark(address) {
      this.shown = address;
      this.querySelectorAll("[data-view]").forEach((link) => {
        link.ariaCurrent = link.href === address ? "true" : null;
      });
      // The settings lead back to what was shown.
      this.querySelectorAll("[data-retry], [data-settings]").forEach((link) => {
        link.search = new URL(address).search;
      });
      return address;
    }

    follow(event) {
      const link = event.target.closest("a[target]:not([target^=_])");
      if (!link || !isPlain(event)) return;
      event.preventDefault();
      if (link.matches("[data-view]")) this.mark(link.href);
      // The link will be hidden.
      if (link.matches("[data-retry]")) this.frame.focus();
      this.load(link.href);
    }

    comeBack() {
      const isClosed = /signed_out|not_admitted|failed|offline/.test(this.dataset.state);
      if (document.visibilityState === "visible" && isClosed) this.load();
    }

    /* Of a blocked address of another origin, Chromium tells the origin alone. */
    isOurs(address) {
      const [url, shown] = [address, this.shown].map((one) => one.split("?")[0]);
      const origins = this.frame.allow.split(/[ ;]/);
      return url === shown || origins.some((origin) => `${url}/`.startsWith(`${origin}/`));
    }

    watchTheme(signal) {
      const [, selector, attribute] =
        /^(.+)\[([^[\]]+)\]$/.exec(this.dataset.kapsoThemeSource || "") || [];
      let source;
      try {
        source = selector && document.querySelector(selector);
      } catch (error) {
        console.warn("kapso-inbox: not a valid selector:", selector);
      }
      if (!source || !this.dataset.launch) return;
      const take = () => this.setTheme(attribute, source.getAttribute(attribute));
      let timer;
      const observer = new MutationObserver(() => {
        clearTimeout(timer);
        timer = setTimeout(take, SETTLED);
      });
      observer.observe(source, { attributes: true, attributeFilter: [attribute] });
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        observer.disconnect();
      });
      take();
    }

    /* A value may name no theme, but a class without "dark" means light. */
    setTheme(attribute, value) {
      const words = (value || "").toLowerCase().replace("auto", "system").split(/\s+/);
      const mode =
        ["dark", "light", "system"].find((word) => words.includes(word)) ||
        (attribute === "class" && "light");
      if (!mode) return;
      const params = [["mode", mode]];
      const isShown = new URL(this.shown).searchParams.get("mode") === mode;
      this.dataset.launch = withParams(this.dataset.launch, params);
      this.querySelectorAll("[data-view]").forEach((link) => {
        link.href = withParams(link.href, params);
      });
      if (isShown) this.mark(this.shown);
      else this.load(this.mark(withParams(this.shown, params)));
    }

    /* Do for a manual popover what browsers do for an auto one. */
    watchPanel(signal) {
      const { panel } = this;
      if (panel.popover !== "manual") return;
      const listen = (type, act) => panel.addEventListener(type, act, { signal });
      // If it is open already, its button opened it.
      let before = this.querySelector(".kapso-inbox__button");
      listen("keydown", ({ key }) => key === "Escape" && panel.hidePopover());
      listen("beforetoggle", ({ newState }) => {
        const focused = document.activeElement;
        if (newState === "open") before = focused;
        else if (panel.contains(focused)) before?.focus();
      });
    }

    open(link) {
      const params = [...new URL(link.href).searchParams];
      const address = withParams(this.dataset.launch, [["unread"], ["handoff"], ...params]);
      if (address !== this.shown) this.load(this.mark(address));
      if (!this.panel.matches(":popover-open")) this.panel.showPopover({ source: link });
    }
  }

  customElements.define("kapso-inbox", KapsoInbox);

  function judge(state, { disposition, blockedURI, blockedURL = blockedURI }) {
    // A policy that only reports does not block the frame.
    if (disposition !== "enforce") return;
    document.querySelectorAll("kapso-inbox").forEach((inbox) => {
      if (inbox.frame && inbox.isOurs(blockedURL)) inbox.tell(state);
    });
  }

  document.addEventListener("securitypolicyviolation", (event) => {
    if (event.effectiveDirective === "frame-src") judge("blocked", event);
  });
  // Chromium alone tells what an embedder policy blocks.
  if (self.ReportingObserver) {
    new ReportingObserver(
      (reports) => reports.forEach(({ body }) => judge("isolated", body.toJSON())),
      { types: ["coep"] }
    ).observe();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-kapso-inbox-open]");
    if (!link || !isPlain(event)) return;
    const inbox = [...document.querySelectorAll("kapso-inbox[data-launch]")].find(
      (one) => one.dataset.slug === link.dataset.kapsoInboxOpen && one.panel?.popover
    );
    if (!inbox) return;
    event.preventDefault();
    inbox.open(link);
  });
})();
