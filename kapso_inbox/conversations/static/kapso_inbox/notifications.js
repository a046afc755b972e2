/* The switch for notifications, which is kept in the browser as its permission is. */
(() => {
  "use strict";
  const SWITCH = "kapso-inbox-notifications";
  const place = document.querySelector("[data-kapso-notifications]");
  const box = place.querySelector("input");

  function tell(state) {
    place.querySelectorAll("[data-state]").forEach((text) => {
      text.hidden = text.dataset.state !== state;
    });
    box.checked = state === "on";
    box.disabled = /insecure|unsupported/.test(state);
  }

  function read() {
    if (!window.isSecureContext) return "insecure";
    if (!("Notification" in window)) return "unsupported";
    if (Notification.permission === "denied") return "denied";
    return localStorage.getItem(SWITCH) && Notification.permission === "granted" ? "on" : "off";
  }

  async function change() {
    localStorage.removeItem(SWITCH);
    if (!box.checked) return tell(read());
    if ((await Notification.requestPermission()) !== "granted") return tell(read());
    try {
      // A sample. Chrome on Android has the permission, but throws here.
      new Notification(place.dataset.sample, { lang: place.lang, tag: SWITCH });
    } catch {
      return tell("unsupported");
    }
    localStorage.setItem(SWITCH, "1");
    tell(read());
  }

  place.hidden = false;
  try {
    tell(read());
    box.addEventListener("change", change);
  } catch {
    tell("unsupported"); // The browser keeps nothing for this site.
  }
})();
