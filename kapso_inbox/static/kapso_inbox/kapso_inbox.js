/* What HTML alone cannot do. */
(() => {
  // A fragment brings it again.
  if (customElements.get("kapso-inbox")) return;

  const SLOW = 8000; // ms
  const SETTLED = 100;

  const isPlain = (event) =>
    !(event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey);

  function withParams(address, params) {
    const url = new URL(address, document.baseURI);
    params.forEach((value, name) => url.searchParams.set(name, value));
    return url.href;
  }

  class KapsoInbox extends HTMLElement {
    connectedCallback() {
      this.frame = this.querySelector("iframe");
      if (!this.frame) return;
      this.place = this.frame.parentNode;
      this.panel = this.querySelector(".kapso-inbox__panel");
      // A later fragment may have brought the same id.
      this.querySelectorAll("[popovertarget]").forEach((button) => {
        button.popoverTargetElement = this.panel;
      });
      // An eager frame is one of ours, moved or copied.
      const isOwn = this.frame.loading === "eager";
      this.mark(withParams((!isOwn && this.dataset.launch) || this.frame.src, []));
      this.left = new AbortController();
      this.listen(this, "click", (event) => this.follow(event));
      this.listen(document, "visibilitychange", () => this.comeBack());
      this.listen(window, "online", () => this.comeBack());
      // Ask again in a page that the browser kept for Back.
      this.listen(window, "pagehide", () => this.frame.remove());
      this.listen(window, "pageshow", (event) => event.persisted && this.load());
      this.watchPanel();
      // With direct delivery, a page of the history holds an old address.
      const [visit] = performance.getEntriesByType("navigation");
      if (isOwn) this.start();
      else this.load(visit?.type === "back_forward" ? this.shown : this.frame.src);
      // Last, since a wrong selector throws.
      this.watchTheme();
    }

    listen(target, type, act) {
      target.addEventListener(type, act, { signal: this.left.signal });
    }

    // With this, Element.moveBefore() keeps the frame alive.
    connectedMoveCallback() {}

    disconnectedCallback() {
      clearTimeout(this.timer);
      this.left?.abort();
      this.themes?.disconnect();
    }

    /* Without a text, a notice of the component says it. */
    tell(state, text = "") {
      clearTimeout(this.timer);
      this.dataset.state = state;
      this.querySelectorAll("[data-notice]").forEach((notice) => {
        notice.hidden = notice.dataset.notice !== state || text;
        if (!notice.hidden) text = notice.textContent.trim();
      });
      this.querySelector(".kapso-inbox__said").textContent = text;
      if (state === "saved") this.timer = setTimeout(() => this.tell((this.asked = "ready")), SLOW);
    }

    /* Browsers give a frame of the same name its last, secret address back, and record each further
       one in the history. */
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
      this.asked = "ready";
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
      // History led from our page to the secret address.
      else if (!this.asked) return this.load();
      const message = page?.querySelector("main[data-outcome]");
      if (message) this.tell(message.dataset.outcome, message.innerText);
      else if (page && !page.querySelector("[data-kapso-inbox]")) this.tell("failed");
      else this.tell(page || navigator.onLine ? this.asked || "ready" : "offline");
      if (!page && this.dataset.reach) this.reach(this.frame);
    }

    /* The browser's own error page looks like the inbox: reach.js asks the inbox's host. */
    reach(shown) {
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.src = this.dataset.reach;
      frame.onerror = () => this.frame === shown && this.tell("unreachable");
      document.body.append(frame);
    }

    /* Let a link in our page add no entry to the history. */
    watchPage(page) {
      this.asked = "";
      page.onsubmit = ({ target }) => (this.asked = target.dataset.done || "ready");
      page.onclick = (event) => {
        const link = event.target.closest("a");
        if (!link || link.target || !isPlain(event)) return;
        event.preventDefault();
        this.load(this.mark(link.href));
      };
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
      if (link.matches("[data-view]")) {
        this.mark(link.href);
        // The address of the whole page tells what it shows.
        if (link.pathname === `${location.pathname}launch/`)
          history.replaceState(history.state, "", link.search);
      }
      // The link will be hidden.
      if (link.matches("[data-retry]")) this.frame.focus();
      this.load(link.href);
    }

    comeBack() {
      const isClosed = /signed_out|not_admitted|failed|offline|unreach/.test(this.dataset.state);
      if (document.visibilityState === "visible" && isClosed) this.load();
    }

    /* Of another origin's blocked address, Chromium tells the origin alone. */
    leadsTo(address) {
      const origin = address.split("/", 3).join("/");
      const isLaunch = address.split("?")[0] === this.shown.split("?")[0];
      return isLaunch || this.frame.allow.split(/[ ;]/).includes(origin);
    }

    watchTheme() {
      const [, selector, attribute] =
        /^(.+)\[([^[\]]+)\]$/.exec(this.dataset.kapsoThemeSource || "") || [];
      const source = selector && document.querySelector(selector);
      if (!source || !this.dataset.launch) return;
      const take = () => {
        if (this.isConnected) this.setTheme(attribute, source.getAttribute(attribute));
      };
      let timer;
      this.themes = new MutationObserver(() => {
        clearTimeout(timer);
        timer = setTimeout(take, SETTLED);
      });
      this.themes.observe(source, { attributeFilter: [attribute] });
      take();
    }

    /* A value may name no theme, but a class without "dark" means light. */
    setTheme(attribute, value) {
      const [word = attribute === "class" && "light"] =
        /(?<!\S)(dark|light|system|auto)(?!\S)/i.exec(value) || [];
      if (!word) return;
      const mode = word.toLowerCase().replace("auto", "system");
      const params = new Map([["mode", mode]]);
      const before = this.shown;
      this.dataset.launch = withParams(this.dataset.launch, params);
      this.querySelectorAll("[data-view]").forEach((link) => {
        link.href = withParams(link.href, params);
      });
      this.mark(withParams(before, params));
      if (this.shown !== before) this.load();
    }

    /* Do for a manual popover what an auto one does. */
    watchPanel() {
      const { panel } = this;
      if (panel.popover !== "manual") return;
      // Its button, if it is open already.
      let before = this.querySelector(".kapso-inbox__button");
      this.listen(panel, "keydown", ({ key }) => key === "Escape" && panel.hidePopover());
      this.listen(panel, "beforetoggle", ({ newState }) => {
        const focused = document.activeElement;
        if (newState === "open") before = focused;
        else if (panel.contains(focused)) before?.focus();
      });
    }

    open(link) {
      const address = withParams(this.dataset.launch, new URL(link.href).searchParams);
      if (address !== this.shown) this.load(this.mark(address));
      this.panel.togglePopover({ force: true, source: link });
    }
  }

  customElements.define("kapso-inbox", KapsoInbox);

  function judge(state, { disposition, blockedURI, blockedURL = blockedURI }) {
    if (disposition !== "enforce") return;
    document.querySelectorAll("kapso-inbox").forEach((inbox) => {
      if (inbox.frame && inbox.leadsTo(blockedURL)) inbox.tell(state);
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
