/* Keeps the pay page fresh, counts down, copies and asks for a second way to pay. The page works without it: this only makes it quicker. */
(function () {
  "use strict";
  document.documentElement.classList.add("script");
  var timer = 0, failures = 0, started = Date.now(), offset = 0;

  function live() { return document.getElementById("live"); }

  function say(text) {
    var line = document.getElementById("say");
    line.textContent = "";
    setTimeout(function () { line.textContent = text; }, 50);
  }

  /* The server's clock, so that a wrong clock in the phone does not lie about the price. */
  function now() { return Date.now() + offset; }

  function clockText(seconds) {
    var h = Math.floor(seconds / 3600), m = Math.floor(seconds / 60) % 60, s = seconds % 60;
    return (h ? h + ":" + (m < 10 ? "0" : "") : "") + m + ":" + (s < 10 ? "0" : "") + s;
  }

  /* Reckons from the deadline, never by counting ticks, so a sleeping device wakes up right. */
  function tick() {
    document.querySelectorAll("[data-until]").forEach(function (place) {
      var left = Math.max(0, Math.ceil((Date.parse(place.dataset.until) - now()) / 1000));
      place.textContent = clockText(left);
      place.parentNode.classList.toggle("soon", left < 60);
      if (!left && !place.dataset.over) { place.dataset.over = "1"; plan(1000); }
    });
  }

  function localTimes() {
    document.querySelectorAll("time[datetime]").forEach(function (time) {
      var at = new Date(time.dateTime);
      if (window.Intl && !isNaN(at)) {
        time.textContent = at.toLocaleString(document.documentElement.lang, {dateStyle: "long", timeStyle: "short"}).replace(/ /g, "\u00a0");
      }
    });
  }

  /* Slower in a background tab, after half an hour and after failures; never again once nothing can change. */
  function pause() {
    var ms = Number(live().dataset.poll) * 1000;
    if (document.hidden) { ms = Math.max(ms * 6, 30000); }
    if (Date.now() - started > 1800000) { ms *= 3; }
    if (failures) { ms = Math.min(ms * Math.pow(2, failures), 60000); }
    return ms * (0.9 + Math.random() * 0.2);
  }

  function plan(ms) {
    clearTimeout(timer);
    if (live() && Number(live().dataset.poll)) { timer = setTimeout(poll, ms === undefined ? pause() : ms); }
  }

  function ask(address, headers) {
    return fetch(address, {headers: headers || {}, cache: "no-store", credentials: "omit", redirect: "error"});
  }

  function poll() {
    var root = live();
    ask(root.dataset.status, {"If-None-Match": '"' + root.dataset.etag + '"'}).then(function (answer) {
      if (answer.status === 304) { return null; }
      if (!answer.ok) { throw new Error("status " + answer.status); }
      return take(root.dataset.page);
    }).then(function () { failures = 0; }, function () { failures += 1; }).then(function () {
      document.getElementById("offline").hidden = failures < 2;
      plan();
    });
  }

  /* Another way to pay is made once for a price, beside the page: what comes of it, a refusal too, the server says on the page. */
  var asked = {};
  function make() {
    var words = live().dataset, price = words.makes + " " + words.price, button = document.getElementById("make");
    if (!words.makes || asked[price]) { return; }
    asked[price] = true;
    if (button) { button.disabled = true; button.textContent = button.dataset.making; }
    fetch(words.way, {method: "POST", body: new URLSearchParams({way: words.makes}), headers: {"Accept": "application/json"}, cache: "no-store", credentials: "omit", redirect: "error"}).then(function (answer) {
      return answer.ok ? "" : answer.json().then(function (told) { return told.code; });
    }).catch(function () { return "way_unavailable"; }).then(function (code) {
      var page = live().dataset.page;
      return take(page + (code ? (page.indexOf("?") < 0 ? "?" : "&") + "refused=" + encodeURIComponent(code) : ""));
    }).catch(function () {
      /* What stands here waits for an answer that is lost: the next poll takes the page whatever it says. */
      live().dataset.etag = "";
      plan();
    });
  }

  /* A page that was asked for before a newer one and comes after it would turn the payer's tab back. */
  var takes = 0;
  function take(address) {
    var mine = takes += 1;
    return ask(address).then(function (page) {
      if (!page.ok) { throw new Error("page " + page.status); }
      return page.text();
    }).then(function (html) { if (mine === takes) { renew(html); } });
  }

  /* A tab is a link; here only what changes is fetched, and the page stays where it was scrolled to. */
  function turn(tab) {
    live().dataset.page = tab.href;
    history.replaceState(null, "", tab.href);
    take(tab.href).catch(function () { location.href = tab.href; });
  }

  /* Takes over the part of the fresh page that changes, keeps the focus where it was, and tells it to screen readers. */
  function renew(html) {
    var fresh = new DOMParser().parseFromString(html, "text/html"), next = fresh.getElementById("live"), old = live();
    if (!next) { throw new Error("no page"); }
    var active = document.activeElement, inside = old.contains(active), id = inside ? active.id : "";
    var open = old.querySelectorAll("details[open]"), news = old.dataset.state !== next.dataset.state;
    old.replaceWith(document.importNode(next, true));
    var languages = document.querySelector(".languages");
    if (!languages.contains(active)) { languages.replaceWith(document.importNode(fresh.querySelector(".languages"), true)); }
    document.title = fresh.title;
    start();
    open.forEach(function (each) {
      var same = document.getElementById(each.id);
      if (same) { same.open = true; }
    });
    if (inside) { (document.getElementById(id) || document.getElementById("title")).focus(); }
    if (news) { say(document.getElementById("title").textContent + ". " + document.querySelector(".head p").textContent); }
  }

  /* The address stands in three places; a program that swaps one of them is noticed before anything is copied. */
  function addressToCopy() {
    var place = document.getElementById("address"), link = document.getElementById("wallet").getAttribute("href");
    var wanted = place.dataset.address, inLink = link.replace(/^(bitcoin|lightning):/i, "").split("?")[0];
    return place.textContent === wanted && inLink === wanted ? wanted : null;
  }

  function oldCopy(text) {
    var box = document.createElement("textarea");
    box.value = text;
    box.setAttribute("readonly", "");
    box.className = "unseen";
    document.body.appendChild(box);
    box.select();
    var done = document.execCommand("copy");
    box.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("copy"));
  }

  function write(text) {
    if (!navigator.clipboard) { return oldCopy(text); }
    return navigator.clipboard.writeText(text).catch(function () { return oldCopy(text); });
  }

  /* Reads the clipboard back where the browser already allows it; never asks for that. */
  function readBack(text) {
    if (!navigator.permissions || !navigator.clipboard || !navigator.clipboard.readText) { return Promise.resolve(true); }
    return navigator.permissions.query({name: "clipboard-read"}).then(function (permission) {
      if (permission.state !== "granted") { return true; }
      return navigator.clipboard.readText().then(function (found) { return found === text; });
    }).catch(function () { return true; });
  }

  function warn(text) {
    var note = document.getElementById("copy-note");
    note.textContent = text;
    note.hidden = false;
  }

  function copy(button) {
    var words = live().dataset, text;
    text = button.dataset.copy === "address" ? addressToCopy() : document.getElementById("amount").textContent.trim();
    if (text === null) { warn(words.copyDiffers); return; }
    write(text).then(function () { return readBack(text); }).then(function (same) {
      if (!same) { warn(words.copyDiffers); return; }
      var before = button.dataset.label || button.innerHTML;
      button.dataset.label = before;
      button.classList.add("done");
      if (!button.classList.contains("copy")) { button.textContent = words.copied; }
      say(words.copied);
      setTimeout(function () { button.innerHTML = before; button.classList.remove("done"); }, 2500);
    }, function () { warn(words.copyFailed); });
  }

  document.addEventListener("click", function (event) {
    var tab = event.target.closest && event.target.closest(".tabs a");
    if (tab && !event.button && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) { event.preventDefault(); turn(tab); return; }
    var button = event.target.closest && event.target.closest("button");
    if (!button) { return; }
    if (button.dataset.copy) { copy(button); }
    if ("print" in button.dataset) { window.print(); }
  });
  /* A second tap on "new price" while the first is under way would only wait for the same price. */
  document.addEventListener("submit", function (event) {
    var button = event.target.querySelector("button");
    setTimeout(function () { button.disabled = true; }, 0);
  });
  document.addEventListener("visibilitychange", function () { if (!document.hidden) { plan(200); } });
  window.addEventListener("online", function () { plan(200); });
  window.addEventListener("pageshow", function (event) { if (event.persisted) { plan(200); } });

  function start() {
    if (live()) { offset = Date.parse(live().dataset.now) - Date.now(); tick(); make(); }
    localTimes();
  }

  start();
  setInterval(tick, 1000);
  plan();
})();
