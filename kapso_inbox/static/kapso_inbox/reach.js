/* In a hidden frame of ours: tell the component around it when the inbox's host does not answer.
   An inbox that works must never be called away. So this speaks only where the host has answered
   lately, which shows that neither its headers nor an extension forbid the question. */
(async () => {
  // A service worker of the site would answer instead of the host.
  if (navigator.serviceWorker?.controller) return;
  const TRIES = 3;
  const PAUSE = 1000; // ms
  const LATELY = 30 * 24 * 60 * 60 * 1000; // ms: longer than a holiday

  const { origins } = document.documentElement.dataset;
  const key = `kapso-inbox-answered ${origins}`;
  let isForbidden = false;
  // A proxy may add a policy to ours, or the host may redirect to where ours does not lead.
  document.addEventListener("securitypolicyviolation", () => {
    isForbidden = true;
  });

  // Any status will do. Of several origins, only the launch knows which one this inbox has.
  const ask = (origin) =>
    fetch(`${origin}/favicon.ico`, {
      method: "HEAD",
      mode: "no-cors",
      cache: "no-store",
      credentials: "omit",
    });
  const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE));

  const hasAnsweredLately = Date.now() - Number(localStorage.getItem(key)) < LATELY;
  let answers = false;
  for (let tries = hasAnsweredLately ? TRIES : 1; tries && !answers && !isForbidden; tries -= 1) {
    answers = await Promise.any(origins.split(" ").map(ask)).then(() => true, pause);
  }
  if (answers) localStorage.setItem(key, Date.now());
  else if (hasAnsweredLately && !isForbidden && navigator.onLine) {
    frameElement.dispatchEvent(new Event("error"));
  }
})()
  // A browser may keep nothing for this site, or the page was left meanwhile: then nothing is known.
  .catch(() => {})
  .finally(() => frameElement?.remove());
