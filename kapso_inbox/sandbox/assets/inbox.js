"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const texts = data.texts;
  const find = (id) => document.querySelector(`[data-testid="${id}"]`);
  const state = { ...data.filters, selected: null };
  let conversations = data.conversations;
  let version = data.version;
  const numbers = new Map(data.numbers.map((number) => [number.id, number]));
  const rows = find("conversations");
  const wide = matchMedia("(min-width: 641px)");

  const format = (options) => new Intl.DateTimeFormat(root.lang, options);
  const clock = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const weekday = format({ weekday: "short" });
  const shortDate = format({ day: "numeric", month: "short" });
  const longDate = format({ weekday: "long", day: "numeric", month: "long" });

  const say = (key, values = {}) =>
    texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

  function element(tag, properties = {}, ...children) {
    const { dataset, attributes, ...own } = properties;
    const made = Object.assign(document.createElement(tag), own);
    Object.assign(made.dataset, dataset);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children.filter((child) => child));
    return made;
  }

  function icon(name, label) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#i-${name}`);
    svg.append(use);
    svg.setAttribute("class", `icon ${name}`);
    if (label) {
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", label);
    } else {
      svg.setAttribute("aria-hidden", "true");
    }
    return svg;
  }

  const daysAgo = (moment) => {
    const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
    return Math.round((midnight(new Date()) - midnight(moment)) / 86400000);
  };

  function when(iso) {
    const moment = new Date(iso);
    const minutes = Math.floor((Date.now() - moment) / 60000);
    if (minutes < 1) return say("now");
    if (minutes < 60) return say("minutes", { n: minutes });
    const days = daysAgo(moment);
    if (days === 0) return clock.format(moment);
    if (days === 1) return say("yesterday");
    return (days < 7 ? weekday : shortDate).format(moment);
  }

  function day(moment) {
    const days = daysAgo(moment);
    if (days < 2) return say(days === 1 ? "yesterday" : "today");
    return longDate.format(moment);
  }

  function prettyPhone(phone) {
    const known = [
      [/^\+1(\d{3})(\d{3})(\d{4})$/, "+1 $1 $2 $3"],
      [/^\+34(\d{3})(\d{3})(\d{3})$/, "+34 $1 $2 $3"],
      [/^\+44(\d{4})(\d{6})$/, "+44 $1 $2"],
      [/^\+(52|55)(\d{2})(\d+)(\d{4})$/, "+$1 $2 $3 $4"],
    ];
    const rule = known.find(([pattern]) => pattern.test(phone));
    return rule ? phone.replace(...rule) : phone;
  }

  /* Somebody who shows no number has a user name, or nothing but an id. */
  const whose = (conversation) =>
    conversation.phone || conversation.business_scoped_user_id || conversation.id;
  const nameOf = (conversation) => conversation.contact_name || say("no_name");
  const addressOf = (conversation) =>
    conversation.phone
      ? prettyPhone(conversation.phone)
      : conversation.username
        ? `@${conversation.username}`
        : say("no_number");

  function paintAvatar(avatar, conversation) {
    const words = nameOf(conversation).replace(/^[@+]/, "").split(/\s+/);
    const sum = [...whose(conversation)].reduce((total, digit) => total + digit.charCodeAt(0), 0);
    const letters = [words[0], ...words.slice(1).slice(-1)].map((word) => [...word][0] || "");
    avatar.textContent = letters.join("").toUpperCase();
    avatar.className = `avatar hue-${sum % 8}`;
    return avatar;
  }

  /* ---- the list ---- */

  function fits(conversation, status = state.status) {
    const wanted = state.search.trim().toLowerCase();
    const isNumber = /^[+\d\s().-]+$/.test(wanted);
    const found = isNumber
      ? (conversation.phone || "").replace(/\D/g, "").includes(wanted.replace(/\D/g, ""))
      : `${conversation.contact_name}\n${conversation.username || ""}\n${conversation.company}`.toLowerCase().includes(wanted);
    // What was just opened is read by that, and must not vanish under the reader's hand.
    const unread = conversation.unread_count > 0 || conversation.id === state.selected;
    return (
      found &&
      (status === "all" || conversation.status === status) &&
      (state.number === "all" || conversation.whatsapp_config_id === state.number) &&
      (!state.unread || unread) &&
      (!state.handoff || conversation.handoff)
    );
  }

  function snippet(message) {
    const line = element("span", { className: "snippet" });
    if (message.direction === "outbound") line.append(icon(message.status, say(message.status)));
    const kind = { image: "photo", audio: "audio", document: "document", template: "template" }[
      message.type
    ];
    if (kind) line.append(icon(kind, say(kind)));
    line.append(element("span", { textContent: message.text }));
    return line;
  }

  function row(conversation) {
    const number = numbers.get(conversation.whatsapp_config_id);
    const assigned = data.users[conversation.assigned_user_id];
    const meta = element("span", { className: "row-meta" });
    if (number && numbers.size > 1) meta.append(element("span", { textContent: number.name }));
    if (assigned) {
      const title = say("assigned_to", { name: assigned });
      meta.append(element("span", { title }, icon("person", title), assigned.split(" ")[0]));
    }
    if (conversation.handoff) {
      meta.append(element("span", { className: "tag" }, icon("handoff"), say("handoff")));
    }
    const unread = conversation.unread_count;
    const button = element(
      "button",
      {
        type: "button",
        className: unread ? "row unread" : "row",
        dataset: {
          conversation: conversation.id,
          phone: conversation.phone || "",
          status: conversation.status,
        },
        attributes: conversation.id === state.selected ? { "aria-current": "true" } : {},
      },
      paintAvatar(element("span", { attributes: { "aria-hidden": "true" } }), conversation),
      element(
        "span",
        { className: "row-top" },
        element("strong", { textContent: nameOf(conversation) }),
        element("time", {
          dateTime: conversation.last_active_at,
          textContent: when(conversation.last_active_at),
        }),
      ),
      element(
        "span",
        { className: "row-middle" },
        snippet(conversation.messages.at(-1)),
        unread &&
          element("span", {
            className: "badge",
            textContent: unread,
            attributes: { role: "img", "aria-label": say("unread_messages", { n: unread }) },
          }),
      ),
      meta,
    );
    return element("li", {}, button);
  }

  function paintList() {
    const shown = conversations.filter((conversation) => fits(conversation));
    const focused = document.activeElement?.dataset.conversation;
    rows.replaceChildren(...shown.map(row));
    rows.hidden = shown.length === 0;
    find("none").hidden = shown.length > 0;
    find("count").textContent =
      shown.length === 1 ? say("count_one") : say("count_many", { n: shown.length });
    for (const tab of document.querySelectorAll("[data-set-status]")) {
      const status = tab.dataset.setStatus;
      tab.setAttribute("aria-pressed", String(status === state.status));
      tab.lastElementChild.textContent = conversations.filter((one) => fits(one, status)).length;
    }
    for (const name of ["unread", "handoff"]) {
      find(name).setAttribute("aria-pressed", String(state[name]));
    }
    find("number").value = state.number;
    find("number").toggleAttribute("data-on", state.number !== "all");
    for (const name of ["status", "search", "number", "unread", "handoff"]) {
      root.dataset[name] = String(state[name]);
    }
    setTabStop();
    if (focused) rows.querySelector(`[data-conversation="${focused}"]`)?.focus();
    return shown;
  }

  /* One row at a time is in the tab order; the arrow keys walk among them. */
  function setTabStop(wanted) {
    const all = [...rows.querySelectorAll(".row")];
    const stop = wanted || all.find((one) => one.ariaCurrent === "true") || all[0];
    for (const one of all) one.tabIndex = one === stop ? 0 : -1;
  }

  function set(change) {
    Object.assign(state, change);
    paintList();
    rows.scrollTop = 0;
  }

  /* ---- the conversation ---- */

  const kinds = {
    text: (message) => element("p", { textContent: message.text }),
    reaction: (message) => element("p", { textContent: message.text }),
    template: (message) =>
      element(
        "div",
        {},
        element("span", { className: "kind" }, icon("template"), say("template")),
        element("p", { textContent: message.text }),
      ),
    image: (message) =>
      element(
        "div",
        {},
        element("div", { className: "picture" }, icon("photo", say("photo"))),
        element("p", { textContent: message.text }),
      ),
    audio: (message) => {
      const bars = element("span", { className: "wave", attributes: { "aria-hidden": "true" } });
      for (let bar = 0; bar < 26; bar++) {
        bars.append(element("i", { className: `h${(bar * 7 + (bar % 4) * 3) % 5}` }));
      }
      return element(
        "div",
        { className: "attachment" },
        element("span", { className: "disc" }, icon("audio", say("audio"))),
        bars,
        element("span", { className: "length", textContent: message.text }),
      );
    },
    document: (message) =>
      element(
        "div",
        { className: "attachment" },
        element("span", { className: "disc" }, icon("document")),
        element(
          "span",
          { className: "file" },
          element("strong", { textContent: message.text }),
          element("small", { textContent: `${say("document")} · PDF` }),
        ),
      ),
  };

  function bubble(message, follows) {
    const moment = new Date(message.timestamp);
    const foot = element(
      "span",
      { className: "foot" },
      element("time", { dateTime: message.timestamp, textContent: clock.format(moment) }),
      message.status && icon(message.status, say(message.status)),
    );
    return element(
      "article",
      {
        className: `bubble ${message.direction} ${message.type}${follows ? " follows" : ""}`,
        dataset: { message: message.id, status: message.status || "" },
      },
      kinds[message.type](message),
      foot,
    );
  }

  function paintMessages(conversation) {
    const log = find("messages");
    const parts = [];
    let previous = null;
    for (const message of conversation.messages) {
      const title = day(new Date(message.timestamp));
      const newDay = !previous || day(new Date(previous.timestamp)) !== title;
      if (newDay) parts.push(element("div", { className: "day" }, title));
      parts.push(bubble(message, !newDay && previous.direction === message.direction));
      previous = message;
    }
    if (conversation.status === "ended") {
      parts.push(element("div", { className: "day ended" }, say("ended_notice")));
    }
    // A short conversation stands at the bottom, next to the composer.
    log.replaceChildren(element("div", { className: "push" }), ...parts);
    log.scrollTop = log.scrollHeight;
  }

  function paintHandoff(conversation) {
    const button = find("handoff-toggle");
    const text = say(conversation.handoff ? "handed_off" : "hand_off");
    button.lastElementChild.textContent = text;
    button.title = text;
    button.setAttribute("aria-pressed", String(conversation.handoff));
  }

  const current = () => conversations.find((one) => one.id === state.selected);

  function open(conversation, { focus = true } = {}) {
    state.selected = conversation.id;
    openedByHand = focus;
    read(conversation);
    root.dataset.view = "conversation";
    find("blank").hidden = true;
    find("chat").hidden = false;
    const head = document.querySelector(".chat-head");
    const number = numbers.get(conversation.whatsapp_config_id);
    paintAvatar(head.querySelector(".avatar"), conversation);
    head.querySelector("h2").textContent = nameOf(conversation);
    const parts = [
      element("span", { textContent: addressOf(conversation) }),
      conversation.company && element("span", { className: "wide-only", textContent: conversation.company }),
      number && element("span", { className: "via", textContent: number.name }),
    ];
    head.querySelector(".contact p").replaceChildren(...parts.filter((part) => part));
    find("message").value = "";
    paintHandoff(conversation);
    paintMessages(conversation);
    paintList();
    if (!focus) return;
    // On a small screen the keyboard would cover what was opened.
    if (wide.matches) find("message").focus();
    else head.querySelector("h2").focus();
  }

  function close() {
    const id = state.selected;
    state.selected = null;
    root.dataset.view = "list";
    find("blank").hidden = false;
    find("chat").hidden = true;
    paintList();
    (rows.querySelector(`[data-conversation="${id}"]`) || find("search")).focus();
  }

  /* ---- what happens ---- */

  const address = `${location.pathname.replace(/\/$/, "")}/conversations`;
  let posting = 0;
  // What the page opened by itself, for one person's number, nobody has read yet.
  let openedByHand = false;

  /* Show what the sandbox knows now. What is open stays open, and what is being written stays. */
  function adopt(told) {
    const before = current();
    const messages = before && JSON.stringify(before.messages) + before.status;
    ({ version, conversations } = told);
    const conversation = current();
    if (conversation) {
      read(conversation);
      paintHandoff(conversation);
      if (JSON.stringify(conversation.messages) + conversation.status !== messages) {
        paintMessages(conversation);
      }
    }
    paintList();
  }

  async function post(event, conversation, text = "") {
    posting += 1;
    let answer;
    try {
      answer = await fetch(address, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ event, conversation: conversation?.id, text }),
      });
    } finally {
      posting -= 1;
    }
    if (!answer.ok) throw new Error(answer.status);
    const told = await answer.json();
    // Another event may still be on its way, and its answer knows more.
    if (!posting) adopt(told);
  }

  /* The sandbox may have been stopped: then the page stays as it is. */
  const tell = (...event) => post(...event).catch(() => {});

  function read(conversation) {
    if (openedByHand && conversation.unread_count && document.visibilityState === "visible") {
      conversation.unread_count = 0;
      tell("agent_reads", conversation);
    }
  }

  async function poll() {
    try {
      if (!posting && document.visibilityState === "visible") {
        const answer = await fetch(`${address}?version=${version}`);
        if (answer.status === 200 && !posting) adopt(await answer.json());
      }
    } catch {
      // It is asked again.
    }
    setTimeout(poll, 1000);
  }

  async function send(text) {
    const conversation = current();
    const message = {
      id: `local-${Date.now()}`,
      direction: "outbound",
      type: "text",
      text,
      status: "sending",
      timestamp: new Date().toISOString(),
    };
    conversation.messages.push(message);
    conversation.last_active_at = message.timestamp;
    conversation.status = "active";
    conversations.splice(conversations.indexOf(conversation), 1);
    conversations.unshift(conversation);
    const repaint = () => {
      if (state.selected === conversation.id) paintMessages(conversation);
      paintList();
    };
    repaint();
    try {
      await post("agent_writes", conversation, text);
    } catch {
      message.status = "failed";
      repaint();
    }
  }

  /* ---- the theme ---- */

  const themes = ["system", "light", "dark"];

  function paintTheme() {
    const label = say(`theme_${root.dataset.theme}`);
    const button = find("theme");
    button.replaceChildren(icon(root.dataset.theme));
    button.setAttribute("aria-label", label);
    button.title = label;
  }

  function nextTheme() {
    root.dataset.theme = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
    try {
      localStorage.setItem("kapso-theme", root.dataset.theme);
    } catch {
      // Storage is blocked: the choice holds until the page is left.
    }
    paintTheme();
  }

  /* ---- hands ---- */

  find("theme").addEventListener("click", nextTheme);
  find("search").addEventListener("input", (event) => set({ search: event.target.value }));
  find("clear").addEventListener("click", () => {
    find("search").value = "";
    set({ status: "all", search: "", number: "all", unread: false, handoff: false });
    find("search").focus();
  });
  for (const tab of document.querySelectorAll("[data-set-status]")) {
    tab.addEventListener("click", () => set({ status: tab.dataset.setStatus }));
  }
  for (const name of ["unread", "handoff"]) {
    find(name).addEventListener("click", () => set({ [name]: !state[name] }));
  }
  find("number").append(
    element("option", { value: "all", textContent: say("all_numbers") }),
    ...data.numbers.map((number) =>
      element("option", { value: number.id, textContent: `${number.name} · ${number.phone}` }),
    ),
  );
  find("number").hidden = data.numbers.length < 2;
  find("number").addEventListener("change", (event) => set({ number: event.target.value }));

  rows.addEventListener("click", (event) => {
    const id = event.target.closest("[data-conversation]")?.dataset.conversation;
    if (id) open(conversations.find((one) => one.id === id));
  });
  rows.addEventListener("keydown", (event) => {
    const all = [...rows.querySelectorAll(".row")];
    const at = all.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    setTabStop(all[to]);
    all[to].focus();
  });
  find("back").addEventListener("click", close);
  find("handoff-toggle").addEventListener("click", () => {
    const conversation = current();
    conversation.handoff = !conversation.handoff;
    paintHandoff(conversation);
    paintList();
    tell(conversation.handoff ? "hand_off" : "end_handoff", conversation);
  });
  find("somebody-writes").addEventListener("click", () => tell("somebody_writes"));
  find("customer-writes").addEventListener("click", () => tell("customer_writes", current()));
  // No form: a host may frame the inbox without "allow-forms".
  function sendWritten() {
    const box = find("message");
    const text = box.value.trim();
    if (text) send(text);
    box.value = "";
    box.focus();
  }
  find("send").addEventListener("click", sendWritten);
  find("message").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendWritten();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.selected) close();
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      find("search").focus();
    }
  });

  paintTheme();
  const shown = paintList();
  // A CRM that opens the inbox at one person's number wants that person's conversation.
  const asked = data.conversations.find((one) => one.id === data.conversation);
  if (asked) open(asked, { focus: false });
  const onePerson = !asked && new Set(shown.map(whose)).size === 1;
  if (onePerson && state.search && wide.matches) open(shown[0], { focus: false });
  setTimeout(poll, 1000);
})();
