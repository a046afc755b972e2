// Above the inbox a contact's details start closed, to leave the space to it: see crm.css.
if (matchMedia("(max-width: 920px)").matches) {
  for (const details of document.querySelectorAll("[data-closed-where-narrow]")) {
    details.open = false;
  }
}

// Change the theme without a reload, so that the open conversation stays open.
document.querySelector(".themes")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  for (const button of form.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button === event.submitter);
  }
  document.documentElement.dataset.theme = event.submitter.value;
  const body = new FormData(form, event.submitter);
  // With keepalive, the next page has the new theme even if the user leaves this one at once.
  fetch(form.action, { method: "POST", body, redirect: "manual", keepalive: true });
});
