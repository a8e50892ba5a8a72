--- The page at /: a conversation with the model, what is in its file, and the
--- figures that teach quantization, in a browser.
---
--- One text without a request to anywhere but this server; what models and
--- files say is shown as text, never as markup. Light and dark, small screens.
--- Keyboard: Enter sends, Shift with Enter begins a line, Escape stops; arrows
--- move between the tabs.
local M = {}

--- What the page may do: its own style and script, requests to this server.
M.POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
  .. "form-action 'none'; frame-ancestors 'none'"

local TOP = [==[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wane</title>
<style>
]==]

local BODY = [==[
</style>
</head>
<body>
<header>
  <h1 id="name">wane</h1>
  <nav role="tablist" aria-label="Pages">
    <button type="button" role="tab" id="tab-chat" aria-controls="chat">Chat</button>
    <button type="button" role="tab" id="tab-model" aria-controls="model">Model</button>
    <button type="button" role="tab" id="tab-figures" aria-controls="figures">Figures</button>
    <button type="button" role="tab" id="tab-fit" aria-controls="fit">Fit</button>
  </nav>
  <label>key <input id="key" type="password" autocomplete="off"></label>
</header>
<section id="chat" role="tabpanel" aria-labelledby="tab-chat">
  <div class="bar">
    <label>temperature <input id="temperature" type="number" min="0" max="2" step="0.1" value="0.8"></label>
    <label>tokens <input id="tokens" type="number" min="1" max="100000" value="512"></label>
    <button id="fresh" type="button">New</button>
  </div>
  <main id="log" aria-live="polite"></main>
  <form id="form">
    <textarea id="box" rows="2" aria-label="Message" placeholder="Message" autofocus></textarea>
    <button id="go">Send</button>
  </form>
  <footer id="state" role="status"></footer>
</section>
<section id="model" role="tabpanel" aria-labelledby="tab-model" hidden><div class="scroll" id="model-body"></div></section>
<section id="figures" role="tabpanel" aria-labelledby="tab-figures" hidden><div class="scroll" id="figures-body"></div></section>
<section id="fit" role="tabpanel" aria-labelledby="tab-fit" hidden><div class="scroll" id="fit-body"></div></section>
<script>
"use strict";
]==]

M.HTML = TOP .. require "wane.serve.page.style" .. BODY .. require "wane.serve.page.charts" .. require "wane.serve.page.chat"
  .. require "wane.serve.page.model" .. require "wane.serve.page.figures" .. "</script>\n</body>\n</html>\n"

--- GET /
function M.show(_, x) x:text(200, "text/html; charset=utf-8", M.HTML, { ["content-security-policy"] = M.POLICY }) end

return M
