/* What the inbox in a page does beyond plain HTML. Without this script it still shows. */
(() => {
  "use strict";
  // A fragment that is swapped into the page brings this script again.
  if (customElements.get("kapso-inbox")) return;

  const SLOW = 8000; // Milliseconds until we say that loading takes long.
  const SETTLED = 100; // Milliseconds without a change until we follow a new theme.

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
      this.panel = this.querySelector(".kapso-inbox__panel");
      // By element and not by id: a fragment that came later may have brought the same id.
      this.querySelectorAll("[popovertarget]").forEach((button) => {
        button.popoverTargetElement = this.panel;
      });
      // A frame that was moved within the page starts again, except after moveBefore().
      this.shown = withParams(this.dataset.launch || this.frame.src, []);
      this.left = new AbortController();
      const { signal } = this.left;
      this.frame.addEventListener("load", () => this.read(), { signal });
      this.addEventListener("click", (event) => this.follow(event), { signal });
      document.addEventListener("visibilitychange", () => this.comeBack(), { signal });
      this.watchPanel(signal);
      this.watchPolicy(signal);
      this.mark(this.shown);
      if (this.frame.loading === "lazy") this.waitUntilSeen(signal);
      else this.wait();
      this.read();
      this.watchTheme(signal);
    }

    // If this exists, Element.moveBefore() keeps the frame alive and calls no other callback.
    connectedMoveCallback() {}

    disconnectedCallback() {
      clearTimeout(this.timer);
      this.left?.abort();
    }

    get state() {
      return this.dataset.state;
    }

    tell(state, text = "") {
      clearTimeout(this.timer);
      this.dataset.state = state;
      this.querySelector(".kapso-inbox__said").textContent = text;
    }

    textOf(part) {
      return this.querySelector(`.kapso-inbox__${part}`)?.textContent.trim();
    }

    // ------------------------------------------------------------- loading

    waitUntilSeen(signal) {
      this.tell("idle");
      const observer = new IntersectionObserver((entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        if (this.state === "idle") this.wait();
      });
      observer.observe(this.frame);
      signal.addEventListener("abort", () => observer.disconnect());
    }

    wait() {
      this.tell("loading");
      this.timer = setTimeout(() => this.tellSlow(), SLOW);
    }

    tellSlow() {
      this.tell("slow", this.textOf("slow"));
    }

    /* Read what the frame shows. Only our own pages can be read: the inbox has another origin. */
    read() {
      const page = this.frame.contentDocument;
      const isEmpty = page && (page.URL === "about:blank" || page.readyState !== "complete");
      if (isEmpty || this.state === "blocked") return;
      const message = page?.querySelector("main[data-outcome]");
      // The browser's own error page looks like the inbox from here.
      if (!message) return navigator.onLine ? this.tell("ready") : this.tellSlow();
      const texts = [...message.querySelectorAll("h1, p")].map((one) => one.textContent.trim());
      this.tell(message.dataset.outcome, texts.join(" "));
    }

    go(address) {
      this.mark(address);
      if (this.state === "idle") {
        this.frame.src = address;
      } else {
        // Setting src instead would add an entry to the history.
        this.frame.contentWindow.location.replace(address);
        this.wait();
      }
    }

    mark(address) {
      this.shown = address;
      this.querySelectorAll("[data-view]").forEach((link) =>
        link.href === address
          ? link.setAttribute("aria-current", "true")
          : link.removeAttribute("aria-current")
      );
      this.querySelectorAll("[data-retry]").forEach((link) => (link.href = address));
      // The settings lead back to what was shown, in the page's theme.
      this.querySelectorAll("[data-settings]").forEach((link) => {
        link.search = new URL(address).search;
      });
    }

    follow(event) {
      const link = event.target.closest("a");
      if (!link || link.target !== this.frame.name || !isPlain(event)) return;
      if (link.matches("[data-view]")) this.mark(link.href);
      // The link will be hidden, so the focus must not stay on it.
      if (link.matches("[data-retry]")) this.frame.focus();
      event.preventDefault();
      if (this.state === "idle") this.frame.src = link.href;
      else this.frame.contentWindow.location.href = link.href;
      this.wait();
    }

    /* Show the inbox to somebody who has signed in again in another tab. */
    comeBack() {
      if (document.visibilityState === "visible" && this.state === "signed_out") {
        this.go(this.shown);
      }
    }

    // ------------------------------------------------------------- policy

    watchPolicy(signal) {
      // A policy that only reports does not block the frame.
      const judge = ({ disposition, effectiveDirective, blockedURL, blockedURI }) => {
        if (disposition !== "enforce" || effectiveDirective !== "frame-src") return;
        if (this.isOurs(blockedURL || blockedURI)) this.tell("blocked", this.textOf("blocked"));
      };
      if (window.ReportingObserver) {
        // Buffered, because the frame may be refused before this script runs.
        const observer = new ReportingObserver((reports) => reports.forEach((r) => judge(r.body)), {
          types: ["csp-violation"],
          buffered: true,
        });
        observer.observe();
        signal.addEventListener("abort", () => observer.disconnect());
      } else {
        document.addEventListener("securitypolicyviolation", judge, { signal });
      }
    }

    /* For a blocked address of another origin, Chromium reports the origin alone. */
    isOurs(address) {
      const [url, shown] = [address, this.shown].map((one) => one.split("?")[0]);
      const origins = this.frame.allow.split(/[ ;]/);
      return url === shown || origins.some((origin) => `${url}/`.startsWith(`${origin}/`));
    }

    // ------------------------------------------------------------- theme

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

    /* A value that names no theme changes nothing, but a class without "dark" means light. */
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
      else this.go(withParams(this.shown, params));
    }

    // ------------------------------------------------------------- opened and closed

    /* Do for a manual popover what browsers do for an auto one: Escape, and the focus goes back. */
    watchPanel(signal) {
      const { panel } = this;
      if (panel.popover !== "manual") return;
      const listen = (type, act) => panel.addEventListener(type, act, { signal });
      // If it was opened before this script ran, its button opened it.
      let before = this.querySelector(".kapso-inbox__button");
      listen("keydown", ({ key }) => key === "Escape" && panel.hidePopover());
      listen("beforetoggle", ({ newState }) => {
        if (newState === "open") before = document.activeElement;
        else if (panel.contains(document.activeElement)) before?.focus();
      });
    }

    open(link) {
      const params = [...new URL(link.href).searchParams];
      const address = withParams(this.dataset.launch, [["unread"], ["handoff"], ...params]);
      if (address !== this.shown) this.go(address);
      if (!this.panel.matches(":popover-open")) this.panel.showPopover({ source: link });
    }
  }

  customElements.define("kapso-inbox", KapsoInbox);

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
