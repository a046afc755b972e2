/* What our pages in the admin do beyond plain HTML. Every page works without it. */
(() => {
  "use strict";

  const ENOUGH = 20; // How many choices end a search.
  const ROUNDS = 3; // How many pages a search that finds little reads by itself: each costs requests.
  const PAUSE = 200; // Milliseconds without a key after which a search begins.

  function make(tag, className, properties) {
    return Object.assign(document.createElement(tag), { className }, properties);
  }

  // A class as well, because a theme's rule for `display` is stronger than the attribute.
  function show(element, visible) {
    element.classList.add("kapso-hideable");
    element.hidden = !visible;
  }

  // select2, which django-jazzmin puts on every select, reports a change only through jQuery.
  function onChange(element, handler) {
    element.addEventListener("change", handler);
    if (window.jQuery) window.jQuery(element).on("change", handler);
  }

  // One live region for all: a region that is made or shown together with its text is often not read.
  const live = make("div", "kapso-unseen");
  live.setAttribute("role", "status");
  function announce(text) {
    live.textContent = text;
  }

  // ---------------------------------------------------------------- picking from Kapso's lists

  /* An ARIA 1.2 combobox. The label, the help text and the errors belong to the input they were
   * written for, which becomes the search; a hidden one takes over its name. Without a pick, the
   * typed text is sent: a pasted id works, and the form explains why it refuses any other text,
   * which would otherwise be lost here. */
  function picker(input) {
    const data = input.dataset;
    const form = input.form;
    const texts = JSON.parse(data.kapsoTexts);
    const root = make("div", "kapso-picker");
    const popup = make("div", "kapso-picker__popup");
    const list = make("ul", "kapso-picker__list", { id: `${input.id}_list` });
    const note = make("p", "kapso-picker__note");
    const foot = make("div", "kapso-picker__foot");
    const id = make("code", "kapso-picker__id", { id: `${input.id}_picked` });
    const error = make("p", "kapso-picker__error", { id: `${input.id}_wrong` });
    const sent = make("input", "", { type: "hidden", name: input.name, value: input.value });
    const clear = button(texts.clear, () => {
      choose(null);
      close();
    });
    const refresh = button(texts.refresh, () => search(true));
    const toggle = button("", () => setByHand(!byHand));

    let picked = null; // {id, text}
    let byHand = true; // As the server rendered it: an id in a plain input.
    let options = []; // The choices shown, in the order of the list's items.
    let active = -1;
    let next = null; // The next page to read.
    let fresh = false; // Whether Kapso is asked for this list again, bypassing the cache.
    let hurried = false; // Whether Enter or Tab was pressed before the search had its answer.
    let left = false; // Whether the focus has gone elsewhere since.
    let timer;
    let request;

    input.removeAttribute("name");
    input.autocomplete = "off";
    input.spellcheck = false;
    input.classList.add("kapso-picker__input");
    list.setAttribute("role", "listbox");
    const label = input.labels[0];
    error.setAttribute("role", "alert");
    const described = input.getAttribute("aria-describedby");
    const help = document.getElementById(`${input.id}_helptext`);
    input.setAttribute("aria-describedby", [id.id, error.id, described].filter(Boolean).join(" "));
    input.replaceWith(root);
    foot.append(id, clear, refresh, toggle);
    popup.append(list, note);
    root.append(input, sent, popup, foot, error);
    const row = rowOf(root, sent.name);

    function button(text, act) {
      const made = make("button", "kapso-picker__button", { type: "button", textContent: text });
      made.addEventListener("click", () => {
        act();
        input.focus();
      });
      return made;
    }

    function valueOf(name, otherwise) {
      const control = name && form.elements.namedItem(name);
      return control ? control.value : otherwise || "";
    }
    const kind = () => valueOf(data.kapsoKindFrom, data.kapsoKind);
    const project = () => valueOf(data.kapsoProjectFrom, data.kapsoProject) || "default";
    const isNeeded = () => !["", "project"].includes(kind());
    const isOpen = () => !popup.hidden;
    const asked = () => (picked && input.value === picked.text ? "" : input.value.trim());
    const isSearching = () => Boolean(timer || request);
    const looksLikeAnId = () => /^(\d+|[0-9a-f-]{32,36})$/i.test(input.value.trim());
    // A name that was typed, or a part of a number, which is nothing that Kapso knows until it is
    // picked. An ID may be unknown here: the list may be that of another API key.
    const isUnpicked = () =>
      !byHand &&
      isNeeded() &&
      !picked &&
      input.value.trim() !== "" &&
      !(looksLikeAnId() && !options.length);

    function update() {
      const value = picked && !byHand ? picked.id : input.value.trim();
      sent.value = isNeeded() ? value : "";
      id.textContent = picked && !byHand ? picked.id : "";
      show(id, picked && !byHand);
      show(clear, picked && !byHand);
      show(refresh, !byHand);
      show(row, isNeeded());
      toggle.textContent = byHand ? texts.from_list : texts.by_hand;
      input.placeholder = byHand ? "" : texts[`search_${kind()}`] || "";
      // Only the scope's own field has labels by kind, and only that one is required.
      const named = texts[`label_${kind()}`];
      if (named && label) {
        if (label.textContent !== `${named}:`) label.textContent = `${named}:`;
        label.classList.add("required");
        input.setAttribute("aria-required", "true");
      }
      list.setAttribute("aria-label", label?.textContent || input.placeholder);
      if (help && data.kapsoKindFrom) {
        // The text of the server is for a form without a script, which has the field for all scopes.
        (help.firstElementChild || help).textContent = texts.id_help;
        show(help, byHand);
      }
    }

    function choose(choice) {
      picked = choice;
      input.value = choice ? choice.text : "";
      complain("");
      update();
    }

    function setByHand(on) {
      const known = picked;
      close();
      byHand = on;
      complain("");
      if (on) {
        ["role", "aria-expanded", "aria-controls", "aria-autocomplete"].forEach((name) =>
          input.removeAttribute(name)
        );
        if (known) input.value = known.id;
      } else {
        input.setAttribute("role", "combobox");
        input.setAttribute("aria-autocomplete", "list");
        input.setAttribute("aria-controls", list.id);
        input.setAttribute("aria-expanded", "false");
        picked = known && known.id === input.value.trim() ? known : null;
        if (picked) input.value = picked.text;
      }
      update();
    }

    function complain(text) {
      // Screen readers read an alert again each time it is written, so at every key.
      // The server may have said the same, above.
      const isSaid = [...row.querySelectorAll(".errorlist li")].some((one) => one.textContent === text);
      const told = isSaid ? "" : text;
      if (error.textContent !== told) error.textContent = told;
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }

    function open(yes) {
      show(popup, yes);
      if (!byHand) input.setAttribute("aria-expanded", String(yes));
    }

    function stop() {
      clearTimeout(timer);
      if (request) request.abort();
      timer = request = null;
    }

    function close() {
      stop();
      hurried = false;
      activate(-1);
      open(false);
      if (picked && !byHand) input.value = picked.text;
      update();
    }

    function search(anew) {
      stop();
      fresh = anew === true;
      options = [];
      list.replaceChildren();
      activate(-1);
      return load(1);
    }

    async function load(page) {
      stop();
      const mine = (request = new AbortController());
      const before = options.length;
      open(true);
      tell(texts.loading);
      next = page;
      try {
        for (let round = 0; next && options.length - before < ENOUGH && round < ROUNDS; round++) {
          if (round) tell(texts.searching_on);
          const answer = await ask(next, mine.signal);
          add(answer.choices);
          next = answer.next_page;
        }
        complain("");
        tell(options.length || next ? "" : texts.none);
        announce(options.length ? `${texts.found} ${options.length}`.trim() : texts.none);
      } catch (reason) {
        if (mine.signal.aborted) return;
        open(options.length > 0);
        tell("");
        complain(reason.forPeople || texts.failed);
      }
      if (next && isOpen()) item(make("span", "kapso-picker__more", { textContent: texts.more }));
      request = null;
      if (hurried) return settle();
      // Without a text nothing is highlighted: Tab must not take what nobody has asked for.
      if (options.length > before && (before || asked())) activate(before);
    }

    /* What Enter or Tab asked for, once it is known what was found: the only hit is taken. */
    function settle() {
      hurried = false;
      if (options.length === 1 && !next) return take(0);
      if (left) demand();
      else activate(options.length ? 0 : -1);
    }

    /* Take the ID that was typed whole, or ask for a pick; return whether it is still needed. */
    function demand() {
      const typed = options.find((option) => option.id === input.value.trim());
      if (isUnpicked() && typed) choose(typed);
      close();
      if (isUnpicked()) complain(texts[`pick_${kind()}`]);
      return isUnpicked();
    }

    async function ask(page, signal) {
      const query = new URLSearchParams({ kind: kind(), project: project(), q: asked(), page });
      if (fresh) query.set("refresh", "1");
      const response = await fetch(`${data.kapsoPicker}?${query}`, {
        credentials: "same-origin",
        headers: { Accept: "application/json" },
        signal,
      });
      const answer = await response.json();
      if (!response.ok) throw Object.assign(new Error(), { forPeople: answer.error });
      return answer;
    }

    function tell(text) {
      note.textContent = text;
      show(note, text);
      show(list, list.childElementCount);
      if (text) announce(text);
    }

    function add(choices) {
      // Kapso's pages shift while they are read: a choice that moved to the next page comes twice.
      const known = new Set(options.map((option) => option.id));
      choices.forEach((choice) => {
        if (known.has(choice.id)) return;
        const text = [choice.name || choice.id, choice.detail].filter(Boolean).join(" · ");
        options.push({ id: choice.id, text });
        item(
          make("span", "kapso-picker__name", { textContent: choice.name || choice.id }),
          make("span", "kapso-picker__detail", { textContent: choice.detail || "" })
        );
      });
      show(list, list.childElementCount);
    }

    function item(...content) {
      const made = make("li", "kapso-picker__option", {
        id: `${list.id}_${list.childElementCount}`,
      });
      made.setAttribute("role", "option");
      made.setAttribute("aria-selected", "false");
      made.append(...content);
      list.append(made);
      show(list, true);
    }

    function activate(index) {
      const was = list.children[active];
      const is = list.children[index];
      if (was) was.setAttribute("aria-selected", "false");
      active = is ? index : -1;
      if (!is) return input.removeAttribute("aria-activedescendant");
      is.setAttribute("aria-selected", "true");
      is.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", is.id);
    }

    function take(index) {
      if (options[index]) {
        choose(options[index]);
        announce(picked.text);
        close();
      } else if (list.children[index]) {
        activate(-1);
        list.lastElementChild.remove();
        load(next);
      }
    }

    const keys = {
      ArrowDown: () => activate(active + 1 < list.childElementCount ? active + 1 : 0),
      ArrowUp: () => activate(active > 0 ? active - 1 : list.childElementCount - 1),
      Enter: () => take(active),
      Escape: close,
    };
    input.addEventListener("keydown", (event) => {
      if (byHand || event.isComposing) return;
      const { key } = event;
      // Home and End move the caret until an option is active.
      if (key === "Tab") {
        if (options[active] && !event.shiftKey) take(active);
        else if (isSearching()) left = hurried = true;
        else demand();
        return;
      }
      if (key === "Enter" && isSearching()) hurried = true;
      else if (isOpen() && active >= 0 && key === "Home") activate(0);
      else if (isOpen() && active >= 0 && key === "End") activate(list.childElementCount - 1);
      else if (isOpen() && keys[key]) keys[key]();
      else if (key === "ArrowDown" || key === "ArrowUp") search().then(() => active < 0 && activate(0));
      else return;
      event.preventDefault();
    });
    input.addEventListener("input", () => {
      if (!byHand) {
        if (!input.value || (picked && input.value !== picked.text)) picked = null;
        complain("");
        stop();
        activate(-1); // What is listed still is what was found for another text.
        hurried = false;
        timer = setTimeout(search, PAUSE);
      }
      update();
    });
    input.addEventListener("click", () => {
      if (!byHand && !isOpen()) search();
    });
    input.addEventListener("focus", () => {
      left = false;
      if (picked && !byHand) input.select();
    });
    // The focus stays in the input, which handles the keys.
    list.addEventListener("mousedown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      take([...list.children].indexOf(event.target.closest("li")));
    });
    // Close on a click, not on the loss of focus: the list takes up room, and what is below it would
    // move away from the pointer between press and release. Use the capture phase, in which an item
    // that removes itself is still inside.
    const outside = (event) => {
      if (!byHand && (isOpen() || isSearching() || isUnpicked()) && !root.contains(event.target)) demand();
    };
    document.addEventListener("click", outside, true);

    // A pick belongs to one kind and project, and is dropped when either changes.
    let belongs = isNeeded() ? `${kind()} ${project()}` : "";
    onChange(form, () => {
      const now = `${kind()} ${project()}`;
      if (isNeeded() && now !== belongs) {
        if (belongs) {
          close();
          choose(null);
        }
        belongs = now;
      }
      update();
    });
    form.addEventListener("submit", (event) => {
      if (!byHand && demand()) {
        event.preventDefault();
        input.focus();
      }
      update();
    });

    if (input.value && data.kapsoLabel) picked = { id: input.value, text: data.kapsoLabel };
    setByHand(Boolean(input.value && !picked && looksLikeAnId()));
  }

  /* The largest element that holds this field, its label and its help text, and no other field.
   * Django, django-unfold and django-jazzmin nest their rows differently. */
  function rowOf(element, name) {
    const own = new RegExp(`^(initial-)?${name}(_\\d+)?$`);
    const isOther = (control) => !own.test(control.name);
    let row = element;
    let at = element;
    while ((at = at.parentElement.closest(`.field-${name}, .form-row, .field-line`))) {
      if ([...at.querySelectorAll("[name]")].some(isOther)) break;
      row = at;
    }
    return row;
  }

  // ---------------------------------------------------------------- copying

  function copying(button) {
    const label = button.textContent;
    let timer;
    button.addEventListener("click", async () => {
      if (!(await copy(document.getElementById(button.dataset.kapsoCopy)))) return;
      button.textContent = button.dataset.kapsoCopied;
      announce(button.dataset.kapsoCopied);
      clearTimeout(timer);
      timer = setTimeout(() => (button.textContent = label), 2000);
    });
  }

  async function copy(element) {
    const isControl = "value" in element;
    try {
      // The clipboard is not available on a page loaded over http.
      await navigator.clipboard.writeText(isControl ? element.value : element.textContent.trim());
      return true;
    } catch (reason) {
      // If this is refused, too, the text is at least selected, to be copied by keyboard.
      if (isControl) element.select();
      else window.getSelection().selectAllChildren(element);
      return document.execCommand("copy");
    }
  }

  // ---------------------------------------------------------------- hints at origins

  const isLocal = (host) => /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(host);

  function origins(textarea) {
    const texts = JSON.parse(textarea.dataset.kapsoOrigins);
    const here = new URL(textarea.dataset.kapsoHere || window.location.origin);
    const anySite = textarea.form?.elements.any_site;
    const hint = make("div", "help kapso-hint kapso-hint--warning", { id: `${textarea.id}_hint` });
    const described = textarea.getAttribute("aria-describedby");
    const place = document.getElementById(`${textarea.id}_helptext`) || textarea;
    textarea.setAttribute("aria-describedby", described ? `${described} ${hint.id}` : hint.id);
    place.after(hint);

    const parts = (entry) => /^(?:(https?):\/\/)?(\[.*?\]|[^:/]*)(?::(\d+))?/i.exec(entry.toLowerCase());
    const portOf = (scheme, port) => port || { "http:": "80", "https:": "443" }[scheme];
    function covers([, scheme, host, port]) {
      if (scheme && `${scheme}:` !== here.protocol) return false;
      if (portOf(here.protocol, port) !== portOf(here.protocol, here.port)) return false;
      return host.startsWith("*.") ? here.hostname.endsWith(host.slice(1)) : host === here.hostname;
    }

    function update() {
      const entries = textarea.disabled ? [] : textarea.value.split(/[\s,]+/).filter(Boolean);
      const split = entries.map(parts);
      const found = [];
      if (!entries.length && anySite?.checked) found.push(texts.none);
      if (entries.includes("*")) found.push(texts.any);
      if (!isLocal(here.hostname) && split.some(([, , host]) => isLocal(host))) found.push(texts.local);
      if (entries.length && !entries.includes("*") && !split.some(covers)) found.push(texts.missing);
      return found.filter(Boolean);
    }

    let told = null;
    function tell() {
      const found = update();
      if (found.join() === told) return;
      if (told !== null) announce(found.join(" "));
      told = found.join();
      hint.replaceChildren(...found.map((text) => make("p", "", { textContent: text })));
      show(hint, found.length);
    }
    let timer;
    textarea.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(tell, PAUSE);
    });
    // With any site, no list counts: what is disabled is not sent, and comes back with a second click.
    function allow() {
      textarea.disabled = Boolean(anySite?.checked);
      tell();
    }
    anySite?.addEventListener("change", allow);
    allow();
  }

  // ---------------------------------------------------------------- the rest

  function reveals(select) {
    const named = document.getElementById(select.dataset.kapsoReveals);
    // A date and its time are two controls of one field.
    const element = named.name ? rowOf(named, named.name.replace(/_\d+$/, "")) : named;
    const update = () => show(element, select.value === select.dataset.kapsoRevealValue);
    onChange(select, update);
    update();
  }

  /* Warn while the value of an input differs from the one that others refer to. */
  function warnsOfChange(input) {
    const hint = make("div", "help kapso-hint kapso-hint--warning", { id: `${input.id}_hint` });
    const described = input.getAttribute("aria-describedby");
    const place = document.getElementById(`${input.id}_helptext`) || input;
    input.setAttribute("aria-describedby", [described, hint.id].filter(Boolean).join(" "));
    place.after(hint);
    function tell() {
      const isChanged = input.value.trim() !== input.dataset.kapsoWas;
      if (isChanged === (hint.textContent !== "")) return;
      hint.textContent = isChanged ? input.dataset.kapsoWarning : "";
      show(hint, isChanged);
      announce(hint.textContent);
    }
    show(hint, false);
    input.addEventListener("input", tell);
    tell();
  }

  const SAID_AFTER = 400; // Milliseconds after which it is said that a form is being saved.
  // Milliseconds after which its button can be pressed again: the server gives Kapso up before.
  const AGAIN_AFTER = 25000;

  /* Send a form once. The server makes nothing twice, so the button comes back where no answer does:
   * somebody may have stopped the request, and would otherwise be left with a dead page. */
  function once(form) {
    const texts = (form.querySelector("[data-kapso-busy]") || form).dataset;
    const note = make("p", "kapso-busy");
    const disabled = [];
    const timers = [];

    function say(text) {
      if (!text) return;
      note.textContent = text;
      announce(text);
    }
    function enable() {
      timers.splice(0).forEach(clearTimeout);
      form.removeAttribute("aria-busy");
      disabled.splice(0).forEach((one) => (one.disabled = false));
    }
    form.addEventListener("submit", (event) => {
      // After the browser has taken the name and value of the button that was pressed.
      setTimeout(() => {
        if (event.defaultPrevented) return;
        form.setAttribute("aria-busy", "true");
        disabled.push(...[...form.elements].filter((one) => one.type === "submit" && !one.disabled));
        disabled.forEach((one) => (one.disabled = true));
        const button = event.submitter || disabled[0];
        note.textContent = "";
        (button?.parentElement || form).append(note);
        timers.push(
          setTimeout(() => say(texts.kapsoBusy), SAID_AFTER),
          setTimeout(() => {
            enable();
            say(texts.kapsoSlow);
          }, AGAIN_AFTER)
        );
      });
    });
    window.addEventListener("pageshow", (event) => {
      if (!event.persisted) return; // Restored by the Back button, as it was when it was left.
      enable();
      note.remove();
    });
  }

  function start() {
    const each = (selector, enhance) => document.querySelectorAll(selector).forEach(enhance);
    document.body.append(live);
    each("input[data-kapso-picker]", picker);
    each("[data-kapso-copy]", copying);
    each("[data-kapso-origins]", origins);
    each("[data-kapso-reveals]", reveals);
    each("[data-kapso-warning]", warnsOfChange);
    const forms = [...document.querySelectorAll("form[data-kapso-once], [data-kapso-once-form]")];
    new Set(forms.map((element) => element.closest("form"))).forEach(once);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
