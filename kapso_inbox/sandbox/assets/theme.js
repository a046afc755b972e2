"use strict";
// In the head, so that the page is never painted in the wrong theme first.
(() => {
  const root = document.documentElement;
  if (root.dataset.modeForced === "true") return;
  let chosen = null;
  try {
    chosen = localStorage.getItem("kapso-theme");
  } catch {
    // Storage is blocked in a frame of another site: the embed's own theme stays.
  }
  if (["system", "light", "dark"].includes(chosen)) root.dataset.theme = chosen;
})();
