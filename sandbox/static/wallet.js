/* Offers to open bitcoin: links with this page, where the browser can do that. */
(function () {
  "use strict";
  var button = document.getElementById("use");
  if (!navigator.registerProtocolHandler) { return; }
  button.hidden = false;
  document.getElementById("use-hint").hidden = false;
  button.addEventListener("click", function () {
    navigator.registerProtocolHandler("bitcoin", location.origin + location.pathname + "?uri=%s");
  });
})();
