// On a phone the inbox gets the room: a contact's details start closed there.
if (matchMedia("(max-width: 760px)").matches) {
  for (const details of document.querySelectorAll("[data-closed-on-phone]")) {
    details.open = false;
  }
}

// The theme changes at once, and the page stays as it is, with the conversation that is open on it.
document.querySelector(".themes")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  for (const button of form.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button === event.submitter);
  }
  document.documentElement.dataset.theme = event.submitter.value;
  const body = new FormData(form, event.submitter);
  // Kept alive: whoever leaves the page right away finds the next one in the new theme.
  fetch(form.action, { method: "POST", body, redirect: "manual", keepalive: true });
});
