// On a phone the inbox gets the room: a contact's details start closed there.
if (matchMedia("(max-width: 760px)").matches) {
  for (const details of document.querySelectorAll("[data-closed-on-phone]")) {
    details.open = false;
  }
}
