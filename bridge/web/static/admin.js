// Comfort only: every page works without it. "/" searches, "g" and a digit opens a page of the menu, "j" and "k" walk a list.
(function () {
  "use strict";
  var waitsForDigit = false;

  function typing(target) {
    return /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || target.isContentEditable;
  }

  function walk(step) {
    var links = Array.prototype.slice.call(document.querySelectorAll("main .list tbody tr a:first-of-type"));
    var place = links.indexOf(document.activeElement);
    var next = links[place < 0 ? (step > 0 ? 0 : links.length - 1) : place + step];
    if (next) { next.focus(); }
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) { return; }
    if (waitsForDigit && /^[0-9]$/.test(event.key)) {
      var link = document.querySelector('.menu a[data-key="' + event.key + '"]');
      if (link) { link.click(); }
    } else if (event.key === "/") {
      var search = document.getElementById("q");
      if (search) { search.focus(); search.select(); event.preventDefault(); }
    } else if (event.key === "j" || event.key === "k") {
      walk(event.key === "j" ? 1 : -1);
    }
    waitsForDigit = event.key === "g";
  });

  // A second press while the first is under way would only be refused.
  document.addEventListener("submit", function (event) {
    if (event.target.dataset.sent) { event.preventDefault(); }
    event.target.dataset.sent = "1";
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form").forEach(function (form) { delete form.dataset.sent; });
  });

  document.querySelectorAll("[data-part]").forEach(function (place) {
    fetch(place.dataset.part, { credentials: "same-origin" })
      .then(function (answer) { if (!answer.ok || answer.redirected) { throw new Error("no part"); } return answer.text(); })
      .then(function (html) { place.innerHTML = html; })
      .catch(function () { /* the link stays */ });
  });
})();
