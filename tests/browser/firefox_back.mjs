// Drives Firefox by WebDriver BiDi: what an inbox shows after Back and Forward. See test_firefox.py.
import puppeteer from "puppeteer-core";

const [firefox, crm, page, pagesKept] = process.argv.slice(2);
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath: firefox,
  headless: true,
  extraPrefsFirefox: { "browser.sessionhistory.max_total_viewers": Number(pagesKept) },
});
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const tab = await browser.newPage();

async function signIn(user, where = tab) {
  await where.goto(crm);
  await where.type("[name=username]", user);
  await where.type("[name=password]", "demo");
  await Promise.all([where.waitForNavigation(), where.keyboard.press("Enter")]);
}

async function report() {
  await wait(3000);
  const [kept, state, length] = await tab.evaluate(() => [
    window.kept === true,
    document.querySelector("kapso-inbox")?.dataset.state,
    history.length,
  ]);
  return { kept, state, length };
}

async function leave() {
  await tab.evaluate(() => {
    window.kept = true;
    location.href = "/host/?body=Elsewhere";
  });
  await wait(1500);
}

const step = (steps) => tab.evaluate((n) => void setTimeout(() => history.go(n)), steps);
const seen = {};
await signIn("ana");
await tab.goto(page);
seen.first = await report();
await tab.evaluate(() => document.querySelectorAll("[data-view]")[1].click());
seen.view = await report();
await leave();
await step(-1);
seen.back = await report();
await leave();
await tab.deleteCookie(...(await tab.cookies(crm)));
await signIn("bruno", await browser.newPage());
await tab.bringToFront();
await step(-1);
seen.otherUser = await report();
await step(-1);
await wait(1500);
await step(1);
seen.forward = await report();
await browser.close();
console.log(JSON.stringify(seen));
